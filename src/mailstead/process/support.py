"""The bundle for support, made on an administrator's word.

Invariants: it is made by a process of its own, as `mailstead support` makes it; it lies under run/ unless a name was given, and is
never written over a file that is there.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mailstead.process.background import BackgroundRefusedError, BackgroundVerbs

SECONDS = 180.0


def offer(verbs: BackgroundVerbs, data_dir: Path) -> None:
    """The verb `support.save`: `path` relative to the data directory, "" for a name of its own; gives the path."""

    async def save(arguments: Mapping[str, Any]) -> str:
        given = str(arguments.get("path") or "")
        stamp = time.strftime("%Y%m%d-%H%M%S")
        target = data_dir / given if given else data_dir / "run" / f"support-{stamp}.tar.gz"
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "mailstead", "support", "--config", str(data_dir), str(target),
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        try:
            async with asyncio.timeout(SECONDS):
                _, told = await process.communicate()
        except TimeoutError as error:
            process.kill()
            await process.wait()
            raise BackgroundRefusedError(f"the bundle was not made within {SECONDS:.0f} seconds") from error
        if process.returncode:
            text = told.decode("utf-8", "replace").strip().removeprefix("Error: ")
            raise BackgroundRefusedError(text[-500:] or "the bundle was not made")
        return str(target)

    verbs.add("support.save", save)
