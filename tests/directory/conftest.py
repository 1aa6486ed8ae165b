"""A fresh directory with one domain, in a data directory of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from mailstead.directory import Actor, Directory

ADMIN = Actor.system("test")


@pytest.fixture
def admin() -> Actor:
    return ADMIN


@pytest.fixture
async def directory(tmp_path: Path) -> AsyncIterator[Directory]:
    opened = Directory.open(tmp_path, shards=4, create=True)
    await opened.create_domain("example.test", actor=ADMIN)
    yield opened
    opened.close()
