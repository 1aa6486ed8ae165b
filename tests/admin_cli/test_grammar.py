"""Words, lines and forms with anything in them; octets at random at the socket: replies within the layouts, or the end."""

from __future__ import annotations

import asyncio
import random
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailstead.admin_cli.grammar import MAX_LINE, MAX_WORDS, CommandError, Lines, LineTooLong, split, without_telnet
from mailstead.admin_cli.syntax import parse
from mailstead.observe.metrics import faults
from tests.admin_cli.conftest import Face

# A line never holds its own end; what is no UTF-8 has become U+FFFD before.
TEXT = st.text(st.characters(blacklist_categories=("Cs",), blacklist_characters="\n\r"), max_size=60)
ODD = st.text(st.sampled_from("ab \t'\"\\()[]<>=|*?.-\u00e4\x00"), max_size=40)
VALUE = st.one_of(TEXT, ODD)


def double(value: str) -> str:
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def bare(value: str) -> str:
    return re.sub(r"([ \t'\"\\()])", r"\\\1", value)


@given(VALUE)
def test_double_quotes_give_back_every_value(value: str) -> None:
    (word,) = split(double(value))
    assert word.text == value and word.quoted and word.items is None and word.value == value


@given(VALUE.filter(lambda value: "'" not in value))
def test_single_quotes_are_literal(value: str) -> None:
    (word,) = split(f"'{value}'")
    assert word.text == value and word.quoted


@given(VALUE.filter(bool))
def test_escapes_give_back_every_value(value: str) -> None:
    (word,) = split(bare(value))
    assert word.text == value and word.items is None


@given(st.lists(VALUE, max_size=6), st.lists(VALUE, max_size=4))
def test_lists_and_words_keep_their_places(before: list[str], members: list[str]) -> None:
    line = " ".join([*map(double, before), "(" + "  ".join(map(double, members)) + ")", "end"])
    *first, group, last = split(line)
    assert [word.text for word in first] == before and group.items == tuple(members) and last.same("END")


@given(VALUE)
def test_any_line_gives_words_or_a_reason(line: str) -> None:
    reason = "not closed"
    try:
        words = split(line)
    except CommandError as error:
        reason = str(error)
    else:
        assert len(words) <= MAX_WORDS and all(word.items is None or word.text == "" for word in words)
    assert re.search(r"not closed|at most", reason)


def test_too_many_words_are_refused() -> None:
    assert len(split("x " * MAX_WORDS)) == MAX_WORDS
    for line in ("x " * (MAX_WORDS + 1), "(" + "x " * (MAX_WORDS + 1) + ")"):
        with pytest.raises(CommandError):
            split(line)


@given(st.lists(TEXT, max_size=8), st.sampled_from(["\r\n", "\n"]), st.data())
def test_lines_come_whole_however_they_are_cut(lines: list[str], end: str, data: st.DataObject) -> None:
    octets = "".join(line + end for line in lines).encode()
    reader, found, place = Lines(), [], 0
    while place < len(octets):
        size = data.draw(st.integers(1, len(octets) - place))
        reader.feed(octets[place : place + size])
        place += size
        while (line := reader.next()) is not None:
            found.append(line)
    assert found == lines and reader.next() is None


def test_a_line_without_an_end_is_not_kept() -> None:
    reader = Lines()
    reader.feed(b"x" * MAX_LINE)
    with pytest.raises(LineTooLong):
        reader.feed(b"x")


@given(st.binary(max_size=200))
def test_telnet_is_passed_over(octets: bytes) -> None:
    kept = without_telnet(octets)
    assert len(kept) <= len(octets) and without_telnet(octets.replace(b"\xff", b"")) == octets.replace(b"\xff", b"")


@given(TEXT.filter(lambda text: "\x00" not in text))
def test_telnet_negotiation_around_a_line_changes_nothing(text: str) -> None:
    octets = text.encode()
    assert without_telnet(b"\xff\xfb\x01\xff\xfd\x03" + octets + b"\xff\xfa\x18\x00vt100\xff\xf0\xff\xf1") == octets


FORMS = (
    "ADD Thing [name] <name> password <password> [level <n>] [loud|quiet]", "GRANT permission (<names>) [domain <name>]",
    "MOVE <a> to <b> [<c>]", "SHOW [ATTR <param>]", "SET <parameters...>", "PURGE public|account folders <folders...>",
)  # fmt: skip


@given(VALUE, VALUE, st.permutations(["name", "password", "level"]), st.booleans())
def test_named_values_come_in_any_order(name: str, password: str, order: list[str], upper: bool) -> None:
    syntax = parse(FORMS[0])
    given_values = {"name": name, "password": password, "level": "7"}
    line = "add THING " + " ".join(f"{key.upper() if upper else key} {double(given_values[key])}" for key in order) + " LOUD"
    found = syntax.arguments(split(line))
    assert dict(found) == given_values and "loud" in found.flags


@given(VALUE.filter(bool), VALUE)
def test_the_identifying_name_may_be_left_out(name: str, password: str) -> None:
    found = parse(FORMS[0]).arguments(split(f"ADD Thing {double(name)} password {double(password)}"))
    assert found["name"] == name and found["password"] == password


NAMES = ("name", "to", "(", ")", "domain", "ATTR")


@given(st.sampled_from(FORMS), st.lists(VALUE, max_size=6), st.lists(st.sampled_from(NAMES), max_size=4))
def test_any_words_fit_a_form_or_get_a_reason(form: str, values: list[str], words: list[str]) -> None:
    syntax = parse(form)
    line = " ".join([*(word.split("|")[0] for word in syntax.head), *words, *values])
    reason = "it fits"
    try:
        found = syntax.arguments(split(line))
    except CommandError as error:
        reason = str(error)
    else:
        assert all(isinstance(value, str) for value in found.values())
    assert reason


REPLY = re.compile(r"(?:[^\r\n]*\r\n)*?(?:\+OK|-ERR): [^\r\n]+\r\n(?:<[A-Za-z0-9-]*#?> )?")
PIECES = (
    b"USER admin\r\n", b"HELP\r\n", b"\r\n", b"\n", b"\x00", b"\xff\xfd\x03", b"\xff\xfa", b"\xc3\x28", b'"', b"'", b"(", b"SHOW\n",
    b"LIST Domains\r\n", b"UPDATE Domain example.test\r\n", b"BACK\r\n", b"SET ", b"ESET appenderHtml\r\n", b".\r\n", b"COMMIT\r\n",
    b"ADD Account name ", b"CONFIG FILTERS\r\n", b"x" * 3000, b"\\", b"\x1b[31m", "\u202e\u00e4".encode(), b"+OK: fine\r\n<#> \r\n",
)  # fmt: skip


@pytest.mark.parametrize("logged_in", [False, True])
async def test_octets_at_random_get_replies_or_the_end(face: Face, logged_in: bool) -> None:
    rng = random.Random(7)
    before = faults.labels("CLI")._value.get()
    face.endpoint.max_errors = 0
    for turn in range(25):
        client = await (face.client() if logged_in else face.raw())
        octets = b"".join(
            rng.choice(PIECES) if rng.random() < 0.8 else rng.randbytes(rng.randrange(40)) for _ in range(rng.randrange(1, 30))
        )
        client.writer.write(octets + b"\r\n.\r\n.\r\nEXIT\r\nEXIT\r\nEXIT\r\n")
        text = (await asyncio.wait_for(client.reader.read(-1), 60)).decode()
        rest = text
        while rest:
            found = REPLY.match(rest)
            # A text that is asked for is answered with a line and no prompt; its end brings the reply.
            assert found is not None, (turn, octets, rest[:300])
            rest = rest[found.end() :]
        assert "internal error" not in text
        client.writer.close()
    assert faults.labels("CLI")._value.get() == before


@settings(max_examples=20, deadline=None)
@given(st.binary(min_size=1, max_size=300))
def test_lines_take_any_octets(octets: bytes) -> None:
    reader = Lines()
    reader.feed(octets + b"\n")
    while (line := reader.next()) is not None:
        assert "\n" not in line
        try:
            split(line)
        except CommandError:
            continue
