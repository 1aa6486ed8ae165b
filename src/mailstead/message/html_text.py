"""Readable text of HTML, for previews and for search.

Invariants
- Nothing is fetched or executed; scripts, styles and the head are left out.
- At most MAX_HTML characters are read. Nothing raises for any input: markup
  the parser refuses is stripped by a plain pattern.
"""

import html
import re

MAX_HTML = 2_000_000
#: Open elements nested deeper than this are stripped by pattern: tree builders take quadratic time over them.
MAX_OPEN_TAGS = 100_000

_tag = re.compile(r"<[^<>]{0,20000}>")
_blanks = re.compile(r"[\s\u200b\u200c\u034f\u00ad\ufeff]+")


def _stripped(text: str) -> str:
    return html.unescape(_tag.sub(" ", text))


def html_to_text(source: str) -> str:
    """Text of an HTML document, blanks collapsed to single spaces."""
    source = source[:MAX_HTML].replace("\0", "")
    if source.count("<") > MAX_OPEN_TAGS:
        return _blanks.sub(" ", _stripped(source)).strip()
    from selectolax.lexbor import LexborHTMLParser

    try:
        tree = LexborHTMLParser(source)
        tree.strip_tags(["script", "style", "head", "template", "noscript"])
        body = tree.body
        text = body.text(separator=" ") if body is not None else ""
    except (ValueError, RuntimeError, UnicodeError):
        # The parser gave up; a rough answer serves search better than none.
        text = _stripped(source)
    return _blanks.sub(" ", text).strip()
