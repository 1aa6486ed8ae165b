"""A folder of a million messages: opening it in a fresh worker, the newest fifty, and everybody else meanwhile.

python -m bench.huge_folder [--messages 1000000]

The rows are put into the index directly, all of one message, while the server is down. Printed are the times of SELECT and of
FETCH of the newest 50 (in the first session, in the next, and in a folder of 1 000), the time until the whole folder is
there, the longest that another session waited for NOOP meanwhile, and memory.
"""

from __future__ import annotations

import argparse
import signal
import socket
import statistics
import tempfile
import threading
import time
from pathlib import Path

import apsw

from bench.compare import start
from bench.generator import server_memory

SMALL = 1000
_NEWEST = "FETCH %d:* (UID FLAGS RFC822.SIZE INTERNALDATE ENVELOPE)"


class Session:
    """A blocking IMAP client."""

    def __init__(self, address: tuple[str, int], user: str) -> None:
        self._socket = socket.create_connection(address)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._file = self._socket.makefile("rb")
        self._file.readline()
        self.command(f"LOGIN {user} secret")

    def command(self, text: str) -> tuple[float, list[bytes]]:
        """Milliseconds, and the lines of the reply. Raises AssertionError where it is not OK."""
        began = time.perf_counter()
        self._socket.sendall(f"a {text}\r\n".encode())
        lines = []
        while True:
            line = self._file.readline()
            lines.append(line)
            if line.startswith(b"a "):
                assert line.startswith(b"a OK"), line
                return (time.perf_counter() - began) * 1000, lines

    def append(self, box: str) -> None:
        """A message of about 1 KB."""
        body = b"From: a@sender.test\r\nSubject: one of many\r\nMessage-ID: <1@sender.test>\r\n\r\n" + b"line\r\n" * 150
        self._socket.sendall(b"a APPEND %b {%d+}\r\n%b\r\n" % (box.encode(), len(body), body))
        line = self._file.readline()
        assert line.startswith(b"a OK"), line

    def close(self) -> None:
        self.command("LOGOUT")
        self._socket.close()


def multiply(path: Path, name: str, count: int) -> None:
    """Give the folder of that name ``count`` messages like its first."""
    connection = apsw.Connection(str(path))
    with connection:
        (folder,) = connection.execute("SELECT id FROM folder WHERE name = ?", (name,)).fetchone()
        row = connection.execute("SELECT * FROM message WHERE folder = ? AND uid = 1", (folder,)).fetchone()
        size = row[5]
        connection.executemany("INSERT INTO message VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?)",
                               ((folder, uid, row[2], uid & 1, *row[4:]) for uid in range(2, count + 1)))  # fmt: skip
        connection.execute(
            "UPDATE folder SET messages = ?1, uidnext = ?1 + 1, unseen = (SELECT count(*) FROM message WHERE folder = ?2 "
            "AND (flags & 1) = 0), size = ?1 * ?3 WHERE id = ?2", (count, folder, size),
        )  # fmt: skip
    connection.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=1_000_000)
    parser.add_argument("--base", type=int, default=24500)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mailstead-bench-") as scratch:
        data = Path(scratch) / "data"
        process, target = start(data, args.base, 1)
        assert target.imap
        session = Session(target.imap, target.user(1))
        for box in ("huge", "small"):
            session.command(f"CREATE {box}")
            session.append(box)
        process.send_signal(signal.SIGTERM)
        process.wait(60)
        multiply(data / "index" / "shard-0.db", "huge", args.messages)
        multiply(data / "index" / "shard-0.db", "small", SMALL)
        process, target = start(data, args.base, 1)
        try:
            assert target.imap
            session, other = Session(target.imap, target.user(1)), Session(target.imap, target.user(2))
            session.command("NOOP")
            small: list[float] = []
            for _ in range(20):
                opening = session.command("SELECT small")[0]
                fetching, lines = session.command(_NEWEST % (SMALL - 49))
                assert len(lines) == 51
                small.append(opening + fetching)
            before = server_memory(target.pids)
            waits: list[float] = []
            done = threading.Event()

            def others() -> None:
                while not done.is_set():
                    waits.append(other.command("NOOP")[0])

            thread = threading.Thread(target=others)
            thread.start()
            began = time.perf_counter()
            first, _ = session.command("SELECT huge")
            newest, lines = session.command(_NEWEST % (args.messages - 49))
            assert len(lines) == 51
            session.command("FETCH 1 (UID FLAGS)")
            whole = (time.perf_counter() - began) * 1000
            done.set()
            thread.join()
            gained = server_memory(target.pids) - before
            again = []
            for _ in range(20):
                opening = session.command("SELECT huge")[0]
                again.append(opening + session.command(_NEWEST % (args.messages - 49))[0])
            waits.sort()
            print(
                f"{args.messages} messages: SELECT {first:.1f} ms, newest 50 {newest:.1f} ms, all there after {whole:.0f} ms; "
                f"meanwhile NOOP of another session p99 {waits[int(len(waits) * 0.99)]:.1f} ms, longest {waits[-1]:.1f} ms; "
                f"memory +{gained / 1e6:.1f} MB ({gained / args.messages:.1f} octets a message); afterwards SELECT and newest 50 "
                f"{statistics.median(again):.2f} ms, of {SMALL} messages {statistics.median(small):.2f} ms"
            )
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)


if __name__ == "__main__":
    main()
