"""Header fields taken out of a message and put into it, its other octets untouched (RFC 5322 section 2.2, 3.6).

Invariants: what is put in is whole lines with CRLF that no value can break out of; fields that are not named stay as they are,
octet for octet and in their order; a message without a header gets one, with its blank line.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from .headers import header_end, iter_fields


def split_message(octets: bytes) -> tuple[bytes, bytes]:
    """(header fields without the blank line, body) of a message."""
    end = header_end(octets)
    head = octets[:end]
    for blank in (b"\r\n\r\n", b"\n\n"):
        if head.endswith(blank):
            return head[: -len(blank) // 2], octets[end:]
    if head in (b"\r\n", b"\n"):
        return b"", octets[end:]
    if head and not head.endswith(b"\n"):
        head += b"\r\n"
    return head, octets[end:]


def without_fields(header: bytes, names: Collection[bytes]) -> bytes:
    """Header fields without those of these names (lower case; a name that ends in "*" stands for all that begin so)."""
    exact = {name for name in names if not name.endswith(b"*")}
    starts = tuple(name[:-1] for name in names if name.endswith(b"*"))
    kept = []
    for name, raw, _ in iter_fields(header):
        lowered = name.lower()
        if lowered in exact or (starts and lowered.startswith(starts)):
            continue
        kept.append(raw if raw.endswith(b"\n") else raw + b"\r\n")
    return b"".join(kept)


def with_fields(
    octets: bytes, remove: Collection[bytes], first: Sequence[str | bytes] = (), last: Sequence[str | bytes] = ()
) -> bytes:
    """A message without some fields, with ``first`` in front of the others and ``last`` behind them (ready lines with CRLF)."""
    header, body = split_message(octets)
    lines = [*first, without_fields(header, remove), *last, b"\r\n"]
    return b"".join(line if isinstance(line, bytes) else line.encode("utf-8", "replace") for line in lines) + body
