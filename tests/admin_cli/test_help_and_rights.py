"""HELP and rights agree in every context that a delegated administrator can enter (ADM-01).

For administrators without a right, and with each single right: what HELP shows is not refused for the lack of a right when it is
said, nor when it is committed; what HELP leaves out, and an administrator with every right has, is refused.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Awaitable, Callable

import pytest

from mailstead.admin_cli.syntax import parse
from mailstead.directory import Actor
from mailstead.directory.model import AlreadyExistsError, RecipientKind
from mailstead.settings.permissions import DOMAIN_PERMISSIONS, SERVER_FORM, SERVER_PERMISSIONS
from tests.admin_cli.conftest import PASSWORD, Client, Face
from tests.admin_cli.test_every_context import PATHS, SHOWN_ONLY
from tests.admin_cli.test_walk import _send

SYSTEM = Actor.system("test")
LACKS = "lacks the permission"
DOMAIN = "UPDATE Domain example.test"
LIST = "UPDATE List talk"
EARLIER = ("COMMANDS", "REPORTING", "MIGRATION")
"""Contexts of earlier releases, which HELP does not name."""
STORED: tuple[tuple[str, ...], ...] = (
    (DOMAIN, LIST),
    *((DOMAIN, LIST, f"CONFIG {word}") for word in ("WEBMAILDATA", "FILTERS", "QUOTAS", "LIMITS")),
    (DOMAIN, LIST, "UPDATE User alice@example.test"),
    (DOMAIN, "UPDATE Group team"),
    (DOMAIN, "UPDATE Group team", "CONFIG FILTERS"),
    (DOMAIN, "UPDATE FolderRcpt board"),
    (DOMAIN, "UPDATE FolderRcpt board", "CONFIG FILTERS"),
    (DOMAIN, "UPDATE FolderRcpt board", "CONFIG LIMITS"),
    (DOMAIN, "UPDATE accountClass silver"),
    *((DOMAIN, "UPDATE accountClass silver", f"CONFIG {word}") for word in (
        "Filters", "Quotas", "Limits", "SendRecvRestrictions", "WebmailAdvertising",
    )),
    ("EDIT Domain name off.test",),
    ("ENTER QUEUE", "CONFIG QUARANTINE"),
    *((f"ENTER {word}",) for word in EARLIER),
)  # fmt: skip
"""Contexts of objects that there are: who may change one of these may not make one."""

LEAVING = ("EXIT", "QUIT", "BACK", "DONE", "COMMIT", "HELP", "SET <")
# What would end the session or the server's work by intent, or waits for other machines.
APART = ("SET admin-password", "CHANGE password", "STOP Service", "SET multilineEOF", "SET QUIET", "SET CONSOLE-CODES", "QUERY MX",
         "QUERY A", "QUERY NS", "QUERY TXT", "QUERY PTR", "GENERATE letsencrypt", "REVOKE letsencrypt", "FILESYSTEM mount",
         "JOIN", "SAVE supportInfo", "MIGRATE account")  # fmt: skip
NAMED = {"account": "alice", "group": "team", "list": "talk", "folderrcpt": "board", "accountclass": "silver",
         "domain": "example.test", "admin-user": "other", "admin-group": "others",
         "permission": "other"}  # fmt: skip
"""By the second word of a command: what there is of it."""
VALUES = {
    "prefix": "sub", "parentdomain": "example.test", "domainlocation": "/d", "password": "secret-1-x", "accountname": "alice",
    "accountnames": "alice", "account": "alice", "accountclassname": "silver", "accountclass": "silver", "days": "3", "than": "3",
    "folders": "Trash", "folder": "Trash", "foldername": "Trash", "object": "alice@example.test", "email": "bob@example.test",
    "address": "bob@example.test", "ipset": "10.0.0.0/8", "pattern": "a@b.test", "string": "a@b.test", "rcpt": "keep",
    "priority": "3", "permissions": "rw", "delegatename": "bob@example.test", "resource": "calendar", "element": "faviconPhoto",
    "type": "email", "target": "a@b.test", "host": "mail.example.test", "file": "f.sieve", "filtername": "s", "mode": "oidc",
    "filtertype": "script", "domainname": "example.test", "which": "all", "yes|no": "no", "command": "/bin/true",
    "file_path": "/nonexistent", "usids": "shard-0", "storage_usid": "shard-0", "user": "alice@example.test",
    "protocolfile": "f.afsl", "ldapuri": "ldap://l.test", "domain": "example.test",
}  # fmt: skip
"""By the name of a parameter."""
LINES = {
    "ADD Account": "ADD Account thing password secret-1-x",
    "ADD IntegratedFilter": "ADD IntegratedFilter thing-IntegratedFilter type externalCommand command /bin/true",
    "SET MboxQuota": "SET MboxQuota mboxName INBOX messageCount 1",
    "SHOW signature": "SHOW signature name thing-signature",
    "ESET signature": "ESET signature name thing-signature",
    "REMOVE signature": "REMOVE signature name thing-signature",
    "SET premiumAccountAddons": "SET premiumAccountAddons name alice@example.test addons (sharing)",
    "EDIT Domain name": "EDIT Domain name off.test",
    "DELETE Domain": "DELETE Domain off.test",
    "REMOVE Alias": "REMOVE Alias {alias}",
    "ADD Alias": "ADD Alias {new}",
    "ADD temporaryAlias": "ADD temporaryAlias brief days 3",
    **{f"{verb} {word}": f"{verb} {word} 127.0.0.1:10144" for verb in ("ADD", "UPDATE", "REMOVE", "SHOW")
       for word in ("Listener", "UrlRedirect", "SNMPTrapDestination", "clusterAddress")},
}  # fmt: skip
"""By the beginning of a form, where likely values are not enough."""
PARAMETER = re.compile(r"SET (\S+) \(?<[^<>]*>\)?\Z")
READING = ("LIST", "SHOW", "GET", "SEARCH", "LOOKUP")


_WHOLE: dict[tuple[str, ...], list[str]] = {}


async def ground(face: Face) -> None:
    """What the commands are about is there, also after commands that took it away."""
    directory = face.directory
    for name in ("c.test", "sub.example.test"):
        if directory.domain_by_name(name) is not None:
            await directory.delete_domain(name, actor=SYSTEM)
    if directory.domain_by_name("off.test") is None:
        await directory.create_domain("off.test", actor=SYSTEM)
        await directory.enable_domain("off.test", False, actor=SYSTEM)
    domain = directory.domain_by_name("example.test")
    assert domain is not None
    if not domain.switched_on:
        await directory.enable_domain("example.test", actor=SYSTEM)
    if await face.mailbox.folder(face.domain_id, "News") is None:
        await face.mailbox.create_folder(face.domain_id, "News")
    makers: list[Callable[[], Awaitable[object]]] = [
        lambda: directory.create_account("example.test", "alice", actor=SYSTEM),
        lambda: directory.create_account("example.test", "bob", actor=SYSTEM),
        lambda: directory.create_group("example.test", "team", ["alice@example.test"], actor=SYSTEM),
        lambda: directory.create_list("example.test", "talk", ["alice@example.test"], actor=SYSTEM),
        lambda: directory.create_recipient(RecipientKind.FOLDER, "example.test", "board", {"mboxName": "News"}, (), actor=SYSTEM),
        lambda: directory.create_account_class("example.test", "silver", actor=SYSTEM),
        lambda: directory.add_domain_alias("example.test", "example.net", actor=SYSTEM),
        lambda: directory.create_admin("other", PASSWORD, actor=SYSTEM),
        lambda: directory.create_admin_group("others", actor=SYSTEM),
    ]
    for make in makers:
        with contextlib.suppress(AlreadyExistsError):
            await make()
    account = directory.account_by_address("alice@example.test")
    assert account is not None
    with contextlib.suppress(AlreadyExistsError):
        await directory.add_account_alias(account.id, "al", actor=SYSTEM)
    if await face.mailbox.folder(account.id, "Trash") is None:
        await face.mailbox.create_folder(account.id, "Trash")


def line_of(form: str) -> str:
    """A form with values that are likely."""
    for beginning, line in LINES.items():
        if form.startswith(f"{beginning} "):
            return line
    syntax = parse(form)
    words = [word.split("|")[0] for word in syntax.head]
    thing = words[1] if len(words) > 1 else ""
    for parameter in syntax.parameters:
        if not parameter.required:
            continue
        value = VALUES.get(parameter.key, "x")
        if parameter.key in ("name", "accountclassname"):
            value = NAMED.get(thing.lower(), f"thing-{thing}") if words[0] != "ADD" else f"thing-{thing}"
        if parameter.key == "permnames":
            value = "(manageAdminACL)" if "permission" in words else value
        words += [parameter.name, value] if parameter.name else [value]
    words += syntax.keywords
    if syntax.rest_required:
        words.append(VALUES.get(syntax.rest.strip("<>.").lower(), "x"))
    return " ".join(words)


async def forms_of(client: Client) -> list[str]:
    """The forms that HELP shows."""
    return [line.split(" - ")[0] for line in (await client.ok("HELP"))[2:] if line]


async def enter(client: Client, path: tuple[str, ...]) -> bool:
    """Go to the root, and from there; whether the way leads there."""
    for _ in range(8):
        if client.prompt == "<#> ":
            break
        await client.send("BACK")
    assert client.prompt == "<#> "
    for step in path:
        if not (await client.send(step))[-1].startswith("+OK"):
            return False
    return True


async def leave(client: Client) -> str:
    """COMMIT or DONE up to the root; the first refusal for the lack of a right."""
    for _ in range(8):
        if client.prompt == "<#> ":
            break
        reply = (await client.send("COMMIT"))[-1]
        if "unknown command" in reply:
            reply = (await client.send("DONE"))[-1]
        if LACKS in reply:
            return reply
        if reply.startswith("-ERR"):
            await client.send("BACK")
    return ""


class Walk:
    """A delegated administrator's way through the contexts, and what HELP and rights say of each command differently."""

    def __init__(self, face: Face, client: Client, everyone: Client) -> None:
        self.face, self.client, self.everyone = face, client, everyone
        self.wrong: list[str] = []
        self.said = 0

    async def context(self, path: tuple[str, ...]) -> None:
        """Every command of a context, where the way leads there."""
        if not await enter(self.client, path):
            return
        shown = await forms_of(self.client)
        if path not in _WHOLE:
            assert await enter(self.everyone, path), path
            _WHOLE[path] = await forms_of(self.everyone)
        for form in _WHOLE[path]:
            if form.startswith((*LEAVING, *APART)) or PARAMETER.match(form):
                continue
            await self.prepared(path, form)
            assert await enter(self.client, path), (path, form)
            await self.command(path, form, shown)
        await self.parameters(path, [form for form in shown if PARAMETER.match(form)])

    async def prepared(self, path: tuple[str, ...], form: str) -> None:
        """What is to be taken away or changed is there, as far as it is stored in a context of its own."""
        verb, _, what = form.partition(" ")
        word = what.split(" ")[0]
        if verb not in ("REMOVE", "UPDATE", "SHOW", "ESET") or word.lower() in NAMED:
            return
        adding = next((other for other in _WHOLE[path] if other.startswith(f"ADD {word} ")), None)
        if adding is None or any(step.startswith(("ADD ", "CREATE ")) for step in path):
            return
        assert await enter(self.everyone, path)
        await self.everyone.send(line_of(adding))
        await leave(self.everyone)

    async def command(self, path: tuple[str, ...], form: str, all_shown: list[str]) -> None:
        """One command, said and committed."""
        shown = form in all_shown
        line = line_of(form)
        account = "UPDATE Account alice" in path
        line = line.format(alias="al" if account else "example.net", new="neu" if account else "neu.test")
        if form == "RESET <attr>":
            line = f"RESET {next(one for one in (*all_shown, *_WHOLE[path]) if PARAMETER.match(one)).split()[1]}"
        reply = (await _send(self.client, line))[-1]
        self.said += 1
        if not shown:
            if reply.startswith("+OK"):
                self.wrong.append(f"{path} hides {line!r}: {reply}")
                await self.restore(path)
        elif LACKS in reply and not await self.other_word(path, form):
            self.wrong.append(f"{path} shows {line!r}: {reply}")
        elif reply.startswith("+OK") and not form.startswith(READING):
            if refused := await leave(self.client):
                self.wrong.append(f"{path} shows {line!r}, then COMMIT: {refused}")
            await self.restore(path)

    async def other_word(self, path: tuple[str, ...], form: str) -> bool:
        """Whether a command with a choice of words is not refused with another of them: it is shown for that."""
        words = form.split()
        chosen = next((number for number, word in enumerate(words) if "|" in word and "<" not in word), None)
        if chosen is None or not await enter(self.client, path):
            return False
        words[chosen] = words[chosen].partition("|")[2]
        return LACKS not in (await self.client.send(line_of(" ".join(words))))[-1]

    async def parameters(self, path: tuple[str, ...], shown: list[str]) -> None:
        """Every parameter that HELP shows, set to what it is."""
        if not shown:
            return
        assert await enter(self.client, path), path
        for form in shown:
            name = form.split()[1]
            value = (await self.client.send(f"SHOW ATTR {name}"))[0].partition(" = ")[2].partition(" [")[0]
            if value and "*" not in value and name not in SHOWN_ONLY:
                reply = (await self.client.send(f"SET {name} {value}"))[-1]
                self.said += 1
                if LACKS in reply:
                    self.wrong.append(f"{path} shows {form!r}: {reply}")
        if refused := await leave(self.client):
            self.wrong.append(f"{path} shows its parameters, then COMMIT: {refused}")
        await self.restore(path)

    async def restore(self, path: tuple[str, ...]) -> None:
        """What was made on the way is gone again, and what was there is."""
        for number, step in enumerate(path):
            words = step.split()
            if words[0] == "ADD" and await enter(self.everyone, path[:number]):
                named = words[2] if words[2] not in ("name", "priority") else f"{words[2]} {words[3]}"
                await self.everyone.send(f"REMOVE {words[1]} {named}")
                await leave(self.everyone)
                break
        await ground(self.face)


RIGHTS = ("", *sorted(DOMAIN_PERMISSIONS), *sorted(SERVER_PERMISSIONS))
EACH = 1 if os.environ.get("MAILSTEAD_EVERY_CONTEXT") else 3
"""Every right is walked through each third context, another third than its neighbour's; `make soak` walks them all."""


def _paths(permission: str) -> tuple[tuple[str, ...], ...]:
    if permission in SERVER_FORM.values():
        return ((),)  # Further down it is the right on the domain.
    every = (*PATHS, *STORED)
    if not permission:
        return every
    first = ((), (DOMAIN,))
    return (*first, *(path for path in every[RIGHTS.index(permission) % EACH :: EACH] if path not in first))


@pytest.mark.timeout(900)
@pytest.mark.parametrize("permission", RIGHTS)
async def test_help_shows_what_may_be_done(face: Face, permission: str) -> None:
    face.endpoint.max_errors = 0
    await ground(face)
    await face.directory.create_admin("few", PASSWORD, actor=SYSTEM)
    if permission:
        await face.directory.grant("few", permission, "example.test" if permission in DOMAIN_PERMISSIONS else None, actor=SYSTEM)
    walk = Walk(face, await face.client("few"), await face.client())
    for path in _paths(permission):
        await walk.context(path)
    assert not walk.wrong, "\n".join(walk.wrong)
    assert walk.said > (40 if EACH == 1 or not permission else 20)
