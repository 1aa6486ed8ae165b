"""What a check found."""

from __future__ import annotations

from dataclasses import dataclass

OK, WARNING, PROBLEM = range(3)
WORDS = ("ok", "warning", "problem")


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report; `fix` says in words what to do about it."""

    severity: int
    subject: str
    text: str
    fix: str = ""
