"""Translated names of the special folders (feature IMP-06, ``localizedImapFolderNames``).

Invariants: a translation stands for a stored name as long as the session lasts; a name that the account has given to a folder
of its own is never hidden by a translation; INBOX has none (RFC 9051 section 5.1).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from mailstead.mailbox.special_names import NAMES, TRANSLATIONS

if TYPE_CHECKING:
    from mailstead.imap.services import ImapServices


class LocalizedNames:
    """Both directions for one session. ``taken``: top-level names that folders of the account have."""

    def __init__(self, language: str, taken: Iterable[str]) -> None:
        own = set(taken)
        words = TRANSLATIONS.get(language.replace("_", "-").partition("-")[0].lower(), NAMES)
        pairs = [(name, word) for name, word in zip(NAMES, words, strict=True) if word != name and word not in own]
        self._shown = dict(pairs)
        self._stored = {word: name for name, word in pairs}

    def __bool__(self) -> bool:
        return bool(self._shown)

    def shown(self, name: str) -> str:
        """A stored name as the client sees it."""
        top, slash, below = name.partition("/")
        return self._shown.get(top, top) + slash + below

    def stored(self, name: str) -> str:
        """The stored name that the client means."""
        top, slash, below = name.partition("/")
        return self._stored.get(top, top) + slash + below


def names_of(services: ImapServices, account: Any) -> LocalizedNames | None:
    """The translations of an account of the directory, None for none."""
    if not getattr(account, "localized_folders", False):
        return None
    return LocalizedNames(services.directory.language_of(account.id), services.mailbox.top_names(account.id)) or None
