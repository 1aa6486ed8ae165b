"""Names of the special folders in the languages of users: shown in place of ours, and known again in other servers' mail.

Invariants: each language has a word for each of `NAMES`, in their order.
"""

from __future__ import annotations

from collections.abc import Mapping

NAMES = ("Drafts", "Sent", "Trash", "Spam", "Archive")
TRANSLATIONS: Mapping[str, tuple[str, str, str, str, str]] = {
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
