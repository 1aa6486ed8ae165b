"""Mail of every kind, made from a seed, and needles cut out of it."""

from __future__ import annotations

import random
from collections.abc import Sequence
from email.message import EmailMessage

from mailstead.message.decode import decode_header, text_of, walk
from mailstead.message.index import index_message
from mailstead.message.sections import load_parts

WORDS = [
    "alpha", "Beta", "gamma", "Grüße", "façade", "日本語テキスト", "检索系统", "needle", "haystack", "Straße", "ﬁnal", "İstanbul",
    "naïve", "e-mail", "C++", "100%", "foo_bar", "x.y@z.test", "हिन्दी", "한국어", "🎉", "a\u0301b", "donau" * 3, "…", "don't",
]  # fmt: skip
CHARSETS = ["utf-8", "utf-8", "iso-8859-1", "utf-8", "shift_jis", "utf-16"]


def sentence(rng: random.Random, most: int = 12) -> str:
    glue = rng.choice([" ", " ", ", ", "; ", " - ", "\t", "  "])
    return glue.join(rng.choice(WORDS) for _ in range(rng.randrange(1, most))) + rng.choice([".", "!", "?!", ""])


def mail(rng: random.Random, number: int) -> bytes:
    """A message: plain, HTML, nested, broken charsets, raw 8-bit, long lines."""
    kind = rng.randrange(9)
    lines = [sentence(rng) for _ in range(rng.randrange(1, 7))]
    body = "\n".join(lines) + "\n"
    if kind == 0:
        head = f"From: a{number}@example.test\r\nSubject: {sentence(rng, 4)}\r\nX-Raw: {sentence(rng, 3)}\r\n\r\n"
        return (head + body.replace("\n", "\r\n")).encode(rng.choice(["utf-8", "latin-1", "cp1252"]), "replace")
    if kind == 1:
        noise = bytes(rng.randrange(256) for _ in range(200))
        return b"Subject: noise\r\nContent-Type: text/plain\r\n\r\nhay needle " + noise + b" alpha.beta\r\n"
    made = EmailMessage()
    made["From"], made["To"] = f"Zoë <a{number}@example.test>", "team@example.test"
    made["Subject"] = sentence(rng, 9)
    made["X-Listed"] = sentence(rng, 3).strip()
    charset = rng.choice(CHARSETS)
    try:
        body.encode(charset)
    except UnicodeEncodeError:
        charset = "utf-8"
    cte = "base64" if charset == "utf-16" else rng.choice(["base64", "quoted-printable", "8bit"])
    try:
        made.set_content(body, charset=charset, cte=cte)
    except (UnicodeError, ValueError):
        made.set_content(body, cte="base64")
    if kind in (3, 4):
        made.add_alternative(f"<html><body><p>{'</p><b>'.join(lines)}</b>&amp;caf&eacute;</body></html>", subtype="html")
    if kind == 5:
        inner = EmailMessage()
        inner["Subject"], inner["X-Inner"] = sentence(rng, 5), "inner needle"
        inner.set_content(sentence(rng))
        made.add_attachment(inner)
    if kind == 6:
        made.add_attachment(bytes(rng.randrange(256) for _ in range(300)), maintype="application", subtype="octet-stream")
    octets = made.as_bytes().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    if kind == 7:
        octets += b"x" * 700 + "日本".encode() * 200 + b"\r\n"
    return octets


def texts(octets: bytes) -> list[str]:
    """What a reader might look for: the header and the parts, decoded."""
    index = index_message(octets)
    head = octets[: index.header_size]
    found = [decode_header(head.replace(b"\r\n", b"\n ")), head.decode("latin-1")]
    found += [text_of(octets, part) for part in walk(load_parts(index.parts)) if part.type == "text"]
    return [text for text in found if text]


def needles(rng: random.Random, messages: Sequence[bytes], count: int) -> list[str]:
    """Substrings of messages, of any length and with whatever comes, some changed in case or in a character."""
    found = []
    while len(found) < count:
        text = rng.choice(texts(rng.choice(messages)))
        size = rng.choice([1, 2, 3, 3, 4, 5, 6, 8, 12, 20, 40, 130, 260])
        start = rng.randrange(len(text))
        needle = text[start : start + size]
        change = rng.randrange(8)
        if change == 0:
            needle = needle.upper()
        elif change == 1:
            needle = needle.swapcase()
        elif change == 2:
            needle = needle[:-1] + rng.choice("xz. ")
        elif change == 3:
            needle = "".join(rng.choice(WORDS) for _ in range(2))
        if needle:
            found.append(needle)
    return found
