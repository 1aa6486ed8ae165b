"""The first words of a message, as a list of messages shows them.

Invariants
- At most PREVIEW_LENGTH characters on one line, no control characters.
- A fixed number of octets is decoded whatever the size of the message.
- Quoted lines and the line that introduces them are left out.
"""

from .charset import decode_charset
from .decode import decode_transfer
from .html_text import html_to_text
from .mime import Entity, Part

PREVIEW_LENGTH = 200
_TEXT_WINDOW = 1024
_WIDE_WINDOW = 16 * 1024
_HTML_WINDOW = 64 * 1024

# Joiners shape emoji and several scripts; every other invisible sign is left out, direction marks above all.
_JOINERS = "\u200c\u200d"


def find_text(entity: Entity) -> Part | None:
    """The part that is read for the preview: the first text/plain, else the first text/html."""
    html = None
    pending = [entity]
    seen = 0
    while pending and seen < 100:
        current = pending.pop()
        seen += 1
        part = current.part
        if part.type == "text" and part.disposition != "attachment":
            if part.subtype != "html":
                return part
            html = html or part
        pending.extend(reversed(current.children))
        if current.embedded is not None and html is None:
            pending.append(current.embedded)
    return html


def _own_lines(text: str) -> list[str]:
    """The lines that are no quotation and do not introduce one (`Bob wrote:`)."""
    own: list[str] = []
    quoting = False
    for line in text.split("\n"):
        line = line.strip()
        if line[:1] == ">":
            if not quoting and own and own[-1][-1] == ":":
                own.pop()
            quoting = True
        elif line:
            own.append(line)
            quoting = False
    return own


def _one_line(text: str) -> str:
    if "\n>" in text or text[:1] == ">":
        text = " ".join(_own_lines(text))
    line = " ".join(text.split())[: PREVIEW_LENGTH + 50]
    if not line.isprintable():
        kept = (sign if sign.isprintable() or sign in _JOINERS else " " if sign < "\xa0" else "" for sign in line)
        line = " ".join("".join(kept).split())
    return line[:PREVIEW_LENGTH].rstrip()


def _window(octets: bytes, part: Part, size: int) -> str:
    end = min(part.body_end, part.body_start + size)
    chunk = octets[part.body_start : end]
    if end < part.body_end:
        # Cut at a line end, so that no escape or character is halved.
        chunk = chunk[: chunk.rfind(b"\n") + 1] or chunk
    encoding = part.encoding
    if encoding in ("7bit", "8bit") and chunk.isascii() and part.charset.lower() in ("", "us-ascii", "utf-8"):
        return chunk.decode("ascii")
    return decode_charset(decode_transfer(chunk, encoding), part.charset, detect=False)


def make_preview(octets: bytes, entity: Entity) -> str:
    """The preview of a parsed message, '' if it has no text."""
    part = find_text(entity)
    if part is None:
        return ""
    if part.subtype == "html":
        return _one_line(html_to_text(_window(octets, part, _HTML_WINDOW)))
    line = _one_line(_window(octets, part, _TEXT_WINDOW))
    if len(line) < PREVIEW_LENGTH - 50 and part.body_end - part.body_start > _TEXT_WINDOW:
        line = _one_line(_window(octets, part, _WIDE_WINDOW))
    return line
