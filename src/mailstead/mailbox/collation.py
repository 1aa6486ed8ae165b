"""The collation i;unicode-casemap (RFC 5051), by which text is sorted (RFC 5255 I18NLEVEL=1).

Invariants: equal keys mean equal text to the collation; keys compare by code point, which is the order of their UTF-8.
"""

from __future__ import annotations

import unicodedata
from functools import lru_cache

#: Longer texts are not kept: thousands of them would be more memory than they save time.
MAX_KEPT = 200


@lru_cache(maxsize=8192)
def _kept(text: str) -> str:
    return _folded(text)


def _folded(text: str) -> str:
    # RFC 5051 section 2: the simple titlecase of each character, then its full decomposition.
    titled = (character.title() for character in text)
    simple = "".join(title if len(title) == 1 else character for title, character in zip(titled, text, strict=True))
    return unicodedata.normalize("NFKD", simple)


def sort_key(text: str) -> str:
    """The key of a text."""
    if text.isascii():
        return text.upper()
    return _kept(text) if len(text) <= MAX_KEPT else _folded(text)
