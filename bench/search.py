"""Full-text search of one account among many, against reading every message.

    python -m bench.search [--messages 10000] [--others 1000] [--each 20]

Builds a store in a temporary directory: one account with a large INBOX, and others in the same shard whose words are
their own and partly the same. Prints searches per second for needles of several kinds, each needle new (nothing is
answered from kept results), once with the index and once by reading; and what indexing and a job row cost.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace

from mailstead.mailbox.model import NewMessage
from mailstead.mailbox.search import Scope, Text, evaluate
from mailstead.mailbox.service import Mailbox
from mailstead.mailbox.view import FolderView
from mailstead.store.search_indexer import Indexer
from mailstead.store.search_reader import SearchReader
from mailstead.store.service import Store

ACCOUNT = 1
_LETTERS = "etaoinshrdlucmfwypvbgkjqxz"
_WEIGHTS = [12, 9, 8, 8, 7, 7, 6, 6, 6, 4, 4, 3, 3, 2, 2, 2, 2, 2, 1, 1, 1, 1, 0.2, 0.1, 0.2, 0.1]


def word(rng: random.Random) -> str:
    return "".join(rng.choices(_LETTERS, _WEIGHTS, k=rng.choice((2, 3, 3, 4, 4, 5, 6, 7, 8, 10))))


class Language:
    """Words, the first ones much commoner than the last."""

    def __init__(self, rng: random.Random, count: int) -> None:
        self.rng = rng
        self.words = list(dict.fromkeys(word(rng) for _ in range(count)))

    def pick(self) -> str:
        return self.words[int(len(self.words) * self.rng.random() ** 3)]

    def message(self, number: int) -> bytes:
        rng = self.rng
        lines = [" ".join(self.pick() for _ in range(10)) + rng.choice((".", ",", "?", "")) for _ in range(rng.randrange(10, 60))]
        head = (
            f"From: {self.pick()} <{self.pick()}@example.test>\r\nTo: team@example.test\r\nSubject: {self.pick()} {self.pick()}\r\n"
            f"Message-ID: <{rng.getrandbits(64):x}.{number}@example.test>\r\nDate: Tue, 02 Nov 2021 10:00:00 +0000\r\n\r\n"
        )
        return (head + "\r\n".join(lines) + "\r\n").encode()


async def fill(mailbox: Mailbox, account: int, messages: Sequence[bytes]) -> None:
    folder = await mailbox.folder(account, "INBOX")
    assert folder is not None
    for start in range(0, len(messages), 200):
        await mailbox.append(folder, [NewMessage(octets) for octets in messages[start : start + 200]])


async def measure(mailbox: Mailbox, view: FolderView, needles: Sequence[str], headers: bool) -> tuple[float, list[list[int]]]:
    """Milliseconds per search (the median), and what was found."""
    took, found = [], []
    for needle in needles:
        scope = Scope(mailbox, view, view.uids, view.flags, view.modseqs, len(view.uids))
        start = time.perf_counter()
        found.append(list(await evaluate(scope, Text(needle, headers))))
        took.append(time.perf_counter() - start)
    return statistics.median(took) * 1000, found


def kinds(rng: random.Random, language: Language, messages: Sequence[bytes]) -> dict[str, Callable[[], str]]:
    def long_word() -> str:
        return rng.choice([w for w in rng.sample(language.words, 200) if len(w) >= 6])

    def phrase() -> str:
        line = rng.choice(rng.choice(messages).split(b"\r\n\r\n", 1)[1].split(b"\r\n")[:-1]).decode().split(" ")
        at = rng.randrange(len(line) - 2)
        return " ".join(line[at : at + 3])

    return {
        "word": long_word,
        "mid-word": lambda: long_word()[1:-1],
        "three letters": lambda: "".join(rng.choices(_LETTERS, _WEIGHTS, k=3)),
        "one letter": lambda: rng.choice(_LETTERS),
        "phrase": phrase,
        "absent": lambda: "".join(rng.choices("qxzj", k=9)),
        "punctuation": lambda: rng.choice((".\r\n", "?\r\n", ",\r", "?!", "...")),
    }


async def run(directory: Path, messages: int, others: int, each: int) -> None:
    rng = random.Random(7)
    store = await Store.open(directory)
    limits = SimpleNamespace(shard=0, quota_bytes=0, quota_messages=0)
    mailbox = Mailbox(store, SimpleNamespace(account=lambda _id: limits))  # type: ignore[arg-type]
    mine = Language(rng, 30_000)
    mail = [mine.message(number) for number in range(messages)]
    await fill(mailbox, ACCOUNT, mail)
    for account in range(2, others + 2):
        stranger = Language(rng, 400)
        stranger.words += mine.words[:100]
        await fill(mailbox, account, [stranger.message(number) for number in range(each)])
    folder = await mailbox.folder(ACCOUNT, "INBOX")
    assert folder is not None
    view = await mailbox.open(folder)
    rounds = {name: [make() for _ in range(12)] for name, make in kinds(rng, mine, mail).items()}
    read = {name: await measure(mailbox, view, needles[:3], False) for name, needles in rounds.items()}
    indexer = Indexer(directory, 0)
    start = time.process_time()
    while await asyncio.to_thread(indexer.run_once):
        pass
    spent = time.process_time() - start
    print(f"{messages} messages, {others} other accounts with {each} each; {sum(map(len, mail)) / messages:.0f} octets a message")
    size = (directory / "index" / "search-0.db").stat().st_size
    print(f"indexed at {spent / indexer.indexed * 1e6:.0f} us a message; the index has {size / 1e6:.0f} MB")
    indexer.close()
    print(f"{'needle':<15} {'hits':>6} {'read, ms':>10} {'index, ms':>10} {'searches/s':>11} {'times':>7}")
    await measure(mailbox, view, ["warm"], True)
    for name, needles in rounds.items():
        mailbox.search_reader.results = SearchReader(directory).results
        took, found = await measure(mailbox, view, needles, False)
        assert found[:3] == read[name][1], f"wrong answer for one of {needles}"
        hits = statistics.median(map(len, found))
        print(f"{name:<15} {hits:>6.0f} {read[name][0]:>10.1f} {took:>10.2f} {1000 / took:>11.0f} {read[name][0] / took:>7.0f}")
    view.release()
    await store.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=10_000)
    parser.add_argument("--others", type=int, default=1000)
    parser.add_argument("--each", type=int, default=20)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        asyncio.run(run(Path(directory), args.messages, args.others, args.each))


if __name__ == "__main__":
    main()
