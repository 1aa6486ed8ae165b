"""Text at the beginning and the end of a message, as a list or a domain adds it (LST-01).

Invariants
- What is signed or encrypted stays octet for octet: around a signed message parts are added, in a multipart/mixed of its own;
  an encrypted one, or one that cannot be understood, is left as it is.
- Attachments are not touched; text parts that change become UTF-8.
- Work is linear in the octets.

Where: in every alternative of the text that a reader sees first (text/plain and text/html); where there is none (a picture
alone, say), parts of their own are added.
"""

from __future__ import annotations

import html
import re
import secrets

from .build import encode_text
from .decode import text_of
from .headers import header_end, iter_fields
from .index import index_message
from .mime import Part
from .rewrite import split_message, without_fields
from .sections import load_parts

_body_tag = re.compile(r"<body\b[^>]*>", re.IGNORECASE)
_body_end = re.compile(r"</body\s*>", re.IGNORECASE)
_CONTENT = (b"content-type", b"content-transfer-encoding")
MAX_TEXT = 8 << 20
"""Octets of a text part that is changed; around a larger one parts are added."""


def insert_text(octets: bytes, begin: str, end: str) -> bytes:
    """The message with plain text before and after what it says; unchanged where that is not possible."""
    if not begin.strip() and not end.strip():
        return octets
    root = load_parts(index_message(octets).parts)
    if _is_encrypted(root):
        return octets
    leaves: list[Part] = []
    if not _is_signed(root):
        _find_texts(root, leaves)
    if not leaves or any(part.body_end - part.body_start > MAX_TEXT for part in leaves):
        return _wrapped(octets, begin, end)
    for part in sorted(leaves, key=lambda one: one.header_start, reverse=True):
        octets = octets[: part.header_start] + _changed(octets, part, begin, end, part is root) + octets[part.body_end :]
    return octets


def _is_encrypted(root: Part) -> bool:
    if (root.type, root.subtype) == ("multipart", "encrypted"):
        return True
    return root.subtype in ("pkcs7-mime", "x-pkcs7-mime") and root.params.get("smime-type", "").lower() != "signed-data"


def _is_signed(root: Part) -> bool:
    return (root.type, root.subtype) == ("multipart", "signed") or root.subtype in ("pkcs7-mime", "x-pkcs7-mime")


def _find_texts(part: Part, leaves: list[Part]) -> None:
    """The text that is seen first, in all its alternatives."""
    pending = [part]
    while pending:
        current = pending.pop()
        if current.type == "multipart" and current.subtype != "signed" and current.subtype != "encrypted":
            pending.extend(current.children if current.subtype == "alternative" else current.children[:1])
        elif current.type == "text" and current.subtype in ("plain", "html") and current.disposition != "attachment":
            leaves.append(current)


def _changed(octets: bytes, part: Part, begin: str, end: str, is_root: bool) -> bytes:
    """Header and body of a text part with the texts in it."""
    text = text_of(octets, part).replace("\r\n", "\n")
    if part.subtype == "html":
        text = _in_html(text, begin, end)
    else:
        first = begin.strip("\r\n") + "\n\n" if begin.strip() else ""
        last = "\n\n" + end.strip("\r\n") + "\n" if end.strip() else ""
        text = first + (text.rstrip("\n") if last else text) + last
    encoding, body = encode_text(text)
    header = octets[part.header_start : part.body_start]
    kept = without_fields(header[: header_end(header)] if header.strip() else b"", _CONTENT)
    flowed = "; format=flowed" if part.params.get("format", "").lower() == "flowed" else ""
    lines = f"Content-Type: text/{part.subtype}; charset=utf-8{flowed}\r\nContent-Transfer-Encoding: {encoding}\r\n"
    if is_root and b"mime-version" not in kept.lower():
        lines += "MIME-Version: 1.0\r\n"
    return kept + lines.encode() + b"\r\n" + (body if is_root else body.removesuffix(b"\r\n"))


def _in_html(text: str, begin: str, end: str) -> str:
    def block(words: str) -> str:
        return "<div>" + html.escape(words.strip("\r\n")).replace("\n", "<br>\n") + "</div>\n"

    if end.strip():
        places = list(_body_end.finditer(text))
        place = places[-1].start() if places else len(text)
        text = text[:place] + block(end) + text[place:]
    if begin.strip():
        found = _body_tag.search(text)
        place = found.end() if found else 0
        text = text[:place] + block(begin) + text[place:]
    return text


def _wrapped(octets: bytes, begin: str, end: str) -> bytes:
    """The message's content as a part between two others; its Content-* fields go along."""
    header, body = split_message(octets)
    outer = without_fields(header, (b"content-*", b"mime-version"))
    inner = b"".join(raw if raw.endswith(b"\n") else raw + b"\r\n" for raw in _content_fields(header))
    boundary = secrets.token_hex(16)
    while boundary.encode() in octets:
        boundary = secrets.token_hex(16)
    line = f"--{boundary}\r\n".encode()
    pieces = [outer, f'MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary="{boundary}"\r\n\r\n'.encode()]
    if begin.strip():
        pieces += [line, _text_part(begin), b"\r\n"]
    # The line end before a delimiter is the delimiter's; the part keeps its own.
    pieces += [line, inner, b"\r\n", body, b"\r\n"]
    if end.strip():
        pieces += [line, _text_part(end), b"\r\n"]
    pieces.append(f"--{boundary}--\r\n".encode())
    return b"".join(pieces)


def _content_fields(header: bytes) -> list[bytes]:
    return [raw for name, raw, _ in iter_fields(header) if name.lower().startswith(b"content-")]


def _text_part(text: str) -> bytes:
    encoding, body = encode_text(text)
    return f"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n".encode() + body
