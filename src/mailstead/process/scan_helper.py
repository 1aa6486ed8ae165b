"""The process that looks through mail for `SCAN`, `REPAIR` and `FINDINVALIDMSG`: it reads the whole log, which would hold a server.

    python -m mailstead.process.scan_helper DATA_DIR

Invariants: it changes nothing; it ends when its standard input does, so it does not outlive who started it; each line it writes
is one JSON value.

The first line of its input is `{"owners": [[id, shard, name], ...], "verbose": bool}`; it answers with `{"say": text}`,
`{"invalid": [owner, folder, uid, text]}` and at the end `{"end": [owners, messages, invalid, counters]}` or `{"failed": text}`.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

import apsw

from mailstead.store.scan import Invalid, Owner, scan_owners

NICE = 14


def _tell(value: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(value, ensure_ascii=False) + "\n")
    sys.stdout.flush()


def _end_with_the_parent() -> None:
    with contextlib.suppress(OSError):
        while os.read(0, 4096):
            pass
    os._exit(0)


def main() -> None:
    """Entry of the process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with contextlib.suppress(OSError):
        os.nice(NICE)
    line = bytearray()
    while not line.endswith(b"\n") and (piece := os.read(0, 65_536)):
        line += piece
    request = json.loads(line)
    threading.Thread(target=_end_with_the_parent, daemon=True).start()

    def invalid(one: Invalid) -> None:
        _tell({"invalid": [one.owner, one.folder, one.uid, one.text]})

    try:
        owners = [Owner(int(id), int(shard), str(name)) for id, shard, name in request["owners"]]
        found = scan_owners(
            Path(sys.argv[1]), owners, lambda text: _tell({"say": text}), invalid, verbose=bool(request.get("verbose"))
        )
    except (OSError, apsw.Error) as error:
        _tell({"failed": str(error)})
        sys.exit(1)
    _tell({"end": [found.owners, found.messages, found.invalid, found.counters]})


if __name__ == "__main__":
    main()
