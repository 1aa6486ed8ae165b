"""Answers kept for their time to live (RFC 2308 for negative ones), least recently used out first.

Invariants: never more than ``size`` answers of a record type; nothing is given out after its time.
"""

from __future__ import annotations

from collections import OrderedDict

from mailstead.dns.answer import Answer


class AnswerCache:
    """Keyed by (type, name). Times are seconds of one monotonic clock, given by the caller."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._types: dict[str, OrderedDict[str, tuple[float, Answer]]] = {}

    def get(self, rdtype: str, name: str, now: float) -> Answer | None:
        answers = self._types.get(rdtype)
        kept = answers.get(name) if answers else None
        if answers is None or kept is None:
            return None
        if kept[0] <= now:
            del answers[name]
            return None
        answers.move_to_end(name)
        return kept[1]

    def put(self, answer: Answer, now: float) -> None:
        if answer.ttl <= 0:
            return
        answers = self._types.setdefault(answer.rdtype, OrderedDict())
        answers[answer.name] = (now + answer.ttl, answer)
        answers.move_to_end(answer.name)
        while len(answers) > self.size:
            answers.popitem(last=False)

    def clear(self) -> None:
        self._types.clear()

    def __len__(self) -> int:
        return sum(map(len, self._types.values()))
