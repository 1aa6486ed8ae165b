"""Mailing lists of a running server, with smtplib and imaplib, over its worker and background processes."""

from __future__ import annotations

import asyncio
import imaplib
import smtplib
import time
import urllib.error
import urllib.request
from email.message import EmailMessage

import pytest

from mailstead.directory.service import Directory
from mailstead.settings import Actor
from tests.cli.conftest import PASSWORD, Demo, StartDemo, demo  # noqa: F401 - a fixture
from tests.delivery.lists.conftest import parsed
from tests.ports import free_port

ADMIN = Actor.system("test")
ALICE, BOB, LIST = "alice@example.test", "bob@example.test", "news@example.test"


def make(server: Demo, **attributes: str) -> int:
    """The list news with alice as its member."""
    directory = Directory.open(server.data)

    async def work() -> int:
        found = await directory.create_list("example.test", "news", [ALICE], actor=ADMIN, **attributes)
        await directory.set_list_password(found.id, "list-secret-1", actor=ADMIN)
        return found.id

    try:
        return asyncio.run(work())
    finally:
        directory.close()


def send(server: Demo, sender: str, to: str, subject: str, text: str = "") -> None:
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = sender, to, subject
    message.set_content(text)
    with smtplib.SMTP("127.0.0.1", server.port(2525), timeout=60) as client:
        client.send_message(message, sender, [to])


def login(server: Demo, user: str, password: str = PASSWORD) -> imaplib.IMAP4:
    client = imaplib.IMAP4("127.0.0.1", server.port(2143), timeout=60)
    client.login(user, password)
    return client


def wait_for(server: Demo, user: str, subject: str, password: str = PASSWORD, folder: str = "INBOX") -> EmailMessage:
    """The message of that subject, as soon as it is there."""
    client = login(server, user, password)
    try:
        end = time.monotonic() + 60
        while time.monotonic() < end:
            if client.select(folder)[0] == "OK":
                for number in reversed(client.search(None, "ALL")[1][0].split()):
                    message = parsed(client.fetch(number, "(RFC822)")[1][0][1])  # type: ignore[index,arg-type]
                    if subject in str(message["Subject"]):
                        return message
            time.sleep(0.1)
        raise AssertionError(f"no message {subject!r} for {user}")
    finally:
        client.logout()


@pytest.mark.parametrize("workers", [2])
def test_subscribe_post_moderate_and_leave(demo: StartDemo, workers: int) -> None:  # noqa: F811
    server = demo(workers)
    make(server, moderate="nonmembers", adminEmail=ALICE)
    send(server, BOB, "news-subscribe@example.test", "please")
    asked = wait_for(server, BOB, "please confirm")
    send(server, BOB, asked["Reply-To"], "Re: please confirm")
    wait_for(server, BOB, "Welcome to news")
    send(server, BOB, LIST, "from a member", "Hello all\n")
    for user in (ALICE, BOB):
        copy = wait_for(server, user, "from a member")
        assert copy["List-Id"] == "<news.example.test>"
        assert copy["Precedence"] == "list"
    send(server, "stranger@elsewhere.test", LIST, "from outside", "May I?\n")
    wait_for(server, ALICE, "a message waits")
    held = login(server, LIST, "list-secret-1")
    assert held.select("PendingRequests")[1] == [b"1"]
    assert held.uid("MOVE", "1:*", "ConfirmedRequests")[0] == "OK"
    held.logout()
    wait_for(server, BOB, "from outside")
    wait_for(server, LIST, "from outside", "list-secret-1")
    with pytest.raises(imaplib.IMAP4.error):
        login(server, LIST, "wrong")
    send(server, BOB, "news-unsubscribe@example.test", "leave")
    for _ in range(600):
        asked = wait_for(server, BOB, "please confirm")
        if "unsubscribe" in asked.get_content():
            break
        time.sleep(0.1)
    send(server, BOB, asked["Reply-To"], "Re: please confirm")
    wait_for(server, BOB, "Goodbye from news")
    assert server.stop() == 0


def test_decisions_by_mail_and_imap_at_a_running_server(demo: StartDemo) -> None:  # noqa: F811
    server = demo(2)
    make(server, moderate="everybody", adminEmail=ALICE)
    for number in (1, 2):
        send(server, BOB, LIST, f"posting {number}", "Hello\n")
        wait_for(server, ALICE, "a message waits")
        wait_for(server, LIST, f"posting {number}", "list-secret-1", "PendingRequests")
    send(server, ALICE, "news-request@example.test", "decided", "password list-secret-1\nreject 1 not about the matter\nreject 1\n")
    answer = wait_for(server, ALICE, "reject").get_content()
    assert "rejected: post of bob@example.test" in answer
    assert "dealt with already" in answer
    assert "not about the matter" in wait_for(server, BOB, "message not accepted").get_content()
    held = login(server, LIST, "list-secret-1")
    assert held.select("PendingRequests")[1] == [b"1"]
    assert held.uid("MOVE", "2", "ConfirmedRequests")[0] == "OK"
    held.logout()
    wait_for(server, ALICE, "posting 2")
    send(server, ALICE, "news-request@example.test", "decided", "password list-secret-1\nreject 2\npending\n")
    for _ in range(600):
        last = wait_for(server, ALICE, "news: reject").get_content()
        if "number 2" in last:
            break
        time.sleep(0.1)
    assert "the number 2 was dealt with already" in last
    assert "Nothing waits." in last
    assert server.stop() == 0


def test_one_click_of_a_running_server(demo: StartDemo) -> None:  # noqa: F811
    server = demo(1)
    list_id = make(server)
    port = free_port()
    directory = Directory.open(server.data)

    async def serve() -> None:
        settings = directory.settings
        words = " ".join([*sorted(settings.service("server").services), "listUnsubscribe"])
        await settings.set("server", "services", f"({words})", ADMIN)
        await settings.set("server", "listUnsubscribeUrl", f"http://127.0.0.1:{port}/leave", ADMIN)
        await settings.add_listener("listUnsubscribe", f"127.0.0.1:{port}", {"certFile": "none"}, ADMIN)

    try:
        asyncio.run(serve())
        send(server, BOB, LIST, "with a link", "Hello\n")
        link = str(wait_for(server, ALICE, "with a link")["List-Unsubscribe"]).partition(">")[0].lstrip("<")
        assert link.startswith(f"http://127.0.0.1:{port}/leave/")
        body, status = b"List-Unsubscribe=One-Click", 0
        for _ in range(600):
            try:
                with urllib.request.urlopen(urllib.request.Request(link, body), timeout=60) as answer:
                    status = answer.status
                break
            except urllib.error.URLError:
                time.sleep(0.1)
        assert status == 200
        assert directory.member_count(list_id) == 0
        with urllib.request.urlopen(urllib.request.Request(link, body), timeout=60) as again:
            assert again.status == 200
        wait_for(server, ALICE, "Goodbye from news")
    finally:
        directory.close()
