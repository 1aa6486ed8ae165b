"""Mail whose target went away, and reports that cannot be kept."""

from __future__ import annotations

from typing import Any

import pytest

from mailstead.delivery.model import AcceptedMessage, EnvelopeRecipient, Outcome, Result
from mailstead.directory.model import RecipientKind
from tests.smtp.harness import ADMIN, MESSAGE, Face


async def test_a_large_message_whose_folder_went_away_is_in_the_inbox(face: Face, monkeypatch: pytest.MonkeyPatch) -> None:
    account = face.account("alice@example.test")
    await face.mailbox.create_folder(account.id, "Projects")
    planner = face.delivery.planner
    number = planner.detail_folder(account.shard, account.id, "projects")
    await face.mailbox.delete_folder(account.id, "Projects")
    monkeypatch.setattr(planner, "detail_folder", lambda *args: number)
    octets = MESSAGE + b"line\r\n" * 200_000
    client = await face.ready()
    assert (await client.send(octets, "alice+projects@example.test")).startswith("250")
    await face.delivery.close()
    (found,) = await face.messages()
    assert found.endswith(octets)


def _accepted(face: Face, sender: str, *recipients: str) -> AcceptedMessage:
    resolved = [EnvelopeRecipient(address, face.directory.resolve(address)) for address in recipients]
    return AcceptedMessage("t-1", sender, resolved, b"Received: by test\r\n", MESSAGE, len(MESSAGE), 1_700_000_000)


async def _with_an_empty_group(face: Face) -> AcceptedMessage:
    await face.directory.create_group("example.test", "empty", [], actor=ADMIN)
    message = _accepted(face, "bob@remote.test", "alice@example.test", "empty@example.test")
    assert message.recipients[1].resolution.kind is RecipientKind.GROUP
    return message


async def test_a_recipient_is_not_lost_without_a_report(face: Face, monkeypatch: pytest.MonkeyPatch) -> None:
    message = await _with_an_empty_group(face)

    async def full(*args: Any, **more: Any) -> Outcome:
        return Outcome(Result.FULL)

    monkeypatch.setattr(face.delivery, "send_system_mail", full)
    assert (await face.delivery.accept(message)).result is Result.TEMPORARY


async def test_a_success_that_cannot_be_reported_is_stored_all_the_same(face: Face, monkeypatch: pytest.MonkeyPatch) -> None:
    message = _accepted(face, "bob@remote.test", "alice@example.test")
    message.recipients[0].notify = "SUCCESS"

    async def broken(*args: Any, **more: Any) -> Outcome:
        raise RuntimeError("the directory cannot be read")

    monkeypatch.setattr(face.delivery, "send_system_mail", broken)
    assert (await face.delivery.accept(message)).result is Result.STORED
    assert len(await face.messages()) == 1
