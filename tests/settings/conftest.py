"""Settings over a fresh system database."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from mailstead.settings import Settings


@pytest.fixture
def stored(tmp_path: Path) -> Iterator[Settings]:
    opened = Settings.open(tmp_path, create=True)
    yield opened
    opened.database.close()
