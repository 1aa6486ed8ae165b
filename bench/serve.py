"""Starts this server the way the harness wants it: 1000 users user%04d@bench.test, password secret, cheap hashes.

    python bench/serve.py DIR [--workers 2] [--base 18000]

SMTP on base+25, IMAP on base+143, POP3 on base+110 of 127.0.0.1; prints the supervisor's pid and serves in the foreground.
Passwords are kept as {SSHA256} so that login figures measure the server and not the password hash, as with the peers.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import hashlib
import os
import sys
from pathlib import Path

from mailstead.directory import Actor, Directory
from mailstead.observe import log
from mailstead.process import installation, launch
from mailstead.process.bootstrap import FILE_NAME, read

DOMAIN = "bench.test"
OPEN = {
    "maxConnections": "20000",
    "peerMaxConnections": "20000",
    "maxIntervalConnections": "0",
    "peerMaxIntervalConnections": "0",
    "idleTimeout": "0",
}


def make(directory: Path, base: int, shards: int, users: int, more: list[tuple[str, str, str]]) -> None:
    """A data directory with its users."""
    plain = "plain login scram-sha-1 scram-sha-256"
    plan = installation.Plan(
        "mail.bench.test",
        DOMAIN,
        "admin",
        "bench-administrator",
        shards=shards,
        accounts=[("postmaster", None)],
        listeners=[
            installation.ListenerPlan(service, f"127.0.0.1:{base + port}", OPEN)
            for service, port in (("smtpIncoming", 25), ("imap", 143), ("pop3", 110))
        ],
        settings=[
            *((service, "plainConnAuthTypes", plain) for service in ("smtpIncoming", "imap", "pop3")),
            *((service, "plainConnAllowLogin", "yes") for service in ("imap", "pop3")),
            ("server", "metricsPort", "0"),
            *more,
            ("server", "upgradePasswordHashes", "no"),
        ],
    )
    installation.create(directory, plan)
    salt = os.urandom(8)
    ready = "{SSHA256}" + base64.b64encode(hashlib.sha256(b"secret" + salt).digest() + salt).decode()
    listing = directory / "users.csv"
    listing.write_text("".join(f"user{n:04d}@{DOMAIN},{ready}\n" for n in range(1, users + 1)))
    command = [sys.executable, "-m", "mailstead", "user", "import", "--config", str(directory), str(listing)]
    if os.spawnv(os.P_WAIT, sys.executable, command):
        raise SystemExit("the users could not be made")


def lift_limits(directory: Path) -> None:
    """A scenario has up to 1000 sessions of one account, where accounts have 16 by default."""
    opened = Directory.open(directory)
    try:
        asyncio.run(opened.settings.set_account_default("imapConnectionCount", "0", Actor.system("bench")))
    finally:
        opened.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--base", type=int, default=18000)
    parser.add_argument("--shards", type=int, default=1)
    parser.add_argument("--users", type=int, default=1000)
    parser.add_argument("--log-file", type=Path)
    parser.add_argument("--set", nargs=3, action="append", default=[], metavar=("CONTEXT", "NAME", "VALUE"))
    args = parser.parse_args()
    if not (args.directory / FILE_NAME).exists():
        make(args.directory, args.base, args.shards, args.users, [tuple(each) for each in args.set])
    lift_limits(args.directory)
    os.environ["MAILSTEAD_LOG_LEVEL"] = "information"
    os.environ["MAILSTEAD_LOG_FILE"] = str((args.log_file or args.directory / "server.log").resolve())
    log.configure_from_environment("main")
    print(f"pid {os.getpid()}", flush=True)
    sys.exit(launch.run(read(args.directory / FILE_NAME), args.workers))


if __name__ == "__main__":
    main()
