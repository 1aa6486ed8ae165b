"""Microseconds to index one message: `python bench/mime.py`.

"known" repeats one message, so that its addresses are in the caches; "fresh" gives every message
senders, recipients and ids of its own.
"""

import base64
import random
import time

from mailstead.message.index import index_message
from mailstead.message.sections import filter_header_fields, load_parts

HEADER = """Return-Path: <alice{n}@example.com>
Received: from mx.example.com (mx.example.com [192.0.2.1])
\tby mail.example.org with ESMTPS id {n}abc
\tfor <bob{n}@example.org>; Wed, 17 Jul 1996 02:44:25 +0000
DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=example.com;
\ts=s1; h=from:to:subject; bh=abcdefghijklmnopqrstuvwxyz=;
\tb=abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefghijklmnop
From: Alice Example <alice{n}@example.com>
To: "Bob, {n}" <bob{n}@example.org>
Cc: carol{n}@example.net
Subject: Re: [list] Lunch on Friday {n}?
Date: Wed, 17 Jul 1996 02:44:25 -0700 (PDT)
Message-ID: <{n}.123.def@example.com>
In-Reply-To: <{n}.122.def@example.com>
References: <{n}.120.def@example.com> <{n}.121.def@example.com>
MIME-Version: 1.0
Content-Type: {type}
Content-Transfer-Encoding: 7bit
User-Agent: Example 1.0

"""
TEXT = "Hello Bob,\n> quoted words here\nthis is some text of the message, with several words.\n" * 40


def plain(n: int) -> bytes:
    text = HEADER.format(n=n, type="text/plain; charset=utf-8; format=flowed") + TEXT
    return text.replace("\n", "\r\n").encode()[:2048]


def attached(n: int, size: int) -> bytes:
    boundary = f"=_{n:032x}"
    data = base64.encodebytes(random.Random(n).randbytes(size * 3 // 4)).decode()
    text = (
        HEADER.format(n=n, type=f'multipart/mixed;\n boundary="{boundary}"')
        + f"--{boundary}\nContent-Type: text/plain; charset=utf-8\n\n{TEXT[:2000]}\n--{boundary}\n"
        + f"Content-Type: application/pdf; name=x{n}.pdf\nContent-Disposition: attachment; filename=x{n}.pdf\n"
        + f"Content-Transfer-Encoding: base64\n\n{data}\n--{boundary}--\n"
    )
    return text.replace("\n", "\r\n").encode()


def measure(messages: list[bytes], rounds: int) -> float:
    best = float("inf")
    for _ in range(5):
        started = time.perf_counter()
        for _ in range(rounds):
            for message in messages:
                index_message(message)
        best = min(best, time.perf_counter() - started)
    return best / rounds / len(messages) * 1e6


def main() -> None:
    print(f"{'message':>14} {'known us':>9} {'fresh us':>9}")
    for name, make, count in (
        ("2 KB text", plain, 10_000),
        ("50 KB file", lambda n: attached(n, 46_000), 200),
        ("1 MB file", lambda n: attached(n, 980_000), 12),
    ):
        known = measure([make(1)], max(count // 5, 5))
        # Each round is of other messages than the one before: the caches hold fewer than `count` addresses.
        fresh = measure([make(n) for n in range(count)], 1)
        print(f"{name:>14} {known:9.1f} {fresh:9.1f}")
    index = index_message(plain(1))
    names = frozenset((b"FROM", b"TO", b"SUBJECT", b"DATE"))
    for label, call in (
        ("load_parts", lambda: load_parts(index.parts)),
        ("HEADER.FIELDS", lambda: filter_header_fields(index.fields, names)),
    ):
        started = time.perf_counter()
        for _ in range(20_000):
            call()
        print(f"{label:>14} {(time.perf_counter() - started) / 20_000 * 1e6:9.2f}")


if __name__ == "__main__":
    main()
