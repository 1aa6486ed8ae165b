"""Answers of the face: status, header fields and page.

Invariants: what stands in a page is escaped; no page loads anything from elsewhere, runs a script, is kept in a cache, or
tells another site where the reader came from (the address is the right to leave).
"""

from __future__ import annotations

import html
from dataclasses import dataclass

_PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>body{{font:16px sans-serif;max-width:36em;margin:4em auto;padding:0 1em}}button{{font:inherit;padding:.5em 1em}}</style>
</head><body><h1>{title}</h1><p>{text}</p>{form}</body></html>
"""
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'"
_FORM = '<form method="post"><input type="hidden" name="List-Unsubscribe" value="One-Click"><button>Unsubscribe</button></form>'


@dataclass(frozen=True, slots=True)
class Answer:
    """``fields``: header fields besides those that every answer has."""

    status: int
    body: bytes
    fields: tuple[tuple[str, str], ...] = ()

    def header(self, *, close: bool) -> list[tuple[str, str]]:
        """All header fields."""
        return [
            ("Content-Type", "text/html; charset=utf-8"),
            ("Content-Length", str(len(self.body))),
            ("Cache-Control", "no-store"),
            ("Referrer-Policy", "no-referrer"),
            ("X-Content-Type-Options", "nosniff"),
            ("Content-Security-Policy", _POLICY),
            *self.fields,
            ("Connection", "close" if close else "keep-alive"),
        ]


def page(status: int, title: str, text: str, *, form: bool = False, fields: tuple[tuple[str, str], ...] = ()) -> Answer:
    """A page with a sentence, and a button where ``form``."""
    octets = _PAGE.format(title=html.escape(title), text=html.escape(text), form=_FORM if form else "").encode("utf-8", "replace")
    return Answer(status, octets, fields)


def question(name: str, address: str) -> Answer:
    """Asks whoever followed the link: a GET changes nothing (RFC 8058 section 3.2: scanners follow links)."""
    return page(200, f"Leave {name}?", f"{address} will get no more mail of the list {name}.", form=True)


def done(address: str) -> Answer:
    """It is done."""
    return page(200, "Unsubscribed", f"{address} gets no more mail of this list.")


def unknown() -> Answer:
    """The link is not good, or whoever it is about has left: nobody learns which."""
    return page(404, "Nothing to do", "This link is not valid, or its address is no longer a member.")
