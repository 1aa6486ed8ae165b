"""The process that fills the search index; started by process.indexing when there is something to do.

    python -m mailstead.process.index_helper DATA_DIR SHARDS ATTACHMENTS SCHEMA

Invariants: it ends when its standard input does (so it does not outlive who started it), and by itself after a while
without work; only one works on a data directory; it may be killed at any moment; it touches nothing where the program
was replaced under a running server (SCHEMA is the server's), which a newer schema would stop.
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
from mailstead.store.schema import SHARD_STEPS
from mailstead.store.search_indexer import AlreadyRunning, Indexer, hold_indexer_lock

log = get_logger("SERVER")

MEMORY = 4 << 30
NICE = 14
#: How often it looks for jobs while there are few, and after how many times without any it ends.
PAUSE = 3.0
IDLE_ROUNDS = 5
SWEEP_SECONDS = 3600.0
#: While more new jobs than BUSY come in LOOK seconds, it stands aside, for at most PATIENCE seconds between two turns of
#: TURN seconds; a backlog of BACKLOG jobs does not wait. (It would take a fifth of the throughput of mail that pours in.)
LOOK = 0.3
BUSY = 60
TURN = 2.0
PATIENCE = 30.0
BACKLOG = 100_000


def schema() -> str:
    """The schema that this program brings a shard to."""
    return str(len(SHARD_STEPS))


def _end_with_the_parent() -> None:
    """Standard input ends when the parent does."""
    with contextlib.suppress(OSError):
        while os.read(0, 4096):
            pass
    os._exit(0)


def work(indexers: list[Indexer]) -> bool:
    """One round over all shards; whether any had work."""
    return sum([indexer.run_once() for indexer in indexers]) > 0


class Calm:
    """Waits for a moment in which little mail arrives."""

    def __init__(self, indexers: list[Indexer]) -> None:
        self._indexers = indexers
        self._turn_ends = 0.0

    def wait(self) -> None:
        """Return at once within a turn, else when it is calm or PATIENCE is at its end."""
        end = time.monotonic() + PATIENCE
        if time.monotonic() < self._turn_ends:
            return
        while time.monotonic() < end:
            before = [indexer.newest_job() for indexer in self._indexers]
            if not any(before) or sum(indexer.backlog(BACKLOG) for indexer in self._indexers) >= BACKLOG:
                break
            time.sleep(LOOK)
            after = [indexer.newest_job() for indexer in self._indexers]
            if sum(abs(new - old) for new, old in zip(after, before, strict=True)) <= BUSY:
                break
        self._turn_ends = time.monotonic() + TURN


def main() -> None:
    """Entry of the process."""
    data_dir, shards, attachments = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3] == "yes"
    configure_from_environment("indexer")
    bridge_standard_logging()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with contextlib.suppress(OSError):
        os.nice(NICE)
    if sys.argv[4] != schema():
        log.warning("another release is installed than the one that runs; the search index waits for a restart of the server")
        sys.exit(3)
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
    calm = Calm(indexers)
    while idle < IDLE_ROUNDS:
        calm.wait()
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
