"""Reports and system mail, read back by the standard library and by our own index."""

import email
import email.policy
from email.message import EmailMessage

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailstead.message.build import encode_header, format_address, make_message_id, text_message
from mailstead.message.decode import decode_body, decode_header, text_of
from mailstead.message.dsn import DsnRecipient, build_dsn
from mailstead.message.headers import count_received, field_value
from mailstead.message.index import index_message
from mailstead.message.sections import load_parts

ORIGINAL = b"Received: x\r\nFrom: a@example.com\r\nSubject: lunch\r\n\r\nsecret body\r\n"
BOB = DsnRecipient(
    "bob@example.org",
    "failed",
    "5.1.1",
    original="rfc822;bobby@example.org",
    diagnostic="550 5.1.1 no such user\r\nX-Evil: yes",
    remote_mta="mx.example.org",
    last_attempt=1_000_000_000,
)


def report(**changes: object) -> bytes:
    values: dict[str, object] = {
        "kind": "failed", "reporting_mta": "mail.example.com", "to": "a@example.com", "recipients": [BOB],
        "original": ORIGINAL, "arrival": 999_999_000, "date": 1_000_000_001,
    } | changes  # fmt: skip
    return build_dsn(**values)  # type: ignore[arg-type]


def read(octets: bytes) -> EmailMessage:
    message = email.message_from_bytes(octets, policy=email.policy.default)
    assert isinstance(message, EmailMessage)
    return message


def test_failure_report() -> None:
    octets = report(original_envid="QQ314159", return_full=True)
    message = read(octets)
    assert message.get_content_type() == "multipart/report"
    assert message.get_param("report-type") == "delivery-status"
    assert message["Auto-Submitted"] == "auto-replied"
    assert message["From"] == "Mail Delivery System <MAILER-DAEMON@mail.example.com>"
    human, status, returned = message.iter_parts()
    assert "bob@example.org" in human.get_content()
    per_message, per_recipient = status.get_payload()
    assert per_message["Reporting-MTA"] == "dns; mail.example.com"
    assert per_message["Original-Envelope-Id"] == "QQ314159"
    assert per_message["Arrival-Date"] == "Sun, 09 Sep 2001 01:30:00 +0000"
    assert per_recipient["Original-Recipient"] == "rfc822; bobby@example.org"
    assert per_recipient["Final-Recipient"] == "rfc822; bob@example.org"
    assert per_recipient["Action"] == "failed"
    assert per_recipient["Status"] == "5.1.1"
    assert per_recipient["Remote-MTA"] == "dns; mx.example.org"
    assert per_recipient["Diagnostic-Code"].startswith("smtp; 550 5.1.1 no such user")
    assert per_recipient["Last-Attempt-Date"] == "Sun, 09 Sep 2001 01:46:40 +0000"
    assert "X-Evil" not in per_recipient
    assert returned.get_content_type() == "message/rfc822"
    assert returned.get_payload(0)["Subject"] == "lunch"
    assert b"secret body" in octets


def test_only_the_header_is_returned_unless_asked_and_failed() -> None:
    delayed = DsnRecipient("bob@example.org", "delayed", "4.4.1", will_retry_until=1_000_400_000)
    for octets in (
        report(),
        report(return_full=True, max_full=10),
        report(kind="delayed", recipients=[delayed], return_full=True),
    ):
        assert b"secret body" not in octets
        assert list(read(octets).iter_parts())[2].get_content_type() == "text/rfc822-headers"
    assert b"Will-Retry-Until: Thu, 13 Sep 2001 16:53:20 +0000\r\n" in octets


@pytest.mark.parametrize("kind", ["delivered", "relayed", "expanded", "delayed", "failed"])
def test_every_kind_says_what_happened(kind: str) -> None:
    octets = report(kind=kind, recipients=[DsnRecipient("bob@example.org", kind, "2.0.0")])  # type: ignore[arg-type]
    assert f"Action: {kind}\r\n".encode() in octets
    assert octets.isascii()
    assert max(map(len, octets.split(b"\r\n"))) <= 998


def test_addresses_beyond_ascii_use_rfc_6533() -> None:
    octets = report(recipients=[DsnRecipient("bób@example.org", "failed", "5.1.1")], subject="Zurück")
    root = load_parts(index_message(octets).parts)
    status = root.children[1]
    assert (status.type, status.subtype) == ("message", "global-delivery-status")
    assert "Final-Recipient: utf-8; bób@example.org\r\n".encode() in decode_body(octets, status)
    assert decode_header(field_value(octets, b"subject") or b"") == "Zurück"


def test_a_hostile_original_cannot_leave_its_part() -> None:
    evil = b"Subject: x\nContent-Type: multipart/mixed; boundary=q\n\n--q\n\n\n--q--\n" + b"y" * 3000 + b"\0\r\nbare\rcr\n"
    octets = report(original=evil, return_full=True)
    assert len(load_parts(index_message(octets).parts).children) == 3
    assert b"\0" not in octets
    assert b"\n" not in octets.replace(b"\r\n", b"")
    assert b"\r" not in octets.replace(b"\r\n", b"")
    assert max(map(len, octets.split(b"\r\n"))) <= 998


def test_a_report_needs_a_recipient() -> None:
    with pytest.raises(ValueError, match="recipient"):
        report(recipients=[])


def test_system_mail() -> None:
    octets = text_message(
        format_address("Der Präsident, Inc.", "p@example.org"),
        ["a@example.org", "b@example.org"] * 10,
        "Grüße aus der Küche " * 6,
        "Hello\nwörld\n" + "long " * 400,
        1_000_000_000,
        host="mail.example.org",
        headers=[("X-Note", "one\r\nX-Evil: two")],
    )
    message = read(octets)
    assert message["Subject"] == ("Grüße aus der Küche " * 6).strip()
    assert message["From"].addresses[0].display_name == "Der Präsident, Inc."
    assert len(message["To"].addresses) == 20
    assert message["Auto-Submitted"] == "auto-generated"
    assert "X-Evil" not in message
    assert octets.isascii()
    assert max(map(len, octets.split(b"\r\n"))) <= 78
    assert text_of(octets, load_parts(index_message(octets).parts)).split() == ("Hello wörld " + "long " * 400).split()


@given(st.text(max_size=300))
def test_header_text_comes_back(text: str) -> None:
    encoded = encode_header(text)
    assert encoded.isascii()
    assert all(len(line) <= 76 or "=?" not in line for line in encoded.split("\r\n "))
    expected = encode_header(text) if text.isascii() and "=?" not in text else decode_header(encoded.encode())
    assert decode_header(encoded.encode()).split() == expected.split()
    assert "\n" not in encoded.replace("\r\n ", "")


@given(st.text(max_size=60), st.text(max_size=200), st.text(max_size=300))
def test_nothing_handed_in_adds_a_field(name: str, subject: str, body: str) -> None:
    octets = text_message(format_address(name, "a@b.example"), "c@d.example", subject, body, 0)
    names = [line.split(b":")[0] for line in octets.partition(b"\r\n\r\n")[0].split(b"\r\n") if line[:1] != b" "]
    assert names == [
        b"From", b"To", b"Subject", b"Date", b"Message-ID", b"Auto-Submitted", b"MIME-Version", b"Content-Type",
        b"Content-Transfer-Encoding",
    ]  # fmt: skip


def test_message_ids_are_unique_and_received_is_counted() -> None:
    ids = {make_message_id("example.org") for _ in range(1000)}
    assert len(ids) == 1000
    assert all(each.startswith("<") and each.endswith("@example.org>") for each in ids)
    assert count_received(b"Received: a\r\nX: y\r\nreceived: b\r\n\treceived: c\r\n\r\n") == 2
