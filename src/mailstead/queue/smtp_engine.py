"""An SMTP client's side of a session, without I/O (RFC 5321; 1870, 1652, 2920, 3030, 3207, 3461, 4954, 6531, 9422).

Invariants
- Nothing that came from a message or an address can end a command line early: addresses and parameters are checked.
- No command is sent before the replies that its meaning depends on: STARTTLS is never pipelined, a body never follows
  unless the server has asked for it (or, with BDAT, has accepted a recipient).
- Everything learnt before TLS is forgotten after it (RFC 3207 4.2).
- After 421, or any error of the driver, the session is not used again.

How: each phase is a generator that yields a ``Command`` (octets to send and how many replies to wait for), ``Upgrade``
(do the TLS handshake) or ``Transfer`` (send the body), and is sent the replies; its return value is the result.
smtp_client.py drives it over a socket, a test over lists.

A message with 8-bit text goes as it is to a host without 8BITMIME: re-encoding would break signatures, and such hosts
pass it on in practice. BINARYMIME is not turned into something else: RFC 3030 3 wants a refusal (5.6.1) instead.
Lines over 998 octets go by BDAT where CHUNKING is on offer, else as they are.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Generator, Sequence
from dataclasses import dataclass, field
from typing import Literal

from mailstead.message.addresses import ascii_domain
from mailstead.queue import smtp_auth
from mailstead.queue.detail import QueueDetail
from mailstead.queue.smtp_reply import Reply

Stage = Literal["greeting", "EHLO", "STARTTLS", "AUTH", "RSET", "MAIL", "RCPT", "DATA", "end of data", "QUIT"]


@dataclass(frozen=True, slots=True)
class Command:
    """Send ``data``, then wait for ``replies`` replies."""

    data: bytes
    stage: Stage
    replies: int = 1


@dataclass(frozen=True, slots=True)
class Upgrade:
    """Do the TLS handshake now; no reply follows."""


@dataclass(frozen=True, slots=True)
class Transfer:
    """Send the body, dot-stuffed with its final dot or (``raw``) as it is, then wait for one reply."""

    prefix: bytes = b""
    raw: bool = False
    empty: bool = False


Step = Command | Upgrade | Transfer
Replies = list[Reply]


class Unusable(Exception):
    """The server cannot be used for this at all; ``reply`` are its words, if any."""

    def __init__(self, stage: Stage, text: str, status: str, reply: Reply | None = None) -> None:
        super().__init__(text)
        self.stage = stage
        self.status = status
        self.reply = reply


@dataclass(slots=True)
class Envelope:
    """What one transaction carries. ``details`` are per recipient; the message's own wishes are those of the first.

    ``long_lines`` says whether a line exceeds 998 octets; ``utf8_header`` whether the header has 8-bit octets.
    """

    sender: str
    recipients: list[str]
    details: list[QueueDetail]
    size: int
    long_lines: bool = False
    utf8_header: bool = False


@dataclass(frozen=True, slots=True)
class RecipientResult:
    """``reply`` is what decided (None: not tried in this transaction, try in another one); ``by_us`` a status of our own
    where no server was asked; ``dsn`` that the host takes over the wishes about reports (RFC 3461)."""

    reply: Reply | None
    stage: Stage = "RCPT"
    by_us: str = ""
    text: str = ""
    dsn: bool = False

    @property
    def delivered(self) -> bool:
        return self.reply is not None and self.stage == "end of data" and self.reply.ok


_XTEXT = re.compile(r"[!-*,-<>-~+]{1,500}").fullmatch
_ORCPT = re.compile(r"[A-Za-z0-9-]{1,40};[!-<>-~]{1,500}").fullmatch
_NOTIFY = re.compile(r"NEVER|(?:SUCCESS|FAILURE|DELAY)(?:,(?:SUCCESS|FAILURE|DELAY)){0,2}").fullmatch
_SAFE = re.compile(r'(?:[^\x00-\x20\x7f<>()"\\@]+|"(?:[^\x00-\x1f\x7f"\\]|\\[ -~])*")@[^\x00-\x20\x7f<>()"\\@]+').fullmatch
NOT_UTF8 = "the next host does not take addresses or headers beyond ASCII (SMTPUTF8)"


def safe_address(address: str) -> bool:
    """True where ``address`` can stand between < and >."""
    return len(address) <= 1000 and _SAFE(address) is not None


def _path(address: str, utf8: bool) -> bytes:
    """The address for a command; without SMTPUTF8 its domain as A-labels. Raises UnicodeEncodeError."""
    if not utf8 and not address.isascii():
        local, _, domain = address.rpartition("@")
        return f"{local}@{ascii_domain(domain) or domain}".encode("ascii")
    return address.encode("utf-8")


@dataclass(slots=True)
class ClientSession:
    """What is known of the server on one connection."""

    hostname: str
    tls: bool = False
    esmtp: bool = False
    extensions: dict[str, str] = field(default_factory=dict)
    closing: bool = False
    messages: int = 0

    # -- opening -----------------------------------------------------------------------------------------------

    def open(self) -> Generator[Step, Replies, None]:
        """Greeting and EHLO, HELO where that is refused. Raises Unusable."""
        (greeting,) = yield Command(b"", "greeting")
        if greeting.code != 220:
            self.closing = True
            raise Unusable("greeting", f"the greeting was {greeting.text}", greeting.enhanced or "4.4.0", greeting)
        yield from self.hello()

    def hello(self) -> Generator[Step, Replies, None]:
        """EHLO or HELO. Raises Unusable."""
        self.extensions, self.esmtp = {}, False
        name = self.hostname.encode("ascii", "replace")
        (reply,) = yield Command(b"EHLO %b\r\n" % name, "EHLO")
        if reply.code == 250:
            self.esmtp = True
            for line in reply.lines[1:]:
                word, _, rest = line.partition(" ")
                if word[:5].upper() == "AUTH=":  # how some write it since before RFC 2554
                    word, rest = "AUTH", f"{word[5:]} {rest}"
                self.extensions.setdefault(word.upper(), rest.strip())
            return
        if reply.code != 421 and reply.permanent:
            (reply,) = yield Command(b"HELO %b\r\n" % name, "EHLO")
            if reply.code == 250:
                return
        self.closing = True
        raise Unusable("EHLO", f"EHLO was answered {reply.text}", reply.enhanced or "4.4.0", reply)

    def start_tls(self) -> Generator[Step, Replies, bool]:
        """STARTTLS and EHLO again. False where the server declines (the session goes on in the clear)."""
        if "STARTTLS" not in self.extensions:
            return False
        (reply,) = yield Command(b"STARTTLS\r\n", "STARTTLS")
        if reply.code != 220:
            self.closing = reply.code == 421
            return False
        yield Upgrade()
        self.tls = True
        yield from self.hello()
        return True

    def authenticate(self, user: str, password: str, allowed: Collection[str]) -> Generator[Step, Replies, None]:
        """AUTH. Raises Unusable where it does not succeed."""
        offered = self.extensions.get("AUTH", "").upper().split()
        mechanism = smtp_auth.choose(offered, allowed, self.tls)
        if mechanism is None:
            raise Unusable("AUTH", "the host offers no way to log in that is allowed here", "4.7.0")
        initial, answers = smtp_auth.exchange(mechanism, user, password)
        line = b"AUTH " + mechanism.upper().encode()
        if initial is not None:
            line += b" " + smtp_auth.encode_response(initial)
        (reply,) = yield Command(line + b"\r\n", "AUTH")
        for answer in answers:
            if reply.code != 334:
                break
            response = answer(smtp_auth.decode_challenge(reply.lines[0]))
            (reply,) = yield Command(smtp_auth.encode_response(response) + b"\r\n", "AUTH")
        if reply.code != 235:
            self.closing = True
            raise Unusable("AUTH", f"logging in failed: {reply.text}", reply.enhanced or "4.7.8", reply)

    # -- one message -------------------------------------------------------------------------------------------

    def reset(self) -> Generator[Step, Replies, bool]:
        """RSET: is the connection still good?"""
        (reply,) = yield Command(b"RSET\r\n", "RSET")
        self.closing = self.closing or reply.code == 421
        return reply.ok

    def quit(self) -> Generator[Step, Replies, None]:
        self.closing = True
        yield Command(b"QUIT\r\n", "QUIT")

    def _limit(self, name: str) -> int:
        """A value of LIMITS (RFC 9422), 0 where there is none."""
        match = re.search(rf"(?:^| ){name}=([0-9]{{1,9}})(?: |$)", self.extensions.get("LIMITS", ""), re.I)
        return int(match[1]) if match else 0

    def transaction(self, envelope: Envelope) -> Generator[Step, Replies, list[RecipientResult]]:
        """MAIL, RCPT, DATA or BDAT; a result per recipient, in order. Leaves the session ready for the next one, or
        ``closing``."""
        results: list[RecipientResult | None] = [None] * len(envelope.recipients)
        first = envelope.details[0]
        refusal = self._refusal(envelope)
        if refusal is not None:
            return [refusal] * len(envelope.recipients)
        utf8 = "SMTPUTF8" in self.extensions and (
            envelope.utf8_header
            or first.smtputf8
            or not envelope.sender.isascii()
            or not all(address.isascii() for address in envelope.recipients)
        )
        tried = self._prepare(envelope, utf8, results)
        if tried:
            commands = [self._rcpt(envelope, index, utf8) for index in tried]
            yield from self._send(envelope, self._mail(envelope, utf8), commands, tried, results)
        dsn = "DSN" in self.extensions
        self.messages += 1
        # What the server gave no word on (more recipients than it takes at once) goes into another transaction.
        return [
            RecipientResult(None) if result is None else RecipientResult(result.reply, result.stage, result.by_us, result.text, dsn)
            for result in results
        ]

    def _refusal(self, envelope: Envelope) -> RecipientResult | None:
        """A reason of ours not to offer the message to this host."""
        size = self.extensions.get("SIZE", "")
        if size.isascii() and size.isdigit() and len(size) < 20 and 0 < int(size) < envelope.size:
            return RecipientResult(None, "MAIL", "5.3.4", f"the message has {envelope.size} octets, the host takes {size}")
        if envelope.details[0].body == "BINARYMIME" and not {"BINARYMIME", "CHUNKING"} <= self.extensions.keys():
            return RecipientResult(None, "MAIL", "5.6.1", "the next host does not take binary messages (BINARYMIME)")
        if "SMTPUTF8" not in self.extensions and (envelope.utf8_header or not envelope.sender.rpartition("@")[0].isascii()):
            return RecipientResult(None, "MAIL", "5.6.7", NOT_UTF8)
        return None

    def _prepare(self, envelope: Envelope, utf8: bool, results: list[RecipientResult | None]) -> list[int]:
        """Indexes of the recipients to offer now; those that cannot be offered get their result."""
        limit = self._limit("RCPTMAX") or len(envelope.recipients)
        tried: list[int] = []
        for index, address in enumerate(envelope.recipients):
            if not safe_address(address):
                results[index] = RecipientResult(None, "RCPT", "5.1.3", "the address cannot be written in SMTP")
            elif not utf8 and not address.rpartition("@")[0].isascii():
                results[index] = RecipientResult(None, "RCPT", "5.6.7", NOT_UTF8)
            elif len(tried) < limit:
                tried.append(index)
        return tried

    def _mail(self, envelope: Envelope, utf8: bool) -> bytes:
        first = envelope.details[0]
        line = b"MAIL FROM:<%b>" % (_path(envelope.sender, utf8) if envelope.sender else b"")
        if "SIZE" in self.extensions:
            line += b" SIZE=%d" % envelope.size
        if first.body == "BINARYMIME" or (first.body == "8BITMIME" and "8BITMIME" in self.extensions):
            line += b" BODY=" + first.body.encode()
        elif utf8 and "8BITMIME" in self.extensions:
            line += b" BODY=8BITMIME"
        if utf8:
            line += b" SMTPUTF8"
        if "DSN" in self.extensions:
            if first.ret in ("FULL", "HDRS"):
                line += b" RET=" + first.ret.encode()
            if _XTEXT(first.envid):
                line += b" ENVID=" + first.envid.encode()
        return line + b"\r\n"

    def _rcpt(self, envelope: Envelope, index: int, utf8: bool) -> bytes:
        detail = envelope.details[index]
        line = b"RCPT TO:<%b>" % _path(envelope.recipients[index], utf8)
        if "DSN" in self.extensions:
            if _NOTIFY(detail.notify):
                line += b" NOTIFY=" + detail.notify.encode()
            if _ORCPT(detail.orcpt):
                line += b" ORCPT=" + detail.orcpt.encode()
        return line + b"\r\n"

    def _send(
        self,
        envelope: Envelope,
        mail: bytes,
        commands: list[bytes],
        tried: list[int],
        results: list[RecipientResult | None],
    ) -> Generator[Step, Replies, None]:
        binary = envelope.details[0].body == "BINARYMIME"
        chunking = "CHUNKING" in self.extensions and (binary or envelope.long_lines)
        data: Reply | None = None
        if "PIPELINING" in self.extensions:
            group = mail + b"".join(commands) + (b"" if chunking else b"DATA\r\n")
            replies = yield Command(group, "RCPT", 1 + len(commands) + (not chunking))
            mail_reply, rcpt_replies = replies[0], replies[1 : 1 + len(commands)]
            data = None if chunking else replies[-1]
        else:
            (mail_reply,) = yield Command(mail, "MAIL")
            rcpt_replies = []
            for command in commands if mail_reply.ok else ():
                (reply,) = yield Command(command, "RCPT")
                rcpt_replies.append(reply)
                if reply.code == 421:
                    break
        self.closing = self.closing or any(reply.code == 421 for reply in (mail_reply, *rcpt_replies))
        accepted = self._judge(mail_reply, rcpt_replies, tried, results)
        if accepted and not self.closing:
            yield from self._body(envelope, chunking, data, accepted, results)
            return
        self._goodbye((mail_reply, *rcpt_replies), tried, results)
        if data is not None and data.code == 354:
            # Servers may ask for data although no recipient is left: an empty message ends that (RFC 2920 3.1).
            yield Transfer(empty=True)
        elif not self.closing:
            yield from self.reset()

    @staticmethod
    def _judge(mail: Reply, replies: Sequence[Reply], tried: list[int], results: list[RecipientResult | None]) -> list[int]:
        """Results of the refused; indexes of the accepted."""
        if not mail.ok:
            for index in tried:
                results[index] = RecipientResult(mail, "MAIL")
            return []
        accepted = [index for index, reply in zip(tried, replies, strict=False) if reply.ok]
        for index, reply in zip(tried, replies, strict=False):
            # "Too many recipients" (RFC 5321 4.5.3.1.10) is a word about the transaction, not about the recipient.
            too_many = accepted and reply.code in (452, 552) and reply.enhanced in ("", "4.5.3", "5.5.3")
            if not reply.ok and not too_many:
                results[index] = RecipientResult(reply, "RCPT")
        return accepted

    @staticmethod
    def _goodbye(replies: Sequence[Reply], tried: list[int], results: list[RecipientResult | None]) -> None:
        """421 among the replies speaks for all that have no other word."""
        for reply in replies:
            if reply.code == 421:
                for index in tried:
                    results[index] = results[index] or RecipientResult(reply, "RCPT")

    def _body(
        self,
        envelope: Envelope,
        chunking: bool,
        data: Reply | None,
        accepted: list[int],
        results: list[RecipientResult | None],
    ) -> Generator[Step, Replies, None]:
        if chunking:
            (reply,) = yield Transfer(b"BDAT %d LAST\r\n" % envelope.size, raw=True)
        else:
            if data is None:
                (data,) = yield Command(b"DATA\r\n", "DATA")
            if data.code != 354:
                self.closing = data.code == 421 or data.ok
                for index in accepted:
                    results[index] = RecipientResult(data, "DATA")
                if not self.closing:
                    yield from self.reset()
                return
            (reply,) = yield Transfer()
        self.closing = self.closing or reply.code == 421
        for index in accepted:
            results[index] = RecipientResult(reply, "end of data")
