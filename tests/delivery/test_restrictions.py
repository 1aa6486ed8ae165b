"""With whom an account may exchange mail (RST-01)."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailstead.directory import Directory
from mailstead.directory.patterns import AddressPatterns
from tests.delivery.sending import limit, logged_in
from tests.smtp.harness import ADMIN, MESSAGE, Face

LOCAL, OTHER, SUB, REMOTE = "bob@example.test", "dave@other.test", "x@sub.example.test", "r@remote.test"


@pytest.mark.parametrize(
    ("policy", "exceptions", "allowed"),
    [
        ("allowAnyDomain", "()", {LOCAL, OTHER, SUB, REMOTE}),
        ("allowAnyDomain", "(remote.test)", {LOCAL, OTHER, SUB}),
        ("denyAnyDomain", "()", set()),
        ("denyAnyDomain", "(r@remote.test *.example.test)", {SUB, REMOTE}),
        ("allowLocalDomain", "()", {LOCAL}),
        ("allowLocalDomain", "(r*@remote.test BOB@example.test)", {REMOTE}),
        ("allowLocalDomainAndSubdomains", "()", {LOCAL, SUB}),
    ],
)
async def test_policies(face: Face, policy: str, exceptions: str, allowed: set[str]) -> None:
    await face.directory.create_domain("other.test", actor=ADMIN)
    await face.directory.create_account("other.test", "dave", hash="{PLAIN}x", actor=ADMIN)
    await limit(face, enableSendRestrictions="yes", sendPolicy=policy, sendPolicyExceptions=exceptions)
    await limit(face, "carol", enableRecvRestrictions="yes", recvPolicy=policy, recvPolicyExceptions=exceptions)
    client = await logged_in(face)
    await client.ok("MAIL FROM:<alice@example.test>")
    replies = {address: await client.command(f"RCPT TO:<{address}>") for address in (LOCAL, OTHER, SUB, REMOTE)}
    assert {address for address, reply in replies.items() if reply.startswith("250")} == allowed
    assert all(reply.startswith("550 5.7.1") for address, reply in replies.items() if address not in allowed)
    stranger = await face.ready()
    replies = {}
    for address in (LOCAL, OTHER, SUB, REMOTE):
        await stranger.ok(f"MAIL FROM:<{address}>")
        replies[address] = await stranger.command("RCPT TO:<carol@example.test>")
        await stranger.ok("RSET")
    assert {address for address, reply in replies.items() if reply.startswith("250")} == allowed
    await limit(face, "carol", enableRecvRestrictions="no")
    await stranger.ok(f"MAIL FROM:<{REMOTE}>")
    assert (await stranger.command("RCPT TO:<carol@example.test>")).startswith("250")


async def test_by_way_of_a_group(face: Face) -> None:
    await face.directory.create_group("example.test", "staff", ["alice@example.test", LOCAL], actor=ADMIN)
    await limit(face, enableRecvRestrictions="yes", recvPolicy="allowLocalDomain")
    client = await face.ready()
    assert (await client.send(MESSAGE, "staff@example.test", sender="carol@example.test")).startswith("250")
    assert (await client.send(MESSAGE, "staff@example.test", sender="r@remote.test")).startswith("250")
    await face.delivery.close()
    assert len(await face.messages()) == 1 and len(await face.messages(LOCAL)) == 2
    ((_, recipient, _, octets),) = face.queued()
    assert recipient == "r@remote.test" and b"alice@example.test" in octets and b"Status: 5.7.1" in octets


async def test_the_null_sender_is_foreign_and_reports_of_this_server_are_not(face: Face) -> None:
    await limit(face, enableRecvRestrictions="yes", recvPolicy="allowLocalDomain")
    await limit(face, "bob", totalMessageSize="1")
    client = await face.ready()
    await client.ok("MAIL FROM:<>")
    assert (await client.command("RCPT TO:<alice@example.test>")).startswith("550 5.7.1")
    await client.ok("RSET")
    big = MESSAGE + b"z" * 2000 + b"\r\n"
    assert (await client.send(big, LOCAL, "carol@example.test", sender="alice@example.test")).startswith("250")
    await face.delivery.close()
    (report,) = await face.messages()
    assert b"5.2.2" in report
    await limit(face, recvPolicyExceptions="(<>)")
    await client.ok("MAIL FROM:<>")
    assert (await client.command("RCPT TO:<alice@example.test>")).startswith("250")


async def test_a_script_leads_no_further_than_its_account_may_send(face: Face) -> None:
    await limit(face, enableSendRestrictions="yes", sendPolicy="allowLocalDomain")
    account = face.account("alice@example.test")
    await face.mailbox.put_script(account.id, "go", 'redirect "r@remote.test";')
    await face.mailbox.activate_script(account.id, "go")
    client = await face.ready()
    assert (await client.send()).startswith("250")
    await face.delivery.close()
    assert face.queued() == [] and len(await face.messages()) == 1


def test_patterns() -> None:
    patterns = AddressPatterns(["Example.TEST", "@two.test", "a?c@three.test", "*.four.test", "bücher.test", "[x]@five.test", ""])
    for address in ("x@example.test", "y@TWO.test", "abc@three.test", "z@www.four.test", "u@xn--bcher-kva.test", "[x]@five.test"):
        assert patterns.match(address), address
    for address in ("x@sub.example.test", "abbc@three.test", "z@four.test", "x@five.test", "", "<>", "nobody"):
        assert not patterns.match(address), address


async def test_another_process_restricts_a_session_that_runs(face: Face, tmp_path: Path) -> None:
    client = await logged_in(face)
    other = Directory.open(tmp_path)
    try:
        account = face.account("alice@example.test").id
        for name, value in {"enableSendRestrictions": "yes", "sendPolicy": "denyAnyDomain"}.items():
            await other.set_account_setting(account, name, value, actor=ADMIN)
    finally:
        other.close()
    await client.ok("MAIL FROM:<alice@example.test>")
    assert (await client.command(f"RCPT TO:<{LOCAL}>")).startswith("550 5.7.1 Your account")


@given(st.lists(st.text(max_size=40), max_size=8), st.text(max_size=60))
def test_any_words_are_patterns_and_any_text_an_address(patterns: list[str], address: str) -> None:
    assert AddressPatterns(patterns).match(address) in (True, False)


@given(st.from_regex(r"[a-z0-9]{1,20}", fullmatch=True), st.from_regex(r"[a-z]{1,10}\.test", fullmatch=True))
def test_a_pattern_matches_what_it_names(local: str, domain: str) -> None:
    address = f"{local}@{domain}"
    for pattern in (domain, address, f"*@{domain}", f"{local}@*", "*.test", "*", f"?{address[1:]}"):
        assert AddressPatterns([pattern.upper()]).match(address), pattern
    for pattern in (f"x{domain}", f"x{address}", f"*@x{domain}", "*.example", f"{local}x@*"):
        assert not AddressPatterns([pattern]).match(address), pattern


def test_many_wildcards_take_no_time() -> None:
    begun = time.thread_time()
    assert not AddressPatterns(["*a" * 200 + "b@*"]).match("a" * 300 + "@remote.test")
    assert time.thread_time() - begun < 10
