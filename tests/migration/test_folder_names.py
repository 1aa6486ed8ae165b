"""Which of our folders a folder of another server becomes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mailstead.mailbox.model import Folder
from mailstead.mailbox.names import normalize
from mailstead.migration.folder_names import SourceFolder, ignored, plan

OURS = [
    Folder(n, 1, 0, name, 1, use, True)
    for n, (name, use) in enumerate(
        [
            ("INBOX", None),
            ("Drafts", "\\Drafts"),
            ("Sent", "\\Sent"),
            ("Trash", "\\Trash"),
            ("Spam", "\\Junk"),
            ("Archive", "\\Archive"),
        ]
    )
]


def source(name: str, *attributes: str) -> SourceFolder:
    return SourceFolder(name.encode(), tuple(name.split("/")), frozenset(attributes))


def names(*sources: SourceFolder) -> dict[str, str]:
    plans, _ = plan(sources, OURS, {})
    return {one.source.name: one.local for one in plans}


def test_special_folders_by_their_use_then_by_their_name() -> None:
    assert names(source("Sent"), source("Gesendete Elemente", "\\sent"), source("Corbeille"), source("INBOX/Entwürfe")) == {
        "Sent": "Sent (2)", "Gesendete Elemente": "Sent", "Corbeille": "Trash", "INBOX/Entwürfe": "Drafts",
    }  # fmt: skip
    assert names(source("Work/Sent"), source("Bin"), source("Trash")) == {
        "Work/Sent": "Work/Sent",
        "Bin": "Trash",
        "Trash": "Trash (2)",
    }


def test_a_name_that_was_given_stays() -> None:
    first, _ = plan([source("A*")], OURS, {})
    again, _ = plan([source("A_"), source("A*")], OURS, {first[0].source.raw: first[0].local})
    assert [one.local for one in again] == ["A_ (2)", "A_"]


def test_what_is_left_out() -> None:
    assert ignored(source("Work/Old/2001"), ["work/old"])
    assert ignored(source("Junk"), ["j*"])
    assert not ignored(source("Workshop"), ["Work"])


@given(st.lists(st.lists(st.text(max_size=300), min_size=1, max_size=25).map(tuple), max_size=8, unique=True))
def test_every_name_is_valid_here_and_belongs_to_one_folder(levels: list[tuple[str, ...]]) -> None:
    sources = [SourceFolder(str(n).encode(), one) for n, one in enumerate(levels)]
    plans, _ = plan(sources, OURS, {})
    found = [one.local for one in plans]
    assert len(set(found)) == len(levels)
    for name in found:
        assert normalize(name) == name
