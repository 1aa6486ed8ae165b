"""A process that runs the migrations of a data directory, to be killed. Arguments: the data directory."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from tests.migration.conftest import open_here


async def main() -> None:
    here, _ = await open_here(Path(sys.argv[1]))
    here.start_runner()
    print("running", flush=True)
    await asyncio.Event().wait()


asyncio.run(main())
