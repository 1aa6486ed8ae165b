"""Every stored form of a password that accounts are imported with."""

from __future__ import annotations

import base64
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailstead.identity import passwords
from mailstead.identity.passwords import hash_password, is_supported, needs_upgrade, split_scheme, verify


def b64(octets: bytes) -> str:
    return base64.b64encode(octets).decode()


def salted(algorithm: str, password: str, salt: bytes) -> str:
    return b64(hashlib.new(algorithm, password.encode() + salt).digest() + salt)


WORD = "pässwörd-1"
PBKDF2 = hashlib.pbkdf2_hmac("sha256", WORD.encode(), b"salty", 1200)
FORMS = [
    hash_password(WORD),
    "{ARGON2ID}" + hash_password(WORD),
    "{PLAIN}" + WORD,
    "{cleartext}" + WORD,
    "{SHA}" + b64(hashlib.sha1(WORD.encode()).digest()),
    "{SSHA}" + salted("sha1", WORD, b"1234"),
    "{SHA256}" + b64(hashlib.sha256(WORD.encode()).digest()),
    "{SHA256}" + hashlib.sha256(WORD.encode()).hexdigest(),
    "{SSHA256}" + salted("sha256", WORD, b"12345678"),
    "{SHA512}" + b64(hashlib.sha512(WORD.encode()).digest()),
    "{SSHA512}" + salted("sha512", WORD, b"salt"),
    f"{{PBKDF2-SHA256}}1200${b64(b'salty').rstrip('=').replace('+', '.')}${b64(PBKDF2).rstrip('=').replace('+', '.')}",
    f"$pbkdf2-sha256$1200${b64(b'salty').rstrip('=')}${b64(PBKDF2).rstrip('=').replace('+', '.')}",
    f"pbkdf2_sha256$1200$salty${b64(PBKDF2)}",
]

# Made with the C library's crypt(3).
CRYPT = [
    ("Hello world!", "$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5"),
    (
        "Hello world!",
        "$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1",
    ),
    ("Hello world!", "$5$rounds=10000$saltstringsaltst$3xv.VbSHBb41AL9AvLeujZkZRBAwqFMz2.opqey6IcA"),
    (
        "a short string",
        "$6$rounds=1400$anotherlongsalts$SAu0xGXppllhPD9yNR32OgiJVhVXUbqF.y4UgOGG7d/nFYCFpaB43f5cW0d.q2OdGqPxRgXYYRc0Cg4uiz4PD/",
    ),
    (
        "pässwörd",
        "$6$rounds=1000$x$.zeaToU/B50nxlzklljjBgMM014UOhX9eVsa19o.uZZ2KYqSNXsiLOV5KqHQleguPC67RAAGwYlvc/VtE6DRf/",
    ),
    (
        "we have a short salt string but not a short password",
        "$5$rounds=7777$short$ltSeJPozE.NJ.IS0ZKHDC7XvzB4EWtNqm6SxGtpv.61",
    ),
]


@pytest.mark.parametrize("stored", FORMS, ids=lambda form: split_scheme(form)[0])
def test_right_password_matches_and_wrong_ones_do_not(stored: str) -> None:
    assert is_supported(stored)
    assert verify(WORD, stored)
    for wrong in ("", WORD + " ", WORD.upper(), stored, "x" * 5000):
        assert not verify(wrong, stored)


@pytest.mark.parametrize(("password", "stored"), CRYPT)
@pytest.mark.parametrize("prefix", ["", "{CRYPT}", "{SHA512-CRYPT}"])
def test_sha_crypt_vectors(password: str, stored: str, prefix: str) -> None:
    if prefix == "{SHA512-CRYPT}" and stored.startswith("$5$"):
        prefix = "{SHA256-CRYPT}"
    assert verify(password, prefix + stored)
    assert not verify(password + "x", prefix + stored)


def test_only_current_argon2id_needs_no_upgrade() -> None:
    assert not needs_upgrade(FORMS[0])
    assert all(needs_upgrade(form) for form in FORMS[2:])
    weak = passwords.argon2.PasswordHasher(1, 8192, 1).hash(WORD)
    assert verify(WORD, weak)
    assert needs_upgrade(weak)


@pytest.mark.parametrize(
    "stored",
    [
        "",
        "plain",
        "{UNKNOWN}abc",
        "{SSHA}",
        "$1$abc$def",
        "$argon2id$v=19$m=999999999,t=2,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA",
        "{PLAIN}" + "x" * 2000,
    ],
)
def test_forms_that_could_never_be_verified_are_told(stored: str) -> None:
    assert not is_supported(stored)
    assert not verify("abc", stored)


def test_costs_of_imported_forms_are_bounded() -> None:
    assert not verify(WORD, f"pbkdf2_sha256$99999999$salty${b64(PBKDF2)}")
    assert not verify(WORD, "$6$rounds=999999999$salt$" + "a" * 86)


@given(st.text(max_size=200), st.sampled_from(["", *(f"{{{name}}}" for name in passwords._VERIFIERS)]))
def test_no_text_is_a_match_or_an_error(text: str, scheme: str) -> None:
    if scheme not in ("{PLAIN}", "{CLEARTEXT}", "{CLEAR}") or text != "the password":
        assert verify("the password", scheme + text) is False
