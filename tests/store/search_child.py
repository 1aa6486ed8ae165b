"""The indexer as a process that is killed: `python -m tests.store.search_child DIR POINT WHEN NTH` (see crash_child)."""

from __future__ import annotations

import sys
from pathlib import Path

from mailstead.store import search_indexer
from tests.store.crash_child import arm


def main() -> None:
    data_dir, point, when, nth = sys.argv[1:5]
    search_indexer.CHUNK = 4
    search_indexer.JOBS = 15
    arm(point, when, int(nth))
    indexer = search_indexer.Indexer(Path(data_dir), 0)
    while indexer.run_once():
        pass
    indexer.close()


if __name__ == "__main__":
    main()
