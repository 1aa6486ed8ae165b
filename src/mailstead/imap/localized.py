"""Translated names of the special folders (feature IMP-06, ``localizedImapFolderNames``).

Invariants: a translation stands for a stored name as long as the session lasts; a name that the account has given to a folder
of its own is never hidden by a translation; INBOX has none (RFC 9051 section 5.1).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mailstead.imap.services import ImapServices

_NAMES = ("Drafts", "Sent", "Trash", "Spam", "Archive")
_WORDS: Mapping[str, tuple[str, str, str, str, str]] = {
    "bg": ("Чернови", "Изпратени", "Кошче", "Спам", "Архив"),
    "cs": ("Koncepty", "Odeslané", "Koš", "Spam", "Archiv"),
    "da": ("Kladder", "Sendt", "Papirkurv", "Spam", "Arkiv"),
    "de": ("Entwürfe", "Gesendet", "Papierkorb", "Spam", "Archiv"),
    "es": ("Borradores", "Enviados", "Papelera", "Spam", "Archivo"),
    "fi": ("Luonnokset", "Lähetetyt", "Roskakori", "Roskaposti", "Arkisto"),
    "fr": ("Brouillons", "Envoyés", "Corbeille", "Indésirables", "Archives"),
    "hu": ("Piszkozatok", "Elküldött", "Kuka", "Levélszemét", "Archívum"),
    "it": ("Bozze", "Inviata", "Cestino", "Indesiderata", "Archivio"),
    "ja": ("下書き", "送信済み", "ごみ箱", "迷惑メール", "アーカイブ"),
    "nl": ("Concepten", "Verzonden", "Prullenbak", "Spam", "Archief"),
    "pl": ("Szkice", "Wysłane", "Kosz", "Spam", "Archiwum"),
    "pt": ("Rascunhos", "Enviados", "Lixo", "Spam", "Arquivo"),
    "ro": ("Schițe", "Trimise", "Coș de gunoi", "Spam", "Arhivă"),
    "ru": ("Черновики", "Отправленные", "Корзина", "Спам", "Архив"),
    "sv": ("Utkast", "Skickat", "Papperskorgen", "Skräppost", "Arkiv"),
    "tr": ("Taslaklar", "Gönderilmiş", "Çöp kutusu", "Spam", "Arşiv"),
    "uk": ("Чернетки", "Надіслані", "Кошик", "Спам", "Архів"),
    "zh": ("草稿", "已发送", "已删除", "垃圾邮件", "归档"),
}


class LocalizedNames:
    """Both directions for one session. ``taken``: top-level names that folders of the account have."""

    def __init__(self, language: str, taken: Iterable[str]) -> None:
        own = set(taken)
        words = _WORDS.get(language.replace("_", "-").partition("-")[0].lower(), _NAMES)
        pairs = [(name, word) for name, word in zip(_NAMES, words, strict=True) if word != name and word not in own]
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
