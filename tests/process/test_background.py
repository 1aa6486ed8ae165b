"""Verbs of the background process over its socket: what is too long is told, and nobody waits for nothing."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from mailstead.process import background
from mailstead.process.background import BackgroundClient, BackgroundMissingError, BackgroundRefusedError, BackgroundVerbs


async def test_what_is_too_long_either_way_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "MAX_LINE", 100_000)

    async def echo(arguments: Mapping[str, Any]) -> str:
        return str(arguments["text"]) * int(arguments["times"])

    verbs = BackgroundVerbs()
    verbs.add("echo", echo)
    await verbs.listen(tmp_path)
    client = BackgroundClient(tmp_path)
    try:
        assert await client.call("echo", text="x", times=3) == "xxx"
        with pytest.raises(BackgroundRefusedError, match="at once"):
            await client.call("echo", text="x" * 200_000, times=0)
        with pytest.raises(BackgroundMissingError, match="too long"):
            await client.call("echo", text="x", times=200_000)
        assert await client.call("echo", text="y", times=1) == "y"
    finally:
        await verbs.close()
    with pytest.raises(BackgroundMissingError):
        await BackgroundClient(tmp_path / "nowhere").call("echo")
