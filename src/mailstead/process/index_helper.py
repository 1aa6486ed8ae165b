"""The process that fills the search index; started by process.indexing when there is something to do.

    python -m mailstead.process.index_helper DATA_DIR SHARDS ATTACHMENTS

Invariants: it ends when its standard input does (so it does not outlive who started it), and by itself after a while
without work; only one works on a data directory; it may be killed at any moment.
"""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import sys
import threading
import time
from pathlib import Path

from mailstead.observe.log import bridge_standard_logging, configure_from_environment, get_logger
from mailstead.process.document_text import extract
from mailstead.store.search_indexer import AlreadyRunning, Indexer, hold_indexer_lock

log = get_logger("SERVER")

MEMORY = 4 << 30
NICE = 14
#: How often it looks for jobs while there are few, and after how many times without any it ends.
PAUSE = 3.0
IDLE_ROUNDS = 5
SWEEP_SECONDS = 3600.0


def _end_with_the_parent() -> None:
    """Standard input ends when the parent does."""
    with contextlib.suppress(OSError):
        while os.read(0, 4096):
            pass
    os._exit(0)


def work(indexers: list[Indexer]) -> bool:
    """One round over all shards; whether any had work."""
    return sum([indexer.run_once() for indexer in indexers]) > 0


def main() -> None:
    """Entry of the process."""
    data_dir, shards, attachments = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3] == "yes"
    configure_from_environment("indexer")
    bridge_standard_logging()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with contextlib.suppress(OSError):
        os.nice(NICE)
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    if hard == resource.RLIM_INFINITY or hard > MEMORY:
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, hard))
    threading.Thread(target=_end_with_the_parent, daemon=True).start()
    try:
        hold_indexer_lock(data_dir)
    except AlreadyRunning:
        time.sleep(PAUSE)
        return
    indexers = [Indexer(data_dir, number, extract if attachments else None) for number in range(shards)]
    idle = 0
    while idle < IDLE_ROUNDS:
        if work(indexers):
            idle = 0
            continue
        idle += 1
        if idle == 1:
            for indexer in indexers:
                indexer.sweep_if_due(SWEEP_SECONDS)
        time.sleep(PAUSE)
    for indexer in indexers:
        indexer.close()


if __name__ == "__main__":
    main()
