"""The state machine without sockets: how the octets are cut never changes what it says."""

from __future__ import annotations

from itertools import pairwise
from types import SimpleNamespace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from mailstead.delivery.model import AcceptedMessage, Outcome, Result, Verdict
from mailstead.directory.model import RecipientKind, Resolution
from mailstead.settings.declaration import Snapshot
from mailstead.settings.declarations import SERVICE_CONTEXTS
from mailstead.smtp.commands import table
from mailstead.smtp.options import Options
from mailstead.smtp.session import Session


class FakeLink:
    """Keeps octets while held, as the transport does."""

    def __init__(self) -> None:
        self.peer, self.local, self.tls = ("192.0.2.1", 1), ("192.0.2.2", 25), None
        self.session_id, self.closing, self.write_blocked, self.idle_timeout = "s", False, False, 0.0
        self.endpoint = SimpleNamespace(
            max_errors=0, max_auth_errors=0, idle_timeout=300.0, submission=False, ssl_context=None, service="smtpIncoming"
        )
        self.log = SimpleNamespace(speaks_protocol=False, info=lambda *a, **k: None, warning=lambda *a, **k: None)
        self.sent = b""
        self.holds = 0

    def send(self, data: bytes) -> None:
        if not self.closing:
            self.sent += data

    def close(self) -> None:
        self.closing = True

    def hold(self) -> None:
        self.holds += 1

    def resume(self) -> None:
        assert self.holds > 0
        self.holds -= 1


class FakeServer:
    """Takes every recipient, and messages when told."""

    def __init__(self) -> None:
        values = {name: Snapshot(context.defaults() | {"hostname": "h.test"} if name == "smtpIncoming" else context.defaults())
                  for name, context in SERVICE_CONTEXTS.items()}  # fmt: skip
        self._options = Options(SimpleNamespace(peek=lambda name: values[name]))
        self.commands = table()
        self.messages: list[tuple[str, list[str], bytes]] = []
        self.pending: list[Any] = []
        self.services = SimpleNamespace(
            delivery=SimpleNamespace(
                full=False, has_room=lambda size: True, spool=lambda: None, resolve=self.resolve, deliver=self.deliver
            )
        )

    def options(self) -> Options:
        return self._options

    def resolve(self, address: str, **_: Any) -> tuple[Verdict, Resolution | None]:
        if address.startswith("no"):
            return Verdict.UNKNOWN, None
        return Verdict.ACCEPTED, Resolution(RecipientKind.REMOTE, address, address)

    def deliver(self, message: AcceptedMessage, done: Any) -> None:
        self.messages.append((message.sender, [recipient.address for recipient in message.recipients], message.body))
        self.pending.append(done)


def talk(octets: bytes, cuts: list[int]) -> tuple[bytes, list[tuple[str, list[str], bytes]], bool]:
    """``(replies, messages, closed)``."""
    link, server = FakeLink(), FakeServer()
    session = Session(link, server)  # type: ignore[arg-type]
    session.greet()
    edges = sorted({min(cut, len(octets)) for cut in cuts} | {0, len(octets)})
    for low, high in pairwise(edges):
        session.received(octets[low:high])
        while server.pending:
            assert link.holds == 1
            server.pending.pop(0)(Outcome(Result.STORED))
        assert link.holds == 0
        if link.closing:
            break
    session.ended()
    return link.sent, server.messages, link.closing


_LINES = [
    b"EHLO x", b"HELO x", b"MAIL FROM:<a@b.test>", b"MAIL FROM:<a@b.test> BODY=BINARYMIME", b"RCPT TO:<c@d.test>",
    b"RCPT TO:<no@d.test>", b"RCPT TO:<bad", b"DATA", b"Subject: x", b"", b".", b"..", b"BDAT 4", b"BDAT 0 LAST", b"BDAT 9 LAST",
    b"RSET", b"NOOP", b"HELP", b"VRFY x", b"x" * 2100, b"NONSENSE", b"a\0b", b"bare\nline", b"QUIT",
]  # fmt: skip
_talks = st.lists(st.sampled_from(_LINES), max_size=25).map(lambda lines: b"".join(line + b"\r\n" for line in lines))
_polite = _talks.map(lambda text: b"EHLO x\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<c@d.test>\r\nDATA\r\n" + text)


@given(_talks | _polite, st.lists(st.integers(0, 400), max_size=20))
def test_cutting_changes_nothing(octets: bytes, cuts: list[int]) -> None:
    assert talk(octets, cuts) == talk(octets, [])


@given(_talks | _polite)
def test_each_command_has_one_reply(octets: bytes) -> None:
    replies, messages, _ = talk(octets, list(range(0, len(octets), 3)))
    lines = replies.split(b"\r\n")
    assert lines[-1] == b""
    assert all(line[:3].isdigit() and line[3:4] in b" -" for line in lines[:-1])
    finals = [line for line in lines[:-1] if line[3:4] == b" "]
    assert sum(b"queued as" in line for line in finals) == len(messages)
    for sender, recipients, _body in messages:
        assert sender == "a@b.test"
        assert set(recipients) == {"c@d.test"}
