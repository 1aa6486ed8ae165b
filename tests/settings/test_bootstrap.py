"""The bootstrap file."""

from __future__ import annotations

from pathlib import Path

import pytest

from mailstead.settings.bootstrap import (
    Bootstrap,
    BootstrapError,
    default_bootstrap,
    load_bootstrap,
    write_bootstrap,
)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    written = Bootstrap(tmp_path, node="mx-1", user="mail", workers=0, shards=8)
    write_bootstrap(written, tmp_path)
    assert load_bootstrap(tmp_path) == written
    elsewhere = Bootstrap(tmp_path / 'odd "name"', node="n")
    write_bootstrap(elsewhere, tmp_path / "other.toml")
    assert load_bootstrap(tmp_path / "other.toml") == elsewhere
    assert default_bootstrap(tmp_path).checked().workers >= 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nodes = 'x'", "no key 'nodes'"),
        ("node = 7", "node has the wrong type"),
        ("workers = true", "workers has the wrong type"),
        ("node = 'n'\nworkers = -1", "workers"),
        ("node = 'n'\nengine = 'oracle'", "engine"),
        ("node = ", "mailstead.toml"),
        ("node = ''", "node"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "mailstead.toml").write_text(text)
    with pytest.raises(BootstrapError, match=message):
        load_bootstrap(tmp_path)


def test_missing_file_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(BootstrapError, match="init"):
        load_bootstrap(tmp_path)
