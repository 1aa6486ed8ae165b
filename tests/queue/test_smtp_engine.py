"""The client's session without sockets: whatever a server answers, each recipient has one fate."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailstead.queue.detail import QueueDetail
from mailstead.queue.smtp_auth import choose, decode_challenge, encode_response, exchange
from mailstead.queue.smtp_engine import ClientSession, Command, Envelope, Replies, Step, Transfer, Unusable, Upgrade
from mailstead.queue.smtp_reply import Reply

WORDS = ("PIPELINING", "SIZE", "8BITMIME", "CHUNKING", "BINARYMIME", "DSN", "SMTPUTF8", "LIMITS")
replies = st.builds(
    Reply,
    st.sampled_from((220, 235, 250, 334, 354, 421, 450, 451, 452, 500, 503, 550, 552, 554)),
    st.sampled_from((("",), ("4.5.3 x",))),
)


def drive(steps: object, answers: Iterable[Reply]) -> tuple[object, list[Step]]:
    """Run a phase over a list of replies: its result and what it asked for."""
    source = iter(answers)
    asked: list[Step] = []
    given_back: Replies | None = None
    while True:
        try:
            step = next(steps) if given_back is None else steps.send(given_back)  # type: ignore[call-overload, attr-defined]
        except StopIteration as stop:
            return stop.value, asked
        asked.append(step)
        count = step.replies if isinstance(step, Command) else 0 if isinstance(step, Upgrade) else 1
        given_back = [next(source) for _ in range(count)]


@given(
    st.data(),
    st.sets(st.sampled_from(WORDS)),
    st.integers(1, 6),
    st.booleans(),
    st.sampled_from(("7BIT", "8BITMIME", "BINARYMIME")),
)
def test_every_recipient_has_one_fate(data: st.DataObject, extensions: set[str], count: int, long_lines: bool, body: str) -> None:
    session = ClientSession("here.test", esmtp=True, extensions=dict.fromkeys(extensions, ""))
    addresses = [data.draw(st.sampled_from((f"u{n}@there.test", f"ü{n}@there.test", f"u {n}@there.test"))) for n in range(count)]
    details = [QueueDetail(body=body, notify="SUCCESS")] * count
    envelope = Envelope("a@here.test", addresses, details, 100, long_lines)
    results, asked = drive(session.transaction(envelope), iter(lambda: data.draw(replies), None))
    assert isinstance(results, list) and len(results) == count
    bodies = [step for step in asked if isinstance(step, Transfer) and not step.empty]
    assert len(bodies) <= 1
    for result in results:
        assert result.delivered is False or bodies
        assert result.reply is not None or result.by_us or not result.delivered
    written = b"".join(step.data for step in asked if isinstance(step, Command))
    assert all(line.count(b"\n") == 1 for line in written.splitlines(keepends=True))
    # Somebody gets a decision in each transaction, so that trying the others again comes to an end.
    assert any(result.reply is not None or result.by_us for result in results)


@given(st.lists(replies, min_size=12, max_size=12))
def test_opening_ends_or_says_why_not(answers: list[Reply]) -> None:
    session = ClientSession("here.test")
    try:
        drive(session.open(), answers)
    except Unusable as error:
        refusal: Unusable | None = error
    else:
        refusal = None
    assert session.closing is (refusal is not None)
    if refusal is not None:
        assert str(refusal) and refusal.status.count(".") == 2


def test_extensions_of_before_tls_are_forgotten() -> None:
    session = ClientSession("here.test")
    hello = Reply(250, ("mx", "STARTTLS", "AUTH=PLAIN LOGIN", "SIZE 1000"))
    drive(session.open(), [Reply(220, ("x",)), hello])
    assert session.extensions == {"STARTTLS": "", "AUTH": "PLAIN LOGIN", "SIZE": "1000"}
    done, asked = drive(session.start_tls(), [Reply(220, ("go",)), Reply(250, ("mx", "PIPELINING"))])
    assert done is True and session.tls and session.extensions == {"PIPELINING": ""}
    assert [type(step) for step in asked] == [Command, Upgrade, Command]


def test_declined_tls_leaves_the_session_as_it_was() -> None:
    session = ClientSession("here.test", extensions={"STARTTLS": ""})
    done, _ = drive(session.start_tls(), [Reply(454, ("not now",))])
    assert done is False and not session.closing and not session.tls


def test_parameters_that_are_no_xtext_are_not_written() -> None:
    session = ClientSession("here.test", extensions={"DSN": ""})
    detail = QueueDetail("SUCCESS RSET", "rfc822;a b", "x=y\r\n", "BOTH", False, "7BIT")
    _, asked = drive(
        session.transaction(Envelope("a@here.test", ["b@there.test"], [detail], 10)),
        [Reply(250, ("",)), Reply(250, ("",)), Reply(354, ("",)), Reply(250, ("",))],
    )
    written = b"".join(step.data for step in asked if isinstance(step, Command))
    assert written == b"MAIL FROM:<a@here.test>\r\nRCPT TO:<b@there.test>\r\nDATA\r\n"


def test_mechanism_that_shows_the_password_is_the_last_choice_in_the_clear() -> None:
    offered = ("PLAIN", "CRAM-MD5", "LOGIN")
    assert choose(offered, ("plain", "login", "cram-md5"), tls=False) == "cram-md5"
    assert choose(offered, ("plain", "login", "cram-md5"), tls=True) == "plain"
    assert choose(offered, ("login",), tls=True) == "login"
    assert choose(("GSSAPI",), ("plain",), tls=True) is None


def test_cram_md5_as_in_its_rfc() -> None:
    _, (answer,) = exchange("cram-md5", "tim", "tanstaaftanstaaf")
    assert answer(b"<1896.697170952@postoffice.reston.mci.net>") == b"tim b913a602c7eda7a495b4e6e7334d3890"
    assert decode_challenge("not base64!") == b"" and encode_response(b"") == b"="


@pytest.mark.parametrize("codes", [(535,), (334, 535), (334, 334, 535)])
def test_failed_login_ends_the_session(codes: tuple[int, ...]) -> None:
    session = ClientSession("here.test", extensions={"AUTH": "LOGIN"})
    with pytest.raises(Unusable):
        drive(session.authenticate("u", "secret", ("login",)), [Reply(code, ("",)) for code in codes])
    assert session.closing
