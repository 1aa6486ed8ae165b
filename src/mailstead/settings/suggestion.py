"""The name that was probably meant, for refusals of one that is not known."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def meant(name: str, known: Iterable[str]) -> str:
    """`; is NAME meant?` with the nearest of the known names, in any case; "" where none is near."""
    spelled = {one.lower(): one for one in known}
    found = difflib.get_close_matches(name.lower(), list(spelled), 1)
    return f"; is {spelled[found[0]]} meant?" if found else ""
