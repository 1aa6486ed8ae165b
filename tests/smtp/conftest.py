"""Every test has a server of its own, on uvloop, in a fresh data directory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import uvloop

from tests.smtp.harness import Face, make_certificate, running


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_certificate(tmp_path_factory.mktemp("certificate") / "server.pem")


@pytest.fixture
async def face(tmp_path: Path, certificate: Path) -> AsyncIterator[Face]:
    async with running(tmp_path, certificate) as found:
        yield found
