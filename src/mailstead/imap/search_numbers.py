"""What numbers in a search program mean: in the selected mailbox, in one that is not selected, among some messages.

Invariants: resolving makes no list of what a client wrote; only messages that the client knows are found.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import TYPE_CHECKING

from mailstead.imap import sequence_set
from mailstead.imap.grammar import BadSyntax

if TYPE_CHECKING:
    from mailstead.imap.selected import Selected
    from mailstead.store.keywords import Keywords

#: RFC 7377 section 2.1, RFC 9586 section 3.
NO_NUMBERS = "Message numbers make no sense here"
UID_REQUIRED = "[UIDREQUIRED] Message numbers are not used after ENABLE UIDONLY"


class InSelected:
    """The messages that a session knows in its mailbox. `refusal`: why message numbers may not be used, "" if they may."""

    def __init__(self, selected: Selected, refusal: str = "") -> None:
        self._selected = selected
        self._refusal = refusal

    def keywords(self) -> Keywords:
        """The keywords of the mailbox, by bit."""
        return self._selected.view.keywords

    def by_uid(self, pairs: Sequence[tuple[int, int]]) -> sequence_set.Ranges:
        """Positions of UIDs."""
        return sequence_set.by_uid(pairs, self._selected.uids, self._selected.count)

    def by_number(self, octets: bytes) -> sequence_set.Ranges:
        """Positions of message numbers or "$". Raises BadSyntax."""
        if self._refusal and octets != b"$":
            raise BadSyntax(self._refusal)
        return self._selected.resolve(octets, by_uid=False)

    def uids_of(self, ranges: sequence_set.Ranges) -> Sequence[int]:
        """The UIDs at positions."""
        return sequence_set.uids_of(ranges, self._selected.uids)

    def positions_of(self, uids: Sequence[int]) -> sequence_set.Ranges:
        """Where UIDs are."""
        return self._selected.positions_of(uids)

    def newest(self) -> int:
        """The highest UID, 0 for none."""
        return self._selected.uids[self._selected.count - 1] if self._selected.count else 0


class AmongUids:
    """Some messages, or all of a mailbox that is not selected (RFC 7377: there are no message numbers then).

    `newest` is the highest UID of the mailbox, which "*" means."""

    def __init__(self, keywords: Keywords, uids: Sequence[int], newest: int) -> None:
        self._keywords = keywords
        self._uids = uids
        self._newest = newest

    def keywords(self) -> Keywords:
        """The keywords of the mailbox, by bit."""
        return self._keywords

    def by_uid(self, pairs: Sequence[tuple[int, int]]) -> sequence_set.Ranges:
        """Positions of UIDs."""
        if not self._newest:
            return []
        named = [(first or self._newest, last or self._newest) for first, last in pairs]
        return sequence_set.by_uid(named, self._uids, len(self._uids))

    def by_number(self, octets: bytes) -> sequence_set.Ranges:
        """There are none. Raises BadSyntax."""
        raise BadSyntax(NO_NUMBERS)

    def uids_of(self, ranges: sequence_set.Ranges) -> Sequence[int]:
        """The UIDs at positions."""
        return sequence_set.uids_of(ranges, self._uids)

    def positions_of(self, uids: Sequence[int]) -> sequence_set.Ranges:
        """Where UIDs are; both rise."""
        found = []
        for at, uid in enumerate(self._uids):
            place = bisect_left(uids, uid)
            if place < len(uids) and uids[place] == uid:
                found.append(at)
        return sequence_set.from_positions(found)

    def newest(self) -> int:
        """The highest UID of the mailbox, 0 for none."""
        return self._newest
