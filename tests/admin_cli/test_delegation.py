"""A domain's own administrator: what it lacks the right for it learns at SET, and no way leads beyond the domain's limits."""

from __future__ import annotations

import pytest

from mailstead.directory import Actor
from mailstead.directory.recipient_kinds import FAMILIES
from mailstead.settings.declarations import (
    ADVERTISING_CONTEXT,
    DOMAIN_OWN,
    LIMITS_CONTEXT,
    QUOTAS_CONTEXT,
    RESTRICTIONS_CONTEXT,
)
from mailstead.settings.permissions import DOMAIN_PERMISSIONS
from tests.admin_cli.conftest import PASSWORD, Client, Face

SYSTEM = Actor.system("test")
DOMAIN = "UPDATE Domain example.test"


async def _owner(face: Face, *lacking: str) -> Client:
    """An administrator with every right on example.test but these."""
    await face.directory.create_admin("owner", PASSWORD, actor=SYSTEM)
    for permission in DOMAIN_PERMISSIONS - set(lacking):
        await face.directory.grant("owner", permission, "example.test", actor=SYSTEM)
    return await face.client("owner")


def _word(setting: object) -> str:
    text = setting.render(setting.default)  # type: ignore[attr-defined]
    return text if text.startswith("(") else f'"{text}"'


# -- ADM-01: told at SET ------------------------------------------------------------------------------------------

PARTS = {"Limits": LIMITS_CONTEXT, "Quotas": QUOTAS_CONTEXT, "SendRecvRestrictions": RESTRICTIONS_CONTEXT,
         "WebmailAdvertising": ADVERTISING_CONTEXT}  # fmt: skip
APART = ("sentRecipientsExceptions", "sendPolicyExceptions", "recvPolicyExceptions")


@pytest.mark.parametrize("part", PARTS)
async def test_every_attribute_of_an_account_is_refused_at_set(face: Face, part: str) -> None:
    declared = PARTS[part]
    permissions = {declared.permission_for(setting) for setting in declared.settings}
    client = await _owner(face, *permissions)
    await client.ok(DOMAIN, "UPDATE Account alice", f"CONFIG {part}")
    for setting in declared.settings:
        if setting.name in APART:
            continue
        expected = f"owner lacks the permission {declared.permission_for(setting)} on this domain"
        assert await client.err(f"SET {setting.name} {_word(setting)}") == expected
        assert await client.err(f"RESET {setting.name}") == expected
    # Nothing of it waits.
    await client.ok("DONE", "COMMIT")


async def test_every_attribute_of_a_domain_is_refused_at_set(face: Face) -> None:
    permissions = {DOMAIN_OWN.permission_for(setting) for setting in DOMAIN_OWN.settings}
    client = await _owner(face, *permissions)
    await client.ok(DOMAIN)
    for setting in DOMAIN_OWN.settings:
        expected = f"owner lacks the permission {DOMAIN_OWN.permission_for(setting)}"
        assert expected in await client.err(f"SET {setting.name} {_word(setting)}")
    assert "manageDomainConfig" in await client.err("ESET appenderHtml")
    await client.ok("COMMIT")


@pytest.mark.parametrize("kind", FAMILIES, ids=lambda kind: kind.value)
async def test_every_attribute_of_a_recipient_is_refused_at_set(face: Face, kind: object) -> None:
    family = FAMILIES[kind]  # type: ignore[index]
    await face.directory.create_recipient(kind, "example.test", "it", {}, (), actor=SYSTEM)  # type: ignore[arg-type]
    permissions = {family.permission(setting.name) for setting in family.context.settings} | {family.manage}
    allowed = "manageGroupsNaming" if "manageGroups" in permissions else "manageMailListsNaming"
    client = await _owner(face, *permissions - {allowed})
    word = {"groups": "Group", "mailing lists": "List", "folder recipients": "FolderRcpt"}[family.plural]
    entered = await client.send(DOMAIN)
    assert entered[-1].startswith("+OK")
    reply = await client.send(f"UPDATE {word} it")
    if reply[-1].startswith("-ERR"):
        assert word == "FolderRcpt"  # who may nothing with them does not see them
        return
    for setting in family.context.settings:
        if setting.name != "removeHeaders":
            reason = await client.err(f"SET {setting.name} {_word(setting)}")
            assert f"lacks the permission {family.permission(setting.name)}" in reason
    assert f"lacks the permission {family.manage}" in await client.err("SET enable no")


async def test_a_refused_set_keeps_nothing_of_its_line(face: Face) -> None:
    client = await _owner(face, "manageCatchAll")
    await client.ok(DOMAIN)
    assert "manageCatchAll" in await client.err("SET customerReference x catchAllType folder")
    assert (await client.show())["customerReference"] == '""'


# -- ADM-02: bounds of what has effect -----------------------------------------------------------------------------


async def _bounded(face: Face) -> tuple[Client, Client]:
    admin = await face.client()
    await admin.ok(
        DOMAIN, "CONFIG adminLimits", "SET maxAccountMessageSizeQuota 1000 maxAccountMessageCountQuota 50",
        "SET maxAccountFolderCountQuota 7 maxAccountFolderMessageCountQuota 9 maxAccountFolderMessageSizeQuota 800",
        "SET availableServices (imap pop3 webmail)", "COMMIT", "COMMIT",
    )  # fmt: skip
    owner = await _owner(face, "manageDomainAdminLimits")
    await owner.ok(DOMAIN)
    return admin, owner


def _alice(face: Face) -> tuple[object, ...]:
    account = face.directory.account_by_address("alice@example.test")
    assert account is not None and account.rules is not None
    return (account.quota_bytes, account.quota_messages, account.folder_limit, *account.rules.folders.of("INBOX"),
            sorted(account.services))  # fmt: skip


BOUND = (1000 * 1024, 50, 7, 800 * 1024, 9, ["imap", "pop3", "webmail"])


async def test_reset_does_not_lead_beyond_the_limits(face: Face) -> None:
    _, owner = await _bounded(face)
    assert _alice(face) == BOUND
    await owner.ok("UPDATE Account alice", "CONFIG Quotas", "SET totalMessageSize 10 totalMessageCount 5 mboxCount 3")
    await owner.ok("DONE", "COMMIT")
    assert _alice(face)[:3] == (10 * 1024, 5, 3)
    await owner.ok("UPDATE Account alice", "CONFIG Quotas", "RESET totalMessageSize", "RESET totalMessageCount", "RESET mboxCount")
    shown = await owner.show()
    assert shown["totalMessageSize"].startswith("1000 [inherited from server defaults: ")
    assert shown["totalMessageCount"].startswith("50 [inherited from server defaults: ")
    await owner.ok("DONE", "COMMIT")
    assert _alice(face) == BOUND


async def test_neither_a_class_nor_defaults_lead_beyond_the_limits(face: Face) -> None:
    admin = await face.client()
    # Made while there was no limit.
    await admin.ok(
        DOMAIN, "ADD accountClass gold", "CONFIG Quotas", "SET totalMessageSize 5000 totalMessageCount 500 mboxCount 70 "
        "messageSize 4000 messageCount 90", "DONE", "COMMIT", "COMMIT",
    )  # fmt: skip
    await face.directory.set_domain_default("example.test", "totalMessageCount", "700", actor=SYSTEM)
    await face.directory.settings.set_account_default("totalMessageSize", "0", SYSTEM)
    _, owner = await _bounded(face)
    assert _alice(face) == BOUND
    await owner.ok("UPDATE Account alice", "INHERIT SETTINGS FROM accountClass gold", "COMMIT")
    assert _alice(face) == BOUND
    for line in ("UPDATE accountClass gold", ""):
        words = (line, "CONFIG Quotas") if line else ("CONFIG accountDefaultQuotas",)
        await owner.ok(*words)
        assert "totalMessageSize: the domain allows 1 to 1000" in await owner.err("SET totalMessageSize 5001")
        await owner.ok("BACK", "BACK") if line else await owner.ok("BACK")
    await owner.ok("UPDATE accountClass gold", "CONFIG Quotas", "RESET totalMessageSize", "DONE", "COMMIT")
    assert _alice(face) == BOUND


async def test_what_an_account_was_given_itself_stays_when_the_limit_falls(face: Face) -> None:
    admin = await face.client()
    await admin.ok(DOMAIN, "UPDATE Account alice", "CONFIG Quotas", "SET totalMessageSize 4000", "DONE", "COMMIT", "COMMIT")
    _, owner = await _bounded(face)
    assert _alice(face)[0] == 4000 * 1024
    await owner.ok("UPDATE Account alice", "CONFIG Quotas")
    assert "the domain allows 1 to 1000" in await owner.err("SET totalMessageSize 4000")


async def test_what_a_limit_forbids_is_told_at_set(face: Face) -> None:
    _, owner = await _bounded(face)
    await owner.ok("UPDATE Account alice", "CONFIG Quotas")
    for name, most in (("totalMessageSize", 1000), ("totalMessageCount", 50), ("mboxCount", 7), ("messageCount", 9),
                       ("messageSize", 800)):  # fmt: skip
        for value in (0, most + 1):
            assert await owner.err(f"SET {name} {value}") == f"{name}: the domain allows 1 to {most}"
    reason = "messageCount: the domain allows 1 to 9"
    assert await owner.err("SET mboxCount 7 messageCount 10") == reason
    assert await owner.err("SET MboxQuota mboxName INBOX messageCount 10") == reason
    await owner.ok("DONE", "CONFIG Limits")
    assert await owner.err("SET services (imap smtpOutgoing)") == "services: smtpOutgoing may not be given in this domain"
    # Nothing of it waits.
    await owner.ok("DONE", "COMMIT")
    assert _alice(face) == BOUND


async def test_a_limit_that_falls_while_a_value_waits_holds_at_commit(face: Face) -> None:
    admin, owner = await _bounded(face)
    await owner.ok("UPDATE Account alice", "CONFIG Quotas", "SET totalMessageSize 900",
                   "SET MboxQuota mboxName INBOX messageCount 9", "DONE")  # fmt: skip
    await admin.ok(DOMAIN, "CONFIG adminLimits", "SET maxAccountMessageSizeQuota 800", "COMMIT")
    assert "totalMessageSize: the domain allows 1 to 800" in await owner.err("COMMIT")
    await owner.ok("CONFIG Quotas", "SET totalMessageSize 800", "DONE")
    await admin.ok("CONFIG adminLimits", "SET maxAccountFolderMessageCountQuota 8", "COMMIT")
    assert "messageCount: the domain allows 1 to 8" in await owner.err("COMMIT")
    await owner.ok("CONFIG Quotas", "SET MboxQuota mboxName INBOX messageCount 8", "DONE", "COMMIT")
    assert _alice(face)[0] == 800 * 1024


async def test_lists_and_public_folders_that_nobody_bounded_have_the_limit(face: Face) -> None:
    await face.directory.create_list("example.test", "news", actor=SYSTEM)
    client = await face.client()
    await client.ok(
        DOMAIN, "CONFIG adminLimits", "SET maxMaillistMessageCountQuota 10 maxMaillistFolderMessageCountQuota 4",
        "SET maxPublicFolderMessageSizeQuota 100", "COMMIT",
    )  # fmt: skip
    found = face.directory.account_by_login("news@example.test")
    assert found is not None and found.quota_messages == 10
    assert found.rules is not None and found.rules.folders.of("INBOX")[1] == 4
    owner = face.directory.owner(face.domain_id)
    assert owner is not None and owner.quota_bytes == 100 * 1024
    await client.ok("UPDATE List news", "CONFIG QUOTAS")
    assert (await client.show())["totalMessageCount"] == "10"


# -- HELP shows what may be done ----------------------------------------------------------------------------------


async def _with(face: Face, *permissions: str) -> Client:
    """An administrator with these rights on example.test only."""
    await face.directory.create_admin("few", PASSWORD, actor=SYSTEM)
    for permission in permissions:
        await face.directory.grant("few", permission, "example.test", actor=SYSTEM)
    return await face.client("few")


def _begin(lines: list[str], *starts: str) -> list[str]:
    return [line for line in lines if line.startswith(starts)]


async def test_help_has_only_the_parameters_that_may_be_set(face: Face) -> None:
    client = await _with(face, "createAccounts", "removeAccounts", "changeAccountsPassword")
    lines = await client.ok(DOMAIN, "HELP")
    assert not _begin(lines, "SET ", "ESET ")
    assert _begin(lines, "ADD Account ", "REMOVE Account ", "SHOW [ATTR")
    lines = await client.ok("UPDATE Account alice", "HELP")
    assert [line.split()[1] for line in _begin(lines, "SET ")] == ["<parameters...>", "password", "passwordHash", "mustChangePass"]
    assert not _begin(lines, "REVOKE ", "ADD securityMethod", "INHERIT ", "PURGE ")
    lines = await client.ok("CONFIG Quotas", "HELP")
    assert not _begin(lines, "SET <", "SET mboxCount", "RESET ")
    # What HELP leaves out is refused with the right that is missing.
    assert "lacks the permission manageFoldersQuotas" in await client.err("SET mboxCount 5")


async def test_help_has_what_may_be_given_to_a_new_account(face: Face) -> None:
    client = await _with(face, "createAccounts")
    lines = await client.ok(DOMAIN, "ADD Account new password secret-1-x", "HELP")
    assert [line.split()[1] for line in _begin(lines, "SET ")] == ["<parameters...>", "password", "passwordHash"]
    await client.ok("SET password secret-2-x", "COMMIT")


@pytest.mark.parametrize("path", [("UPDATE Account alice",), ("UPDATE Account alice", "CONFIG Limits"), ()], ids=str)
async def test_each_parameter_help_leaves_out_is_refused_and_each_it_has_is_not(face: Face, path: tuple[str, ...]) -> None:
    client = await _with(face, "manageAccounts", "manageDomainAliases", "manageWebmailLimits")
    everyone = await face.client()
    lines = await client.ok(DOMAIN, *path, "HELP")
    shown = {line.split()[1] for line in _begin(lines, "SET ")}
    whole = _begin(await everyone.ok(DOMAIN, *path, "HELP"), "SET ")[1:]
    assert whole
    for line in whole:
        name = line.split()[1]
        if name.startswith("password"):
            continue
        value = (await everyone.send(f"SHOW ATTR {name}"))[0].partition(" = ")[2].partition(" [")[0]
        value = {"name": "other", "postmasterAccount": "alice"}.get(name, value)
        refused = "lacks the permission" in (await client.send(f"SET {name} {value}"))[-1]
        assert refused == (name not in shown), (name, value)


async def test_help_of_a_new_subdomain_has_its_parameters(face: Face) -> None:
    client = await _with(face, "manageSubdomains")
    lines = await client.ok("CREATE Subdomain prefix sub parentDomain example.test postmasterPassword secret-1-x", "HELP")
    assert _begin(lines, "SET prefix", "SET domainLocation") and _begin(lines, "SET <")


async def test_help_of_the_undelete_follows_its_right(face: Face) -> None:
    client = await _with(face, "removeAccounts")
    assert not _begin(await client.ok(DOMAIN, "HELP"), "UNDELETE ")
    await face.directory.grant("few", "restoreDomain", "example.test", actor=SYSTEM)
    client = await face.client("few")
    assert _begin(await client.ok(DOMAIN, "HELP"), "UNDELETE ")


async def test_a_name_that_stays_needs_no_right_to_rename(face: Face) -> None:
    """Programs send every parameter of what they save."""
    await face.directory.create_account_class("example.test", "silver", actor=SYSTEM)
    await face.directory.create_group("example.test", "team", actor=SYSTEM)
    client = await _with(face, "manageAccountClasses", "manageGroups")
    for line, name, right in (
        ("UPDATE accountClass silver", "silver", "renameAccountClasses"), ("UPDATE Group team", "team", "manageGroupsNaming"),
    ):  # fmt: skip
        await client.ok(DOMAIN, line, f"SET name {name}")
        assert right in await client.err("SET name other")
        await client.ok("COMMIT", "BACK")
