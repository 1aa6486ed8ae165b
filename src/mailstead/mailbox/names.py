"""Folder names: what is allowed, and the names above one.

A name is Unicode with "/" between levels. Invariant: a valid name has 1 to 20 levels of 1 to 255 octets UTF-8 each,
no control characters, no ``*`` or ``%``, and INBOX in any case is written ``INBOX`` at the top level.
"""

from __future__ import annotations

import unicodedata

from mailstead.mailbox.errors import InvalidFolderName

MAX_LEVELS = 20
MAX_LEVEL_OCTETS = 255
LIST_CONFIRMED, LIST_DIGEST = "ConfirmedRequests", "Digest"
ACTING_FOLDERS = frozenset({LIST_CONFIRMED, LIST_DIGEST})
"""Folders of a mailing list's mailbox that act on what comes into them: it is carried out, or sent with the next digest."""


def canonical(name: str) -> str:
    """The form in which a name is looked up: NFC, INBOX upper-case. Never raises."""
    name = unicodedata.normalize("NFC", name)
    top, slash, below = name.partition("/")
    return f"INBOX{slash}{below}" if top.upper() == "INBOX" else name


def normalize(name: str) -> str:
    """The stored form: NFC, INBOX upper-case, no slash at the end. Raises InvalidFolderName."""
    name = canonical(name)
    if name.endswith("/"):
        name = name[:-1]
    levels = name.split("/")
    if len(levels) > MAX_LEVELS:
        raise InvalidFolderName(f"more than {MAX_LEVELS} levels")
    for level in levels:
        try:
            octets = len(level.encode())
        except UnicodeEncodeError:
            raise InvalidFolderName("the name is not valid Unicode") from None
        if not level:
            raise InvalidFolderName("a level of the name is empty")
        if octets > MAX_LEVEL_OCTETS:
            raise InvalidFolderName(f"a level of the name has more than {MAX_LEVEL_OCTETS} octets")
        if any(ord(c) < 32 or ord(c) == 127 or c in "*%" for c in level):
            raise InvalidFolderName("the name has a character that is not allowed")
    return "/".join(levels)


def parents(name: str) -> list[str]:
    """Names above, the top one first: ``a/b/c`` gives ``a``, ``a/b``."""
    levels = name.split("/")
    return ["/".join(levels[:count]) for count in range(1, len(levels))]
