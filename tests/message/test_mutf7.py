"""Mailbox names in modified UTF-7."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailstead.message import mutf7


@given(st.text(st.characters(exclude_categories=("Cs",)), max_size=50))
def test_mailbox_names_survive_modified_utf7(name: str) -> None:
    octets = mutf7.encode(name)
    assert octets.isascii()
    assert mutf7.decode(octets) == name


@given(st.binary(max_size=30))
def test_modified_utf7_has_one_spelling(octets: bytes) -> None:
    try:
        name = mutf7.decode(octets)
    except ValueError:
        return
    assert mutf7.encode(name) == octets


def test_modified_utf7_of_the_rfc() -> None:
    assert mutf7.decode(b"~peter/mail/&U,BTFw-/&ZeVnLIqe-") == "~peter/mail/台北/日本語"
    for wrong in (b"&Jjo!", b"&U,BTFw-&ZeVnLIqe-", b"&", b"&-&AGE-"):
        with pytest.raises(ValueError):
            mutf7.decode(wrong)
