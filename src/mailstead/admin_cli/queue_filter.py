"""The grammar of LIST FILTER in the queue and the quarantine (admin-cli 6.2).

Invariants: every text gives a filter or a CommandError that names the term; all terms must hold.

Terms: `size><=n[K|M]`, `age><=n[h|d]` (seconds), `retries><=n`, `status=text` (one of STATES, or a part of it),
`sender=|!=text`, `recipient=|!=text`,
`next_schedule><="2 Jan 2007 17:34"`, `message=|!=text` (words of the last failure contain it).
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from mailstead.admin_cli.grammar import CommandError

MAX_TERMS = 50
QUEUED, SCHEDULED, DUE = STATES = ("queued", "scheduled", "due")
"""What a recipient waits for: the first attempt, the time of the next one, a free connection after that time."""
_TERM = re.compile(r"(?P<name>[a-z_]+)\s*(?P<sign>!=|[<>=])\s*(?P<value>.*)", re.IGNORECASE | re.DOTALL)
_NUMBER = re.compile(r"(?P<number>\d{1,15})(?P<unit>[a-z]?)", re.IGNORECASE)
_UNITS = {"size": {"": 1, "k": 1024, "m": 1 << 20}, "age": {"": 1, "h": 3600, "d": 86_400}, "retries": {"": 1}}
_TEXTS = ("status", "sender", "recipient", "message")
_DATES = ("%d %b %Y %H:%M", "%d %b %Y %H:%M:%S", "%d %b %Y")


@dataclass(frozen=True, slots=True)
class Waiting:
    """A recipient that waits, as terms see it. Sizes in octets, times in unix seconds."""

    sender: str
    recipient: str
    size: int
    received: int
    due: int
    retries: int
    state: str
    words: str


Test = Callable[[Waiting, float], bool]


def parse_filter(terms: Sequence[str]) -> Test:
    """Whether all terms hold for a recipient at a time. Raises CommandError."""
    if len(terms) > MAX_TERMS:
        raise CommandError(f"a filter has at most {MAX_TERMS} terms")
    tests = [_term(term) for term in terms]
    return lambda waiting, now: all(test(waiting, now) for test in tests)


def _term(text: str) -> Test:
    found = _TERM.fullmatch(text.strip())
    if found is None:
        raise CommandError(f"{text[:80]!r} is no term of a filter; a term is a name, one of < > = !=, and a value")
    name, sign, value = found["name"].lower(), found["sign"], found["value"]
    if name in _UNITS:
        return _number(name, sign, value)
    if name in _TEXTS:
        return _text(name, sign, value)
    if name == "next_schedule":
        return _date(sign, value)
    raise CommandError(f"{found['name'][:80]!r} is no name of a filter; there are size, age, retries, status, sender, recipient, "
                       "next_schedule and message")  # fmt: skip


def _compare(sign: str, left: float, right: float) -> bool:
    return left > right if sign == ">" else left < right if sign == "<" else left == right


def _number(name: str, sign: str, value: str) -> Test:
    found = _NUMBER.fullmatch(value)
    unit = _UNITS[name].get(found["unit"].lower()) if found is not None else None
    if found is None or unit is None or sign == "!=":
        units = ", ".join(key.upper() if name == "size" else key for key in _UNITS[name] if key)
        raise CommandError(f"{name}: expected <, > or = and a number" + (f" with {units} or none" if units else ""))
    wanted = int(found["number"]) * unit
    if name == "size":
        return lambda waiting, now: _compare(sign, waiting.size, wanted)
    if name == "age":
        return lambda waiting, now: _compare(sign, int(now - waiting.received), wanted)
    return lambda waiting, now: _compare(sign, waiting.retries, wanted)


def _text(name: str, sign: str, value: str) -> Test:
    if sign not in ("=", "!=") or (name == "status" and sign != "="):
        raise CommandError(f"{name}: expected = " + ("" if name == "status" else "or != ") + "and a text")
    wanted = value.lower()
    if name == "status" and not any(wanted in state for state in STATES):
        raise CommandError(f"status: no message is ever {value[:80]!r}; there are {', '.join(STATES[:-1])} and {STATES[-1]}")

    def test(waiting: Waiting, now: float) -> bool:
        match name:
            case "status":
                return wanted in waiting.state.lower()
            case "message":
                return (wanted in waiting.words.lower()) == (sign == "=")
            case "sender":
                return (wanted in waiting.sender.lower()) == (sign == "=")
            case _:
                return (wanted in waiting.recipient.lower()) == (sign == "=")

    return test


def _date(sign: str, value: str) -> Test:
    for form in _DATES:
        try:
            wanted = time.mktime(time.strptime(value.strip(), form))
        except (ValueError, OverflowError):
            continue
        if sign == "!=":
            break
        return lambda waiting, now: _compare(sign, waiting.due, wanted)
    raise CommandError('next_schedule: expected <, > or = and a date as "2 Jan 2007 17:34"')
