"""Backup, wipe, restore, compare, of a data set with every kind of object; and what a backup costs the mail flow.

    python bench/backup.py DIR [--accounts 100] [--messages 100000] [--seconds 20]

Part one fills a store through two writers (folders, flags, keywords, copies, moves, deletions, rights, notes, scripts, large
bodies, queue; lists, groups, aliases, classes, settings), backs it up, wipes it, restores it, and holds every row of every
table against what was there. Part two measures deliveries a second over SMTP without and with a backup beside.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import apsw

from bench.generator import run as run_load
from bench.scenarios import Target, smtp
from mailstead.directory import Actor, Directory, NewAccount
from mailstead.mailbox.model import NewMessage
from mailstead.mailbox.service import Mailbox
from mailstead.process import installation
from mailstead.store.backup.create import create_backup, id_at
from mailstead.store.backup.repository import Repository
from mailstead.store.backup.restore import restore_server
from mailstead.store.backup.sealing import Secret
from mailstead.store.backup.verify import verify
from mailstead.store.backup.view import choose
from mailstead.store.fsck import fsck
from mailstead.store.record import MessageHead, TargetKind
from mailstead.store.record import Target as MessageTarget
from mailstead.store.service import QUEUE, Store

ADMIN = Actor.system("bench")
SHARDS = 4
COUNTED = {"state", "applied", "epoch", "dead", "job", "version"}
"""Tables that count commits and the like; not what anybody stored."""


def message(rng: random.Random, number: int, size: int) -> bytes:
    words = " ".join(f"w{rng.randrange(5000)}" for _ in range(size // 6))
    head = (
        f"From: a{number % 97}@elsewhere.test\r\nTo: someone@bench.test\r\nSubject: subject {number % 1000}\r\n"
        f"Date: Mon, 02 Jan 2023 10:{number % 60:02}:00 +0000\r\nMessage-ID: <{number}@bench>\r\n"
    )
    if number % 5 == 1:
        head += f"References: <{number - 1}@bench>\r\n"
    return f"{head}\r\n{words}\r\n".encode()


async def fill_directory(root: Path, accounts: int) -> list[int]:
    directory = Directory.open(root)
    try:
        domain = directory.domain_by_name("bench.test")
        assert domain is not None
        await directory.import_accounts(
            [NewAccount(f"user{n:04d}@bench.test", hash="{SSHA}DkMTwBl+a/3DQTxCYEApdUtNXGgdUac3", full_name=f"U {n}")
             for n in range(accounts)], actor=ADMIN,
        )  # fmt: skip
        gold = await directory.create_account_class("bench.test", "gold", actor=ADMIN)
        found = [account.id for account in directory.accounts(domain.id)]
        for n, account in enumerate(found):
            await directory.add_account_alias(account, f"alias{n}", actor=ADMIN)
            if n % 3 == 0:
                await directory.set_account_class(account, gold.id, actor=ADMIN)
                await directory.set_account_setting(account, "totalMessageCount", "900000", actor=ADMIN)
        await directory.create_group("bench.test", "everyone", [f"user{n:04d}@bench.test" for n in range(accounts)], actor=ADMIN)
        await directory.create_list("bench.test", "news", [f"m{n}@elsewhere.test" for n in range(500)], actor=ADMIN)
        await directory.create_folder_recipient("bench.test", "board", "Board", actor=ADMIN)
        await directory.add_domain_alias("bench.test", "alias.test", actor=ADMIN)
        return found
    finally:
        directory.close()


async def fill_account(mailbox: Mailbox, rng: random.Random, account: int, neighbour: int, first: int, count: int) -> None:
    inbox = await mailbox.folder(account, "INBOX")
    assert inbox is not None
    work = await mailbox.create_folder(account, "Work/Projects")
    gone = await mailbox.create_folder(account, "Gone")
    await mailbox.set_subscribed(account, "Work/Projects", True)
    for folder, share in ((inbox, 0.6), (work, 0.35), (gone, 0.05)):
        number, end = first, first + int(count * share)
        first = end
        while number < end:
            many = min(100, end - number)
            await mailbox.append(
                folder,
                [
                    NewMessage(
                        message(rng, n, rng.choice((500, 2000, 8000))),
                        (*(("\\Seen",) if n % 2 else ()), *((f"kw{n % 60}",) if n % 7 == 0 else ())),
                        1_600_000_000 + n,
                    )
                    for n in range(number, number + many)
                ],
            )
            number += many
    await mailbox.append(inbox, [NewMessage(message(rng, first, 400_000))])
    view = await mailbox.open(inbox)
    uids = list(view.uids)
    await mailbox.copy(view, uids[:20], work)
    await mailbox.move(view, uids[20:40], work)
    await mailbox.store_flags(view, uids[40:80], "add", ["\\Flagged", "$Important"], durable=True)
    await mailbox.store_flags(view, uids[80:100], "add", ["\\Deleted"], durable=True)
    await mailbox.expunge(view, uids[80:90])
    across = await mailbox.folder(neighbour, "Archive")
    assert across is not None
    await mailbox.copy(view, uids[100:110], across)
    view.release()
    await mailbox.set_metadata(account, inbox, {"/private/comment": b"mine"})
    for who in ("group=everyone", "anyone"):
        await mailbox.set_acl(account, "Work/Projects", who, "set", "lrs")
    await mailbox.put_script(account, "main", 'require ["fileinto"]; if header :contains "subject" "x" { fileinto "Work"; }')
    await mailbox.activate_script(account, "main")
    await mailbox.delete_folder(account, "Gone")


async def fill(root: Path, accounts: int, messages: int) -> None:
    ids = await fill_directory(root, accounts)
    directory = Directory.open(root)
    stores = [await Store.open(root, "w0", SHARDS), await Store.open(root, "w1", SHARDS, prepared=True)]
    boxes = [Mailbox(store, directory, directory) for store in stores]
    rng = random.Random(1)
    each = messages // len(ids)
    for account in ids:
        await boxes[0].folders(account)
    for start in range(0, len(ids), 4):
        await asyncio.gather(
            *(fill_account(boxes[n % 2], random.Random(ids[n]), ids[n], ids[n - 1], n * each, each)
              for n in range(start, min(start + 4, len(ids))))
        )  # fmt: skip
    for n in range(100):
        target = MessageTarget(TargetKind.QUEUE, QUEUE, recipient=f"r{n}@elsewhere.test", mid=stores[0].new_id())
        await stores[0].submit_message(MessageHead("a@bench.test", int(time.time()), [target]), message(rng, n, 1000))
    for store in stores:
        await store.close()
    directory.close()


def tables(root: Path) -> Iterator[tuple[str, list[tuple[object, ...]]]]:
    """Every table of every index file, but those that count commits."""
    for path in sorted((root / "index").glob("*.db")):
        if path.name.startswith("search-"):
            continue
        connection = apsw.Connection(str(path))
        names = [str(row[0]) for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")]
        for name in names:
            if name not in COUNTED and not name.startswith("sqlite_"):
                yield f"{path.name} {name}", sorted(connection.execute(f"SELECT * FROM {name}"), key=repr)  # type: ignore[arg-type]
        connection.close()


def cycle(directory: Path, accounts: int, messages: int, secret: Secret | None) -> None:
    root, home = directory / "data", directory / "backups"
    plan = installation.Plan(
        "mail.bench.test",
        "bench.test",
        "admin",
        "bench-administrator",
        shards=SHARDS,
        accounts=[("postmaster", None)],
        listeners=[],
    )
    installation.create(root, plan)
    began = time.perf_counter()
    asyncio.run(fill(root, accounts, messages))
    print(f"filled in {time.perf_counter() - began:.1f} s", flush=True)
    before = dict(tables(root))
    repository = Repository.create(home, secret)
    repository.lock()
    for label in ("one", "two"):
        made = create_backup(root, repository, label=label, shards=SHARDS, bootstrap=root / "mailstead.toml")
        print(
            f"backup {label}: {made.copied / 1e6:.0f} MB copied, {made.shared / 1e6:.0f} MB shared, {made.seconds:.2f} s, "
            f"{(made.copied + made.shared) / 1e6 / made.seconds:.0f} MB/s",
            flush=True,
        )
    began = time.perf_counter()
    files, found = verify(repository, repository.labels(), print)
    print(f"verify: {files} files, {found} findings, {time.perf_counter() - began:.1f} s", flush=True)
    shutil.rmtree(root)
    began = time.perf_counter()
    result = restore_server(repository, choose(repository), root, log_ends_here=True)
    print(f"restore: {result.messages} messages, lost {result.lost}, {time.perf_counter() - began:.1f} s", flush=True)
    after = dict(tables(root))
    different = [name for name in before.keys() | after.keys() if before.get(name) != after.get(name)]
    rows = sum(len(found) for found in before.values())
    print(
        f"compared {rows} rows of {len(before)} tables: {'identical' if not different else f'DIFFERENT: {different}'}", flush=True
    )
    print(f"fsck: {fsck(root, out=lambda _: None)}", flush=True)
    repository.close()
    if different:
        raise SystemExit(1)


def wait_for(port: int) -> None:
    """Until somebody answers."""
    for _ in range(300):
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=60) as there:
                there.recv(100)
            return
        except OSError:
            time.sleep(0.2)
    raise SystemExit("the server does not answer")


def flow(directory: Path, seconds: float, base: int) -> None:
    """Deliveries a second without a backup, with one in full beside, and without again."""
    data = directory / "serving"
    server = subprocess.Popen(
        [sys.executable, "bench/serve.py", str(data), "--base", str(base)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert server.stdout is not None
    pid = next(int(line.split()[1]) for line in server.stdout if line.startswith(b"pid "))
    try:
        target = Target("mailstead", ("127.0.0.1", base + 25), ("127.0.0.1", base + 143), ("127.0.0.1", base + 110), [pid])
        wait_for(base + 25)
        print(f"warming up: {run_load(smtp(target, 20_000, 20, seconds)).operations} deliveries", flush=True)
        rates = []
        for number, beside in enumerate((False, True, False, True, False)):
            backup = None
            if beside:
                words = [sys.executable, "-m", "mailstead", "backup", "create", "-c", str(data), str(directory / f"flow{number}")]
                backup = subprocess.Popen([*words, "--full"], stdout=subprocess.PIPE)
            result = run_load(smtp(target, 20_000, 20, seconds))
            rate = result.operations / result.seconds
            rates.append(rate)
            p99 = result.percentile(0.99)
            print(f"{'with a backup' if beside else 'alone'}: {rate:.0f}/s, p99 {p99:.0f} ms, {result.errors} errors", flush=True)
            if backup is not None:
                running = backup.poll() is None
                print("  " + backup.communicate()[0].decode().strip() + (" (ended after the load)" if running else ""), flush=True)
        alone, with_backup = (rates[0] + rates[2] + rates[4]) / 3, (rates[1] + rates[3]) / 2
        print(f"mail flow beside a backup: {with_backup / alone:.0%} of that without", flush=True)
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(60)
    compare_taken_under_load(data, directory / "flow3", directory / "restored")


def compare_taken_under_load(data: Path, home: Path, target: Path) -> None:
    """Every message accepted before the backup began is in what is restored from it, as it is in the server."""
    repository = Repository.open(home)
    point = choose(repository)
    result = restore_server(repository, point, target)
    print(f"restored what was taken under load: {result.messages} messages, fsck {fsck(target, out=lambda _: None)}", flush=True)
    rows: list[list[tuple[object, ...]]] = []
    for root in (data, target):
        found: list[tuple[object, ...]] = []
        for path in sorted((root / "index").glob("shard-*.db")):
            connection = apsw.Connection(str(path))
            sql = "SELECT folder, uid, flags, mid, size, date, thread FROM message WHERE mid <= ? ORDER BY folder, uid"
            found += connection.execute(sql, (id_at(point.base.started),)).fetchall()
            connection.close()
        rows.append(found)
    print(f"compared {len(rows[0])} messages: {'identical' if rows[0] == rows[1] else 'DIFFERENT'}", flush=True)
    if rows[0] != rows[1]:
        raise SystemExit(1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--accounts", type=int, default=100)
    parser.add_argument("--messages", type=int, default=100_000)
    parser.add_argument("--encrypt", action="store_true")
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--base", type=int, default=19_000)
    parser.add_argument("--only", choices=["cycle", "flow"])
    options = parser.parse_args()
    options.directory.mkdir(parents=True, exist_ok=True)
    if options.only != "flow":
        secret = Secret(b"bench" * 8, passphrase=False) if options.encrypt else None
        cycle(options.directory, options.accounts, options.messages, secret)
    if options.only != "cycle":
        flow(options.directory, options.seconds, options.base)


if __name__ == "__main__":
    main()
