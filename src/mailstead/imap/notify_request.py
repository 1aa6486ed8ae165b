"""The NOTIFY command's grammar (RFC 5465 section 8, subtree-one of RFC 7377), and which mailbox falls under which events.

Invariants: the first event group that names a mailbox decides about it; only SELECTED and SELECTED-DELAYED name the
selected one; MessageNew and MessageExpunge come together, and FlagChange only with them (section 5).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from mailstead.imap import fetch_items
from mailstead.imap.fetch_items import FetchList
from mailstead.imap.grammar import Arguments, BadSyntax
from mailstead.imap.responses import Refusal
from mailstead.mailbox.model import SEPARATOR
from mailstead.mailbox.names import canonical

MAX_GROUPS = 50
MAX_MAILBOXES = 500
SUPPORTED = (
    "MessageNew", "MessageExpunge", "FlagChange", "MailboxName", "SubscriptionChange", "MailboxMetadataChange",
    "ServerMetadataChange",
)  # fmt: skip
_EVENTS = {name.upper().encode("ascii"): name for name in SUPPORTED}
_MESSAGE_EVENTS = frozenset(("MessageNew", "MessageExpunge", "FlagChange"))
_SELECTED = (b"SELECTED", b"SELECTED-DELAYED")
_SETS = (b"INBOXES", b"PERSONAL", b"SUBSCRIBED")
_NAMED = (b"SUBTREE", b"SUBTREE-ONE", b"MAILBOXES")


@dataclass(frozen=True, slots=True)
class EventGroup:
    """`kind` is the filter in upper case; `mailboxes` belong to it; `items` are fetched of new messages."""

    kind: bytes
    mailboxes: tuple[str, ...]
    events: frozenset[str]
    items: FetchList | None = None

    @property
    def counts(self) -> bool:
        """Whether events of messages are wanted."""
        return bool(self.events & _MESSAGE_EVENTS)

    def names(self, name: str, own: bool, subscribed: bool) -> bool:
        """Whether it names a mailbox that is not the selected one."""
        if self.kind in (b"INBOXES", b"PERSONAL"):  # mail is delivered to any of one's own (section 6.3)
            return own
        if self.kind == b"SUBSCRIBED":
            return subscribed
        if self.kind == b"MAILBOXES":
            return name in self.mailboxes
        for top in self.mailboxes:
            if name == top:
                return True
            below = name.removeprefix(top + SEPARATOR)
            if below != name and (self.kind == b"SUBTREE" or SEPARATOR not in below):
                return True
        return False


@dataclass(frozen=True, slots=True)
class NotifyRequest:
    """NOTIFY SET. `selected` is the group of the selected mailbox."""

    status: bool
    groups: tuple[EventGroup, ...]
    selected: EventGroup | None = field(default=None)

    def of(self, name: str, own: bool, subscribed: bool) -> EventGroup | None:
        """The group that decides about a mailbox that is not selected."""
        return next((group for group in self.groups if group.names(name, own, subscribed)), None)

    def wants(self, event: str) -> bool:
        """Whether any group asks for it."""
        return any(event in group.events for group in self.groups)


def bad_event() -> Refusal:
    """NO [BADEVENT] with what is supported (section 5)."""
    return Refusal("Unsupported event", f"BADEVENT ({' '.join(SUPPORTED)})")


def _mailboxes(arguments: Arguments, name: Callable[[bytes], str]) -> tuple[str, ...]:
    if not arguments.skip(b"("):
        return (canonical(name(arguments.astring())),)
    found: list[str] = []
    while True:
        found.append(canonical(name(arguments.astring())))
        if arguments.skip(b")"):
            return tuple(found)
        arguments.space()
        if len(found) >= MAX_MAILBOXES:
            raise BadSyntax("Too many mailboxes")


def _events(arguments: Arguments, selected: bool) -> tuple[frozenset[str], FetchList | None]:
    if not arguments.skip(b"("):
        if arguments.keyword() != b"NONE":
            raise BadSyntax("Expected events")
        return frozenset(), None
    found: set[str] = set()
    items: FetchList | None = None
    unknown = False
    while True:
        word = arguments.keyword()
        event = _EVENTS.get(word)
        unknown |= event is None
        found.add(event or "")
        if event == "MessageNew" and arguments.skip(b" ("):
            arguments.pos -= 1
            items = fetch_items.parse(arguments)
            if not selected:
                raise BadSyntax("Only for the selected mailbox may data of new messages be asked for")
        if arguments.skip(b")"):
            break
        arguments.space()
    if unknown:
        raise bad_event()
    if selected and found - _MESSAGE_EVENTS:
        raise BadSyntax("Of the selected mailbox there are events of messages only")
    if ("MessageNew" in found) != ("MessageExpunge" in found):
        raise BadSyntax("MessageNew and MessageExpunge need each other")
    if "FlagChange" in found and "MessageNew" not in found:
        raise BadSyntax("FlagChange needs MessageNew and MessageExpunge")
    if items is not None:
        # Telling of a message must not mark it as seen.
        bodies = tuple(replace(body, peek=True) for body in items.bodies)
        items = FetchList(items.attributes, bodies).with_attributes(fetch_items.UID)
    return frozenset(found), items


def _group(arguments: Arguments, name: Callable[[bytes], str]) -> EventGroup:
    arguments.expect(b"(")
    kind = arguments.keyword()
    mailboxes: tuple[str, ...] = ()
    if kind in _NAMED:
        arguments.space()
        mailboxes = _mailboxes(arguments, name)
    elif kind not in _SETS and kind not in _SELECTED:
        raise BadSyntax("Unknown mailbox filter")
    arguments.space()
    events, items = _events(arguments, kind in _SELECTED)
    arguments.expect(b")")
    return EventGroup(kind, mailboxes, events, items)


def parse(arguments: Arguments, name: Callable[[bytes], str]) -> NotifyRequest | None:
    """What stands behind NOTIFY; None for NONE. `name` reads a mailbox name. Raises BadSyntax, Refusal."""
    arguments.space()
    word = arguments.keyword()
    if word == b"NONE":
        arguments.end()
        return None
    if word != b"SET":
        raise BadSyntax("Expected SET or NONE")
    arguments.space()
    status = arguments.peek() != b"("
    if status:
        if arguments.keyword() != b"STATUS":
            raise BadSyntax("Expected STATUS or an event group")
        arguments.space()
    groups: list[EventGroup] = []
    selected: EventGroup | None = None
    while True:
        group = _group(arguments, name)
        if group.kind in _SELECTED:
            if selected is not None:
                raise BadSyntax("The selected mailbox is named twice")
            selected = group
        else:
            groups.append(group)
        if arguments.at_end():
            return NotifyRequest(status, tuple(groups), selected)
        arguments.space()
        if len(groups) >= MAX_GROUPS:
            raise BadSyntax("Too many event groups")
