"""Every transcript, each with an account of its own."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.imap.conftest import Face, start_face
from tests.imap.transcript import Transcript, play

TRANSCRIPTS = sorted((Path(__file__).parents[1] / "transcripts" / "imap").glob("*.txt"))
_accounts = itertools.count(1)


@pytest.fixture(scope="module", autouse=True)
def _enough() -> None:
    assert len(TRANSCRIPTS) >= 60


@pytest.fixture(params=TRANSCRIPTS, ids=lambda path: path.stem)
async def playing(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[tuple[Face, Path]]:
    face, stop = await start_face(tmp_path, **Transcript.read(request.param).options)
    yield face, request.param
    await stop()


async def test_transcript(playing: tuple[Face, Path]) -> None:
    face, path = playing
    await play(face, path, next(_accounts))
