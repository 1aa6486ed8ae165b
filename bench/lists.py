"""A mailing list of many members: how long the sender waits for the 250, and how fast the copies are made.

``python -m bench.lists [--members 100000] [--local 0.2] [--size 4] [--directory DIR]``: a fresh data directory, a list with a
share of its members here and the rest elsewhere, one posting of so many KB over SMTP, then the expansion, in one process. Nothing
is sent to anybody: copies for elsewhere end in the queue.
"""

from __future__ import annotations

import argparse
import asyncio
import resource
import shutil
import smtplib
import tempfile
import time
from pathlib import Path

import uvloop

from mailstead.delivery.lists.service import Lists
from mailstead.delivery.service import Delivery
from mailstead.directory import Actor, Directory, NewAccount
from mailstead.identity.authenticator import Authenticator
from mailstead.identity.guard import LocalGuard
from mailstead.mailbox.service import Mailbox
from mailstead.queue.queue_index import START
from mailstead.smtp.server import SmtpServer
from mailstead.smtp.services import SmtpServices
from mailstead.store.service import QUEUE, Store
from mailstead.transport.endpoint import Endpoint

ADMIN = Actor.system("bench")
BATCH = 10_000


async def furnish(directory: Directory, members: int, local: int) -> None:
    """The domain, accounts and list."""
    await directory.create_domain("example.test", actor=ADMIN)
    for start in range(0, local, BATCH):
        names = range(start, min(local, start + BATCH))
        await directory.import_accounts([NewAccount(f"u{n}@example.test", hash="{PLAIN}x") for n in names], actor=ADMIN)
    news = await directory.create_list("example.test", "news", actor=ADMIN)
    for start in range(0, members, BATCH):
        numbers = range(start, min(members, start + BATCH))
        batch = [f"u{n}@example.test" if n < local else f"m{n}@d{n % 500}.far.test" for n in numbers]
        await directory.add_members(news.id, batch, actor=ADMIN)


def post(port: int, size: int) -> float:
    """Seconds from the end of the data to the 250."""
    head = b"From: writer@else.test\r\nTo: news@example.test\r\nSubject: bench\r\n\r\n"
    body = head + b"A line of sixty-two octets, and it goes on to its end like so\r\n" * (size * 16)
    with smtplib.SMTP("127.0.0.1", port, timeout=60) as client:
        client.ehlo()
        client.mail("writer@else.test")
        assert client.rcpt("news@example.test")[0] == 250
        assert client.docmd("DATA")[0] == 354
        begin = time.perf_counter()
        client.send(body + b".\r\n")
        code, text = client.getreply()
        assert code == 250, text
        return time.perf_counter() - begin


async def main(options: argparse.Namespace) -> None:
    """Measure and print."""
    data = Path(options.directory or tempfile.mkdtemp(prefix="bench-lists-"))
    local = int(options.members * options.local)
    directory = Directory.open(data, create=True)
    begin = time.perf_counter()
    await furnish(directory, options.members, local)
    print(f"{options.members} members, {local} of them here, made in {time.perf_counter() - begin:.1f} s")
    store = await Store.open(data)
    delivery = Delivery(store, directory, Mailbox(store, directory, directory))
    authenticator = Authenticator(directory, directory.settings, LocalGuard(), threads=1)
    server = SmtpServer(SmtpServices(delivery, directory, authenticator, directory.settings))
    endpoint = Endpoint("smtpIncoming")
    listener = await asyncio.get_running_loop().create_server(lambda: server.connection(endpoint), "127.0.0.1", 0)
    waits = [await asyncio.to_thread(post, listener.sockets[0].getsockname()[1], options.size) for _ in range(options.postings)]
    print("time to 250: " + ", ".join(f"{wait * 1000:.1f} ms" for wait in waits))
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    expander = Lists(delivery).expander()
    worst, begin = 0.0, time.perf_counter()
    cpu = time.process_time()
    task = asyncio.create_task(expander.run())
    while store.queue_index.expansions(START, 1):
        at = time.perf_counter()
        await asyncio.sleep(0.005)
        worst = max(worst, time.perf_counter() - at - 0.005)
    seconds, cpu = time.perf_counter() - begin, time.process_time() - cpu
    await expander.stop()
    await task
    queued = store.reader(QUEUE).row("SELECT count(*) FROM recipient")
    given = expander.counts.given
    print(f"expansion: {given} copies in {seconds:.1f} s, {given / seconds:.0f}/s, {cpu / max(given, 1) * 1e6:.0f} us CPU each")
    print(f"in the queue: {queued[0] if queued else 0}; the event loop held for at most {worst * 1000:.0f} ms")
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory) / 1024
    size = sum(path.stat().st_size for path in data.rglob("*") if path.is_file()) / 1e6
    print(f"memory grown by {grown:.0f} MB; data directory {size:.0f} MB")
    listener.close()
    await delivery.close()
    await authenticator.close()
    await store.close()
    directory.close()
    if not options.directory:
        shutil.rmtree(data)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--members", type=int, default=100_000)
    parser.add_argument("--local", type=float, default=0.2, help="share of the members that are here")
    parser.add_argument("--size", type=int, default=4, help="KB of the posting")
    parser.add_argument("--postings", type=int, default=1)
    parser.add_argument("--directory", default="")
    uvloop.run(main(parser.parse_args()))
