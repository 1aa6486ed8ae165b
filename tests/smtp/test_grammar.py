"""Commands as octets: what is taken, what is refused, and that nothing else happens."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailstead.delivery.xtext import decode_orcpt, decode_xtext
from mailstead.smtp.grammar import (
    BadCommand,
    Extensions,
    parse_auth,
    parse_bdat,
    parse_helo,
    parse_mail,
    parse_path,
    parse_rcpt,
)

ALL = Extensions()


@pytest.mark.parametrize(
    ("text", "mailbox", "rest"),
    [
        (b"FROM:<a@b.test>", "a@b.test", b""),
        (b"from: <a@b.test> SIZE=3", "a@b.test", b" SIZE=3"),
        (b"FROM:<>", "", b""),
        (b"FROM:<@x.test,@y.test:a@b.test>", "a@b.test", b""),
        (b'FROM:<"a b\\"c>d"@b.test> BODY=7BIT', '"a b\\"c>d"@b.test', b" BODY=7BIT"),
        (b"FROM:<a@[127.0.0.1]>", "a@[127.0.0.1]", b""),
        (b"FROM:<a@[IPv6:::1]>", "a@[IPv6:::1]", b""),
        ("FROM:<müller@bücher.test> SMTPUTF8".encode(), "müller@bücher.test", b" SMTPUTF8"),
    ],
)
def test_paths(text: bytes, mailbox: str, rest: bytes) -> None:
    assert parse_path(text, b"FROM:", "5.1.7") == (mailbox, rest)


@pytest.mark.parametrize(
    "text",
    [
        b"", b"FROM", b"FROM:", b"TO:<a@b.test>", b"FROM:a@b.test", b"FROM:<a@b.test", b"FROM:<a@b.test>x", b"FROM:<a b@c.test>",
        b"FROM:<a@b..test>", b"FROM:<.a@b.test>", b"FROM:<a..b@c.test>", b"FROM:<a@>", b"FROM:<@b.test>", b"FROM:<@x.test:>",
        b"FROM:<a@b@c.test>", b"FROM:<a\x00@b.test>", b"FROM:<\xff@b.test>", b"FROM:<" + b"a" * 65 + b"@b.test>",
        b"FROM:<a@" + b"b." * 126 + b"test>", b"FROM:<a@[300.1.1.1.1]>", b'FROM:<"a@b.test>', b"FROM:<<a@b.test>>",
    ],
)  # fmt: skip
def test_bad_paths(text: bytes) -> None:
    with pytest.raises(BadCommand) as refused:
        parse_path(text, b"FROM:", "5.1.7")
    assert refused.value.reply.startswith(b"501 5.")


def test_mail_parameters() -> None:
    found = parse_mail(b" SIZE=12 body=8bitmime SMTPUTF8 RET=hdrs ENVID=a+2Bb AUTH=<>", ALL)
    assert (found.size, found.body, found.utf8, found.ret, found.envid, found.auth) == (12, "8BITMIME", True, "HDRS", "a+2Bb", "<>")


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (b" SIZE", 501), (b" SIZE=x", 501), (b" SIZE=" + b"9" * 21, 501), (b" BODY=9BIT", 501), (b" BODY", 501),
        (b" SMTPUTF8=1", 501), (b" RET=ALL", 501), (b" ENVID=", 501), (b" ENVID=a+zz", 501), (b" ENVID=" + b"a" * 101, 501),
        (b" AUTH=", 501), (b" SIZE=1 size=2", 501), (b" X=Y", 555), (b" =Y", 501), (b" NOTIFY=NEVER", 555),
    ],
)  # fmt: skip
def test_bad_mail_parameters(text: bytes, code: int) -> None:
    with pytest.raises(BadCommand) as refused:
        parse_mail(text, ALL)
    assert refused.value.args[0] == code


def test_extensions_that_are_off_are_not_taken() -> None:
    off = Extensions(eight_bit=False, binary=False, dsn=False, utf8=False)
    for text in (b" BODY=8BITMIME", b" SMTPUTF8", b" RET=FULL", b" ENVID=x"):
        with pytest.raises(BadCommand) as refused:
            parse_mail(text, off)
        assert refused.value.args[0] == 555
    with pytest.raises(BadCommand):
        parse_mail(b" BODY=BINARYMIME", Extensions(binary=False))
    with pytest.raises(BadCommand):
        parse_rcpt(b" NOTIFY=NEVER", off, False)


def test_rcpt_parameters() -> None:
    assert parse_rcpt(b" NOTIFY=success,DELAY ORCPT=rfc822;a+2Bb@c.test", ALL, False) == ("SUCCESS,DELAY", "rfc822;a+2Bb@c.test")
    assert parse_rcpt("  ORCPT=utf-8;mü@c.test".encode(), ALL, True) == ("", "utf-8;mü@c.test")
    assert decode_orcpt("rfc822;a+2Bb@c.test") == "rfc822;a+b@c.test"
    assert decode_orcpt("utf-8;m\\x{FC}@c.test") == "utf-8;mü@c.test"
    assert decode_xtext("+C3+BC+3D") == "ü="


@pytest.mark.parametrize(
    "text",
    [
        b" NOTIFY=", b" NOTIFY=NEVER,DELAY", b" NOTIFY=DELAY,DELAY", b" NOTIFY=MAYBE", b" ORCPT=a@b", b" ORCPT=rfc822;",
        b" ORCPT=;a", b" ORCPT=rfc822;a b", b" ORCPT=rfc822;a+1", b" ORCPT=rfc822;\xc3\xbc",
        b" ORCPT=rfc822;" + b"a" * 500, b" SIZE=1",
    ],
)  # fmt: skip
def test_bad_rcpt_parameters(text: bytes) -> None:
    with pytest.raises(BadCommand):
        parse_rcpt(text, ALL, False)


def test_bdat_auth_helo() -> None:
    assert parse_bdat(b"10") == (10, False)
    assert parse_bdat(b"0  last ") == (0, True)
    for bad in (b"", b"x", b"-1", b"1 FIRST", b"1 LAST x", b"9" * 20):
        with pytest.raises(BadCommand):
            parse_bdat(bad)
    assert parse_auth(b"plain AGEAYg==") == ("PLAIN", b"AGEAYg==")
    assert parse_auth(b"LOGIN") == ("LOGIN", None)
    for bad in (b"", b"PLAIN a b", b"PL*IN", b"x" * 21):
        with pytest.raises(BadCommand):
            parse_auth(bad)
    assert parse_helo(b" client.test ", "EHLO") == "client.test"
    for bad in (b"", b"a b", b"a\x07", b"a" * 256):
        with pytest.raises(BadCommand):
            parse_helo(bad, "EHLO")


_octets = st.binary(max_size=300) | st.text(alphabet='<>@:,." \\ab=;+SIZEBODYFROMTO\u00fc', max_size=80).map(str.encode)


@given(_octets)
def test_nothing_but_bad_command_is_raised(octets: bytes) -> None:
    for work in (
        lambda: parse_path(b"FROM:" + octets, b"FROM:", "5.1.7"),
        lambda: parse_path(octets, b"TO:", "5.1.3"),
        lambda: parse_mail(octets, ALL),
        lambda: parse_rcpt(octets, ALL, True),
        lambda: parse_bdat(octets),
        lambda: parse_auth(octets),
        lambda: parse_helo(octets, "EHLO"),
    ):
        try:
            work()
        except BadCommand as bad:
            line = bad.reply
            assert line.endswith(b"\r\n")
            assert line.count(b"\n") == line.count(b"\r") == 1
            assert line[:3].isdigit()


@given(_octets)
def test_a_path_that_is_taken_has_no_controls(octets: bytes) -> None:
    try:
        mailbox, _ = parse_path(b"FROM:<" + octets + b">", b"FROM:", "5.1.7")
    except BadCommand:
        return
    assert not any(ord(sign) < 32 or ord(sign) == 127 for sign in mailbox)
    assert len(mailbox.encode()) <= 254 or "@" not in mailbox
