"""Address lists as mail has them, and the strict form that mail is sent to."""

import pytest

from mailstead.message.addresses import Address, parse_addresses, parse_mailbox, split_address

A = Address


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"", []),
        (b"bob@example.org", [A(None, None, b"bob", b"example.org")]),
        (b"<bob@example.org>", [A(None, None, b"bob", b"example.org")]),
        (b"Bob B. Example <bob@example.org>", [A(b"Bob B. Example", None, b"bob", b"example.org")]),
        (b'"Bob, \\"B\\"" <bob@example.org>', [A(b'Bob, "B"', None, b"bob", b"example.org")]),
        (b"bob@example.org (Bob (the) B)", [A(b"Bob (the) B", None, b"bob", b"example.org")]),
        (b"(a) Bob (b) < bob (c) @ (d) example . org >", [A(b"Bob", None, b"bob", b"example.org")]),
        (b'(with " in it) bob@example.org, (x) "y" <c@d>', [
            A(b'with " in it', None, b"bob", b"example.org"), A(b"y", None, b"c", b"d")]),
        (b'"quoted local"@example.org', [A(None, None, b"quoted local", b"example.org")]),
        (b"<@a.example,@b.example:bob@c.example>", [A(None, b"@a.example,@b.example", b"bob", b"c.example")]),
        (b"bob@[192.0.2.1]", [A(None, None, b"bob", b"[192.0.2.1]")]),
        (b"a@x, , b@y,", [A(None, None, b"a", b"x"), A(None, None, b"b", b"y")]),
        (b"undisclosed-recipients:;", [A(None, None, b"undisclosed-recipients", None), A(None, None, None, None)]),
        (b"Friends: a@x, Bee <b@y>; c@z", [
            A(None, None, b"Friends", None), A(None, None, b"a", b"x"), A(b"Bee", None, b"b", b"y"),
            A(None, None, None, None), A(None, None, b"c", b"z")]),
        (b"Open: a@x", [A(None, None, b"Open", None), A(None, None, b"a", b"x"), A(None, None, None, None)]),
        (b"J\xc3\xb6rg <j@x.example>", [A(b"J\xc3\xb6rg", None, b"j", b"x.example")]),
        (b"=?utf-8?q?J=C3=B6rg?= <j@x.example>", [A(b"=?utf-8?q?J=C3=B6rg?=", None, b"j", b"x.example")]),
        (b"root", [A(None, None, b"root", b"")]),
        (b"root (Cron)", [A(b"Cron", None, b"root", b"")]),
        (b"John Doe j.d@x.example", [A(b"John Doe", None, b"j.d", b"x.example")]),
        (b"a@x <b@y>", [A(b"a@x", None, b"b", b"y")]),
        (b"Bob <bob@x, Eve <eve@y>", [A(b"Bob", None, b"bob", b"x"), A(b"Eve", None, b"eve", b"y")]),
        (b"Nobody <>", [A(b"Nobody", None, b"", b"")]),
    ],
)  # fmt: skip
def test_lists(value: bytes, expected: list[Address]) -> None:
    assert parse_addresses(value) == expected


def test_names_and_addresses_as_text() -> None:
    entry = parse_addresses(b"=?utf-8?q?J=C3=B6rg?= <j@x.example>")[0]
    assert (entry.display_name, entry.addr) == ("Jörg", "j@x.example")
    assert parse_addresses(b"g:;")[0].addr == ""


def test_the_limit_holds() -> None:
    assert len(parse_addresses(b"a@b.example," * 5000)) == 1000
    assert len(parse_addresses(b"a@b.example," * 50, limit=7)) == 7


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Bob@Example.ORG", ("Bob", "example.org")),
        ('"a b"@example.org', ("a b", "example.org")),
        (r'"a\"b"@example.org', ('a"b', "example.org")),
        ("bob@bücher.example", ("bob", "xn--bcher-kva.example")),
        ("bób@example.org", ("bób", "example.org")),
        ("bob@[192.0.2.1]", ("bob", "[192.0.2.1]")),
        ("bob@[IPv6:2001:db8::1]", ("bob", "[IPv6:2001:db8::1]")),
        ("a+b=c@example.org", ("a+b=c", "example.org")),
        ("bob", None),
        ("@example.org", None),
        ("bob@", None),
        ("bo b@example.org", None),
        (".bob@example.org", None),
        ("bob..x@example.org", None),
        ("a@b@example.org", None),
        ("bob@exa mple.org", None),
        ("bob@-example.org", None),
        ("bob@example..org", None),
        ("bob@example.org\n", None),
        ("bob\n@example.org", None),
        ('""@example.org', None),
        ("x" * 65 + "@example.org", None),
        ("bob@" + "x" * 64 + ".org", None),
        ("bob@" + "x." * 127 + "org", None),
    ],
)
def test_split_address(text: str, expected: tuple[str, str] | None) -> None:
    assert split_address(text) == expected


def test_parse_mailbox() -> None:
    assert parse_mailbox("Bob <bob@Example.org>") == ("Bob", "bob", "example.org")
    assert parse_mailbox("bob@example.org, eve@example.org") is None
    assert parse_mailbox("nobody") is None
