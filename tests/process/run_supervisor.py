"""Run the supervisor with the echo application: data directory, workers."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from mailstead.observe.log import configure_from_environment
from mailstead.process import child
from mailstead.process.application import StartError
from mailstead.process.supervisor import Supervisor
from mailstead.process.system import lock_data_directory


def main() -> int:
    """Prints `ready` when every process serves."""
    data = Path(sys.argv[1])
    configure_from_environment("main")
    child.STOP_SECONDS = 100.0  # a child whose supervisor was killed may be busy until a test says that it is over
    try:
        lock_data_directory(data, float(os.environ.get("PATIENCE", "0")))
        return Supervisor(
            data,
            int(sys.argv[2]),
            application="tests.process.echo_application:EchoApplication",
            on_ready=lambda: print("ready", flush=True),
            stop_seconds=60.0,
        ).run()
    except StartError as exc:
        print(f"error: {exc}", flush=True)
        return 1


if __name__ == "__main__":
    sys.exit(main())
