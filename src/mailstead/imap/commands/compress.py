"""COMPRESS (RFC 4978)."""

from __future__ import annotations

from mailstead.imap.grammar import Arguments
from mailstead.imap.responses import Refusal
from mailstead.imap.session import Session


def compress(session: Session, arguments: Arguments) -> None:
    """Compress both directions from here on."""
    arguments.space()
    mechanism = arguments.keyword()
    arguments.end()
    if mechanism != b"DEFLATE":
        raise Refusal("Unknown compression mechanism", "CANNOT")
    if not session.options.allowCompress:
        raise Refusal("Compression is not available")
    if session.compressed:
        raise Refusal("Compression is active already", "COMPRESSIONACTIVE")
    session.emit(b"%b OK DEFLATE active\r\n" % session.tag)
    session.start_compression()
