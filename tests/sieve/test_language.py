"""The language: what is taken, what is refused and where, and what scripts decide."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailstead.sieve import evaluate as evaluation
from mailstead.sieve.actions import Action, FileInto, Keep, Redirect, Reject
from mailstead.sieve.check import check
from mailstead.sieve.evaluate import RuntimeFailure, evaluate
from mailstead.sieve.grammar import SieveError
from mailstead.sieve.matching import wildcard

NOW = 1_700_000_000.0


@dataclass
class Letter:
    headers: dict[str, list[str]] = field(default_factory=dict)
    size: int = 1000
    text: str = ""
    folders: tuple[str, ...] = ("INBOX",)
    sender: str = "bob@remote.test"
    recipient: str = "alice+work@example.test"

    def header(self, name: str) -> Sequence[str]:
        return self.headers.get(name.lower(), [])

    def addresses(self, name: str) -> Sequence[str]:
        return [part.strip().rpartition("<")[2].rstrip(">") for value in self.header(name) for part in value.split(",")]

    def envelope(self, part: str) -> Sequence[str]:
        return [self.sender if part == "from" else self.recipient]

    def body(self, transform: str, types: Sequence[str]) -> Sequence[str]:
        return [self.text]

    def mailbox_exists(self, name: str) -> bool:
        return name in self.folders


LETTER = Letter(
    {
        "from": ["Bob <bob@remote.test>"], "to": ["alice@example.test, Carol <carol+team@example.test>"],
        "subject": ["[dev] Plans for 2024"], "date": ["Tue, 02 Nov 2021 22:30:00 +0200"], "x-score": ["12"],
        "received": ["by a; Tue, 02 Nov 2021 20:31:00 +0000", "by b; Mon, 01 Nov 2021 20:31:00 +0000"],
    },
    text="please find the invoice",
)  # fmt: skip


def run(script: str, letter: Letter = LETTER) -> list[Action]:
    return evaluate(check(script), letter, NOW)


def holds(test: str, *extensions: str) -> bool:
    required = f"require [{', '.join(chr(34) + name + chr(34) for name in extensions)}];" if extensions else ""
    return run(f"{required} if {test} {{ discard; }}") == []


@pytest.mark.parametrize(
    ("script", "actions"),
    [
        ("", [Keep()]),
        ("keep;", [Keep()]),
        ("discard;", []),
        ("discard; keep;", [Keep()]),
        ('redirect "x@y.test";', [Redirect("x@y.test")]),
        ('require "copy"; redirect :copy "x@y.test";', [Redirect("x@y.test"), Keep()]),
        ('require "fileinto"; fileinto "A"; fileinto "A"; fileinto "B";', [FileInto("A"), FileInto("B")]),
        ('require ["fileinto", "copy"]; fileinto :copy "A";', [FileInto("A"), Keep()]),
        ('require "reject"; reject text:\r\nno\r\n..dot\r\n.\r\n;', [Reject("no\r\n.dot\r\n")]),
        ('if false { discard; } elsif header "subject" "x" { discard; } else { keep; }', [Keep()]),
        ("if true { stop; } discard;", [Keep()]),
        ("/* a */ # b\r\nstop;discard;", [Keep()]),
        ('require "imap4flags"; addflag ["\\\\Seen", "$x \\\\flagged"]; removeflag "\\\\seen"; keep;', [Keep(("$x", "\\flagged"))]),
        ('require "imap4flags"; setflag "\\\\Seen";', [Keep(("\\Seen",))]),
        ('require ["imap4flags", "fileinto"]; fileinto :flags "a b" "X";', [FileInto("X", ("a", "b"))]),
        ('require ["fileinto", "mailbox"]; fileinto :create "New";', [FileInto("New", None, True)]),
        (
            'require ["variables", "fileinto"]; if header :matches "subject" "[*] *" { set :upperfirst "l" "${1}"; '
            'fileinto "lists/${l}"; }',
            [FileInto("lists/Dev")],
        ),
        ('require ["variables", "fileinto"]; set :length "n" "abc"; fileinto "${n}${missing}";', [FileInto("3")]),
        ('require ["encoded-character", "fileinto"]; fileinto "${hex: 41 c3 a9}${unicode:20AC}";', [FileInto("Aé€")]),
        ('require "ihave"; if ihave "no-such-thing" { frobnicate :x "y"; } else { discard; }', []),
    ],
)
def test_actions(script: str, actions: list[Action]) -> None:
    assert run(script) == actions


@pytest.mark.parametrize(
    ("test", "extensions"),
    [
        ('header :contains "Subject" "PLANS"', ()),
        ('header :is ["x", "subject"] "[DEV] plans for 2024"', ()),
        ('header :matches "subject" "*plans*20?4"', ()),
        ('not header :comparator "i;octet" :contains "subject" "plans"', ()),
        ('address :is "from" "bob@remote.test"', ()),
        ('address :domain :is ["from", "to"] "EXAMPLE.test"', ()),
        ('address :user :is "to" "carol"', ("subaddress",)),
        ('address :detail :is "to" "team"', ("subaddress",)),
        ('not address :detail :is "from" ""', ("subaddress",)),
        ('envelope :localpart "to" "alice+work"', ("envelope",)),
        ('envelope :detail "to" "work"', ("envelope", "subaddress")),
        ('exists ["from", "subject"]', ()),
        ('not exists ["from", "x-nothing"]', ()),
        ("size :over 999", ()),
        ("not size :over 1000", ()),
        ("size :under 1K", ()),
        ('header :value "gt" :comparator "i;ascii-numeric" "x-score" "9"', ("relational", "comparator-i;ascii-numeric")),
        ('header :count "ge" :comparator "i;ascii-numeric" "received" "2"', ("relational", "comparator-i;ascii-numeric")),
        ('body :contains "INVOICE"', ("body",)),
        ('date :zone "+0000" "date" "hour" "20"', ("date",)),
        ('date :originalzone "date" "hour" "22"', ("date",)),
        ('date "received" "weekday" "2"', ("date",)),
        ('date :index 2 "received" "day" "01"', ("date", "index")),
        ('date :index 1 :last "received" "day" "01"', ("date", "index")),
        ('currentdate "date" "2023-11-14"', ("date",)),
        ('date "date" "julian" "59520"', ("date",)),
        ('mailboxexists "INBOX"', ("mailbox",)),
        ('not mailboxexists ["INBOX", "X"]', ("mailbox",)),
        ('allof (true, not false, anyof (false, true))', ()),
        ('string :is "${x}" ""', ("variables",)),
    ],
)  # fmt: skip
def test_tests(test: str, extensions: tuple[str, ...]) -> None:
    assert holds(test, *extensions)


@pytest.mark.parametrize(
    ("script", "line", "words"),
    [
        ("keep", 1, "expected ';'"),
        ('keep;\r\nfileinto "x";', 2, "needs require"),
        ('keep;\r\nrequire "fileinto";', 2, "before everything"),
        ('require "no-such";', 1, "no extension"),
        ("frobnicate;", 1, "no command"),
        ("if frob { }", 1, "no test"),
        ("else { }", 1, "without an if"),
        ("if true keep;", 1, "takes no test"),
        ("if true { keep;", 1, "without its end"),
        ('header "a" "b";', 1, "no command"),
        ('if header "a" { }', 1, "2 arguments"),
        ('if header :is :contains "a" "b" { }', 1, "exclude"),
        ('if header :frob "a" "b" { }', 1, "takes no"),
        ('if header :comparator "i;xx" "a" "b" { }', 1, "comparator"),
        ("if size 1 { }", 1, ":over"),
        ("if size :over 99999999999 { }", 1, "too large"),
        ("if not (true) { }", 1, "1 test"),
        ('redirect ["a@b", "c@d"];', 1, "a string"),
        ('if address "subject" "x" { }', 1, "no addresses"),
        ('keep "x";', 1, "0 arguments"),
        ('\r\n\r\nredirect "abc;', 3, "unexpected"),
        ("reject text:\r\nabc", 1, "final dot"),
    ],
)
def test_errors_name_the_line(script: str, line: int, words: str) -> None:
    with pytest.raises(SieveError) as error:
        check(script)
    assert error.value.line == line
    assert words in str(error.value)


@pytest.mark.parametrize(
    "script",
    [
        'redirect "not an address";',
        "".join(f'redirect "u{n}@x.test";' for n in range(9)),
        'require ["reject", "fileinto"]; fileinto "x"; reject "no";',
        'require ["reject", "fileinto"]; reject "no"; fileinto "x";',
        'require "fileinto";' + "".join(f'fileinto "{n}";' for n in range(99)),
        'require "ihave"; error "stop here";',
    ],
)
def test_failures_when_it_runs(script: str) -> None:
    with pytest.raises(RuntimeFailure):
        run(script)


def test_limits() -> None:
    with pytest.raises(SieveError, match="deeper"):
        check("if true {" * 40 + "}" * 40)
    with pytest.raises(SieveError, match="more than"):
        check("keep;" * 6000)
    with pytest.raises(SieveError, match="octets"):
        check("#" * 300_000)
    assert wildcard("*a" * 200 + "b", "a" * 5000, "i;octet") is None


@settings(max_examples=300)
@given(st.text(alphabet='keepifrqu tru{}()[],;:"\\#/*\r\n.0K', max_size=200))
def test_any_text_is_a_script_or_a_sieve_error(text: str) -> None:
    try:
        script = check(text)
    except SieveError:
        return
    evaluate(script, LETTER, NOW)


@settings(max_examples=300)
@given(st.text(alphabet="ab*?\\", max_size=8), st.text(alphabet="ab", max_size=12))
def test_wildcards_are_those_of_a_regular_expression(pattern: str, text: str) -> None:
    import re

    out, at = "", 0
    while at < len(pattern):
        sign = pattern[at]
        if sign == "\\" and at + 1 < len(pattern):
            at += 1
            out += re.escape(pattern[at])
        else:
            out += {"*": "(.*?)", "?": "(.)"}.get(sign, re.escape(sign))
        at += 1
    found = re.fullmatch(out, text, re.S)
    mine = wildcard(pattern, text, "i;octet")
    assert (mine is not None) == (found is not None)
    if found is not None:
        assert mine == list(found.groups())


@pytest.mark.parametrize(
    "test",
    [
        'header :matches "subject" "*' + "a?" * 20_000 + 'b*"',
        'header :contains "subject" [' + ", ".join(f'"a{number}"' for number in range(2000)) + "]",
        'header :matches "subject" "' + "*?b" * 20_000 + '*"',
    ],
)
def test_a_costly_script_ends_in_time(test: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluation, "MAX_SECONDS", 0.2)
    checked = check("".join(f"if not {test} {{ keep; }}" for _ in range(3)))
    began = time.thread_time()
    with pytest.raises(RuntimeFailure, match="time"):
        evaluate(checked, Letter({"subject": ["a" * 400_000]}), NOW)
    assert time.thread_time() - began < 60


def test_variables_do_not_multiply() -> None:
    fill = 'require ["variables", "fileinto"]; set "a" "' + "x" * 4000 + '";'
    tracemalloc.start()
    found = run(fill + 'fileinto "' + "${a}" * 25_000 + '";')
    assert tracemalloc.get_traced_memory()[1] < 4_000_000
    tracemalloc.stop()
    assert found == [FileInto("x" * 16_000)]
    with pytest.raises(RuntimeFailure):
        run(fill + 'if header "subject" [' + ", ".join('"${a}${a}${a}${a}"' for _ in range(1000)) + "] { stop; }")


def test_flags_are_atoms() -> None:
    wrong = '{5} ( ) % * \\" ] a\x01b \x7f a] {x \\\\ \\\\Recent'
    assert run(f'require "imap4flags"; setflag "{wrong} $ok \\\\Seen"; keep;') == [Keep(("$ok", "\\Seen"))]


def test_octets_that_are_no_characters() -> None:
    start = 'require ["encoded-character", "fileinto"]; fileinto'
    assert run(f'{start} "${{hex:c3}}${{hex:a9}}";') == [FileInto("é")]
    assert run(f'{start} "a${{hex:ff}}";') == [FileInto("a\ufffd")]
