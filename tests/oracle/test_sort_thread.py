"""SORT and THREAD of random messages, at Mailstead and at Dovecot."""

from __future__ import annotations

import random
from datetime import timedelta

import pytest

from tests.imap.test_sort import KEYS, make
from tests.oracle.conftest import Pair


def threaded(rng: random.Random, number: int) -> bytes:
    """A message with a subject and references from a small world."""
    mail = make(rng, number)
    if mail.sent is not None:
        # Threads of the same moment come in the order of the mailbox here, and in some order there.
        mail.sent += timedelta(minutes=number)
    octets = mail.octets()
    lines = [f"Message-ID: <{rng.choice([number, number, number, rng.randrange(1, 30)])}@x>"]
    references = [f"<{rng.randrange(1, 34)}@x>" for _ in range(rng.randrange(4))]
    if references and rng.random() < 0.7:
        lines.append("References: " + " ".join(references))
    elif references:
        lines.append(f"In-Reply-To: {references[0]}")
    return "".join(f"{line}\r\n" for line in lines).encode() + octets


@pytest.mark.parametrize("seed", range(4))
async def test_random_mail_is_sorted_and_threaded_alike(pair: Pair, seed: int) -> None:
    rng = random.Random(seed)
    for number in range(1, 31):
        day = f'"{rng.randrange(1, 28):2d}-Mar-2024 {rng.randrange(24):02d}:{number:02d}:00 +0000"'
        await pair.append("INBOX", threaded(rng, number), day)
    await pair.both("SELECT INBOX")
    commands = [f"SORT ({how}{name}) UTF-8 ALL" for name in KEYS for how in ("", "REVERSE ")]
    commands += [f"SORT ({a} REVERSE {b}) UTF-8 ALL" for a in KEYS for b in KEYS if a != b]
    commands += [f"THREAD {name} UTF-8 {low}:30" for name in ("ORDEREDSUBJECT", "REFERENCES", "REFS") for low in (1, 11, 25)]
    different = []
    for command in commands:
        (ours, our_reply), (theirs, their_reply) = await pair.both(command)
        assert our_reply.startswith(b"OK"), our_reply
        assert their_reply.startswith(b"OK"), their_reply
        if ours != theirs:
            different.append((command, ours, theirs))
    assert not different, "\n".join(f"{command}\n  {ours}\n  {theirs}" for command, ours, theirs in different[:12])
