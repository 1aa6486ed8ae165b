"""Every stored form of a password that accounts are imported with."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import shutil
import subprocess
import time

import argon2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailstead.identity import foreign_hashes, libcrypt
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
    "{SSHA512.HEX}" + (hashlib.sha512(WORD.encode() + b"salt").digest() + b"salt").hex(),
    "{plain.b64}" + b64(WORD.encode()),
    "{MD5}" + b64(hashlib.md5(WORD.encode()).digest()),
    "{SMD5}" + salted("md5", WORD, b"1234"),
    "{ARGON2}" + argon2.PasswordHasher(1, 8192, 1).hash(WORD),
    f"{{PBKDF2-SHA512}}1200${b64(b'salty')}${b64(hashlib.pbkdf2_hmac('sha512', WORD.encode(), b'salty', 1200))}",
    f"{{PBKDF2}}1200${b64(b'salty')}${b64(hashlib.pbkdf2_hmac('sha1', WORD.encode(), b'salty', 1200))}",
    f"$scrypt$ln=10,r=8,p=1${b64(b'salty')}${b64(hashlib.scrypt(WORD.encode(), salt=b'salty', n=1024, r=8, p=1, dklen=32))}",
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
    weak = argon2.PasswordHasher(1, 8192, 1).hash(WORD)
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


@given(st.text(max_size=200), st.sampled_from(["", *(f"{{{name}}}" for name in foreign_hashes.FORMS)]))
def test_no_text_is_a_match_or_an_error(text: str, scheme: str) -> None:
    if scheme not in ("{PLAIN}", "{CLEARTEXT}", "{CLEAR}") or text != "the password":
        assert verify("the password", scheme + text) is False


DOVECOT = [
    "MD5-CRYPT", "MD5", "SHA256-CRYPT", "SHA512-CRYPT", "BLF-CRYPT", "ARGON2ID", "ARGON2I", "PBKDF2", "SCRAM-SHA-256",
    "SCRAM-SHA-1", "SSHA", "SSHA256", "SSHA512", "SSHA512.HEX", "SMD5", "LDAP-MD5", "PLAIN-MD5", "PLAIN", "PLAIN.B64", "CLEARTEXT",
    "DES-CRYPT", "CRYPT", "SHA", "SHA1", "SHA256", "SHA512.b64", "SSHA.HEX", "SHA512-CRYPT.B64",
]  # fmt: skip


@pytest.mark.skipif(not shutil.which("doveadm"), reason="needs Dovecot")
@pytest.mark.parametrize("scheme", DOVECOT)
def test_what_doveadm_makes_is_accepted_and_upgraded(scheme: str) -> None:
    word = WORD[:8] if scheme == "DES-CRYPT" else WORD
    made = subprocess.run(["doveadm", "pw", "-s", scheme, "-p", word], capture_output=True, text=True, check=True).stdout.strip()
    assert made.startswith("{")
    assert is_supported(made)
    assert verify(word, made)
    assert not verify(word[:-1] + "x" if scheme != "DES-CRYPT" else "x" + word, made)
    assert needs_upgrade(made)


@pytest.mark.skipif(not shutil.which("openssl"), reason="needs OpenSSL")
@pytest.mark.parametrize("form", ["-1", "-5", "-6"])
def test_what_openssl_makes_is_accepted(form: str) -> None:
    made = subprocess.run(
        ["openssl", "passwd", form, "-stdin"], input=WORD, capture_output=True, text=True, check=True
    ).stdout.strip()
    assert is_supported(made)
    assert verify(WORD, made)
    assert not verify(WORD + "x", "{CRYPT}" + made)


@pytest.mark.parametrize(
    "setting", ["$y$j75$abcdefgh$", "$gy$j75$abcdefgh$", "$7$7/..../....abcd$", "$2b$04$......................", "_/...abcd"]
)
def test_forms_of_the_c_library(setting: str) -> None:
    made = libcrypt.crypt_hash(WORD.encode(), setting)
    if made is None:
        pytest.skip("not in this system's library")
    assert is_supported(made if setting[0] == "$" else "{CRYPT}" + made)
    assert verify(WORD, "{CRYPT}" + made)
    assert not verify(WORD.upper(), "{CRYPT}" + made)


def test_scram_keys_in_the_spelling_of_ldap_are_accepted() -> None:
    salted_password = hashlib.pbkdf2_hmac("sha256", WORD.encode(), b"salty", 4096)
    client = hashlib.sha256(_mac(salted_password, b"Client Key")).digest()
    tail = f"4096:{b64(b'salty')}${b64(client)}:{b64(_mac(salted_password, b'Server Key'))}"
    for stored in (f"SCRAM-SHA-256${tail}", f"{{SCRAM-SHA-256}}{tail}"):
        assert is_supported(stored)
        assert verify(WORD, stored)
        assert not verify(WORD + "x", stored)


def _mac(key: bytes, text: bytes) -> bytes:
    return hmac.digest(key, text, "sha256")


HOSTILE = [
    "$2b$31$" + "a" * 53,
    "$2b$16$" + "a" * 53,
    "$6$rounds=999999999$salt$" + "a" * 86,
    "$7$zzzzzzzzzzzsalt$" + "a" * 43,
    "$7$CzzzzzU..../salt$" + "a" * 43,
    "$y$jZZ$salt$" + "a" * 43,
    "$y$jFT$salt$" + "a" * 43,
    "_zzzzabcd" + "a" * 11,
    "$argon2id$v=19$m=1048576,t=64,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA",
    "$argon2id$v=19$m=8192,t=2,p=999$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA",
    "$scrypt$ln=24,r=8,p=1$c2FsdA$aGFzaGhhc2hoYXNoaGFzaGhhc2g",
    "$scrypt$ln=17,r=8,p=99$c2FsdA$aGFzaGhhc2hoYXNoaGFzaGhhc2g",
    "{PBKDF2}99999999$c2FsdA$aGFzaGhhc2hoYXNoaGFzaGhhc2g",
    "{PBKDF2}1000$c2FsdA$" + "A" * 256,
    "{SCRAM-SHA-256}99999999,c2FsdA==," + "A" * 43 + "=," + "A" * 43 + "=",
]


@pytest.mark.parametrize("stored", HOSTILE, ids=range(len(HOSTILE)))
def test_a_hostile_hash_is_refused_at_once(stored: str) -> None:
    started = time.thread_time()
    assert not is_supported(stored)
    assert not verify(WORD, stored)
    assert time.thread_time() - started < 5, "what it asks for would take a minute at the least"


@pytest.mark.parametrize(
    "stored",
    ["$2b$15$" + "a" * 53, "$6$rounds=500000$salt$" + "a" * 86, "$7$EU..../....salt$" + "a" * 43, "$y$jDT$salt$" + "a" * 43,
     "$argon2id$v=19$m=262144,t=16,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA", "_zzz/abcd" + "a" * 11],
)  # fmt: skip
def test_the_dearest_hash_costs_seconds_and_no_more(stored: str) -> None:
    started = time.thread_time()
    assert not verify(WORD, stored)
    assert time.thread_time() - started < 300


@given(
    st.from_regex(re.compile(r"\{(CRYPT|BLF-CRYPT|PBKDF2|SCRYPT|SCRAM-SHA-256)\}[$._,:=A-Za-z0-9]{0,90}", re.ASCII), fullmatch=True)
)
def test_no_near_form_is_a_match_or_an_error(stored: str) -> None:
    assert verify("the password", stored) is False
