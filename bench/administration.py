"""Administration at scale: accounts created through the protocol, lists, look-ups, start-up, and how soon a setting acts.

    python -m bench.administration [--accounts 100000] [--domains 1000] [--passwords 200] [--workers 2]

Starts a server of its own in a temporary directory. Accounts are created in one session with one COMMIT each, with ready
hashes; some with clear passwords, against the rate at which this machine hashes. Prints each figure with its target.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from mailstead.directory import Directory
from mailstead.identity.passwords import hash_password
from mailstead.process.installation import ListenerPlan, Plan
from mailstead.process.installation import create as make

PASSWORD = "bench-secret-1"
HASH = "{SSHA}5JFxvOKYRcvxxQFGcMTHm+p5CKwxMjM0"
OPEN = {"maxConnections": "2000", "peerMaxConnections": "2000", "maxIntervalConnections": "0", "peerMaxIntervalConnections": "0"}
END = b"#> "


class Session:
    """One administration session; a command is answered when its prompt has come."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.read(b"<login> ")
        self.send("USER admin", b"<password> ")
        self.send(PASSWORD)

    def read(self, end: bytes = END) -> bytes:
        data = b""
        while not data.endswith(end):
            part = self.socket.recv(1 << 20)
            if not part:
                raise SystemExit(f"the server closed the connection: {data[-200:]!r}")
            data += part
        return data

    def send(self, line: str, end: bytes = END) -> bytes:
        self.socket.sendall(line.encode() + b"\r\n")
        return self.read(end)

    def ok(self, line: str) -> bytes:
        reply = self.send(line)
        if b"-ERR:" in reply:
            raise SystemExit(f"{line}: {reply!r}")
        return reply


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def tell(name: str, value: str, target: str) -> None:
    print(f"{name:<46} {value:>16}   target {target}", flush=True)


def start(data: Path, port: int, workers: int) -> tuple[subprocess.Popen[bytes], float]:
    """Start the server; seconds until it greets."""
    began = time.monotonic()
    command = [sys.executable, "-m", "mailstead", "run", "--config", str(data), "--workers", str(workers)]
    server = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    while True:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=5) as probe:
                if probe.recv(1024):
                    return server, time.monotonic() - began
        except OSError:
            if server.poll() is not None:
                raise SystemExit("the server ended") from None
            time.sleep(0.01)


def stop(server: subprocess.Popen[bytes]) -> None:
    server.send_signal(signal.SIGTERM)
    server.wait(60)


def create(session: Session, accounts: int, domains: int) -> float:
    """Accounts per second; the domains are made first."""
    for number in range(domains):
        session.ok(f'CREATE Domain name d{number}.test domainLocation /d{number} postmasterPassword "{PASSWORD}"')
        session.ok("COMMIT")
    each = accounts // domains
    began = time.monotonic()
    for number in range(domains):
        session.ok(f"UPDATE Domain d{number}.test")
        for account in range(each):
            session.ok(f'ADD Account name u{account} passwordHash "{HASH}"')
            session.ok("COMMIT")
        session.ok("BACK")
    return each * domains / (time.monotonic() - began)


def clear_passwords(session: Session, count: int) -> tuple[float, float]:
    """Accounts per second with clear passwords, and hashes per second of one core."""
    began = time.monotonic()
    for number in range(20):
        hash_password(f"secret-{number}")
    bound = 20 / (time.monotonic() - began)
    session.ok("UPDATE Domain d0.test")
    began = time.monotonic()
    for number in range(count):
        session.ok(f'ADD Account name clear{number} password "secret-{number}-x"')
        session.ok("COMMIT")
    rate = count / (time.monotonic() - began)
    session.ok("BACK")
    return rate, bound


def large_list(session: Session, count: int) -> float:
    """Seconds to list the accounts of a domain with `count` of them."""
    session.ok(f'CREATE Domain name large.test domainLocation /l postmasterPassword "{PASSWORD}"')
    session.ok("COMMIT")
    session.ok("UPDATE Domain large.test")
    lines = [f'ADD Account name u{number} passwordHash "{HASH}"\r\nCOMMIT\r\n' for number in range(count)]
    for begin in range(0, count, 50):
        session.socket.sendall("".join(lines[begin : begin + 50]).encode())
        answered = 0
        while answered < 2 * len(lines[begin : begin + 50]):
            answered += session.socket.recv(1 << 20).count(b"#> ")
    times = []
    for _ in range(5):
        began = time.monotonic()
        rows = session.ok("LIST Accounts").count(b"\r\n")
        times.append(time.monotonic() - began)
        if rows < count:
            raise SystemExit(f"{rows} lines of {count}")
    session.ok("BACK")
    return statistics.median(times)


def login_lookup(data: Path, accounts: int, domains: int) -> tuple[float, float]:
    """Microseconds of a look-up by login, the first time and again."""
    directory = Directory.open(data)
    try:
        each = accounts // domains
        names = [f"u{number % each}@d{number * 7919 % domains}.test" for number in range(2000)]
        names = list(dict.fromkeys(names))
        figures = []
        for _ in range(2):
            began = time.monotonic()
            for name in names:
                if directory.account_by_login(name) is None:
                    raise SystemExit(name)
            figures.append((time.monotonic() - began) / len(names) * 1e6)
        return figures[0], figures[1]
    finally:
        directory.close()


def setting_delay(session: Session, pop3: int, tries: int = 20) -> float:
    """Seconds from the reply to COMMIT until every worker of twelve new connections shows the new greeting; the worst."""
    worst = 0.0
    for number in range(tries):
        session.ok("CONFIG SERVER")
        session.ok("CONFIG POP3")
        session.ok(f'SET greetingsText "greeting {number}"')
        session.ok("COMMIT")
        began = time.monotonic()
        while True:
            seen = []
            for _ in range(12):
                with socket.create_connection(("127.0.0.1", pop3)) as probe:
                    seen.append(probe.recv(1024))
            if all(f"greeting {number}".encode() in line for line in seen):
                break
            if time.monotonic() - began > 5:
                raise SystemExit(f"not seen: {seen}")
        worst = max(worst, time.monotonic() - began)
        session.ok("BACK")
    return worst


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--accounts", type=int, default=100_000)
    parser.add_argument("--domains", type=int, default=1_000)
    parser.add_argument("--passwords", type=int, default=200)
    parser.add_argument("--listed", type=int, default=10_000)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    data = Path(tempfile.mkdtemp(prefix="mailstead-bench-"))
    port, pop3 = free_ports(2)
    try:
        plan = Plan(
            hostname="localhost", domain="first.test", admin="admin", admin_password=PASSWORD, accounts=[("postmaster", None)],
            listeners=[
                ListenerPlan("cli", f"127.0.0.1:{port}", {**OPEN, "idleTimeout": "0"}),
                ListenerPlan("pop3", f"127.0.0.1:{pop3}", OPEN),
            ],
            settings=[("server", "metricsPort", "0")], certificate_names=["localhost"],
        )  # fmt: skip
        make(data, plan)
        server, _ = start(data, port, options.workers)
        session = Session(port)
        tell("accounts created a second, ready hashes", f"{create(session, options.accounts, options.domains):.0f}", "500")
        rate, bound = clear_passwords(session, options.passwords)
        tell("accounts created a second, clear passwords", f"{rate:.1f} ({rate / bound:.0%})", f"90 % of {bound:.1f} hashes")
        tell(f"LIST of {options.listed} accounts", f"{large_list(session, options.listed) * 1e3:.0f} ms", "300 ms")
        tell("a changed setting in all workers, worst", f"{setting_delay(session, pop3) * 1e3:.0f} ms", "100 ms")
        stop(server)
        first, again = login_lookup(data, options.accounts, options.domains)
        tell("login look-up, first and again", f"{first:.0f} / {again:.1f} us", "200 us")
        server, seconds = start(data, port, options.workers)
        tell("start-up until the greeting", f"{seconds:.2f} s", "3 s")
        stop(server)
        size = sum(path.stat().st_size for path in (data / "index").glob("system.db*"))
        tell("system database", f"{size / 1e6:.0f} MB", "-")
    finally:
        shutil.rmtree(data, ignore_errors=True)


if __name__ == "__main__":
    main()
