"""Export, import into an empty server, export: the same text, whatever the configuration."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
import tomllib
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mailstead.directory import Actor, Directory
from mailstead.directory.configuration import (
    SECRET,
    apply_changes,
    as_toml,
    compare,
    parse_configuration,
    read_configuration,
)
from mailstead.directory.configuration.schema import SECTIONS
from mailstead.directory.configuration.toml_lines import line_numbers
from mailstead.directory.model import RecipientEdit, RecipientKind
from mailstead.settings import InvalidValueError
from mailstead.settings.database import Transaction
from mailstead.settings.declaration import Context, Kind, Setting
from mailstead.settings.declarations import (
    ACCOUNT,
    ACCOUNT_DATA_CONTEXTS,
    DOMAIN,
    DOMAIN_CONTEXTS,
    FACTORY_OBJECTS,
    OBJECT_KINDS,
    SERVICE_CONTEXTS,
)
from mailstead.settings.edits import Pending, place_of
from mailstead.settings.factory import factory_objects

ADMIN = Actor.system("test")
LINE = st.text(alphabet=st.characters(exclude_characters="\x00\r\n", exclude_categories=["Cs"]), max_size=20)
FORMS = {
    Kind.TIME: ("08:30:00", "23:59:59"),
    Kind.DATE: ("20 Jun 2018", "Wed, 20 Jun 2018 02:15:34 +0300"),
    Kind.EMAIL: ("anna@example.org", "ä@bücher.example"),
    Kind.HOST: ("mail.example.org", "2001:db8::1"),
    Kind.HOST_PORT: ("127.0.0.1:2001", "[::1]:25"),
    Kind.IP_PORT: ("9.9.9.9", "[::1]:53"),
    Kind.ZONE: ("Europe/Berlin", "UTC"),
    Kind.ADDRESS: ("192.0.2.1", "2001:db8::2"),
    Kind.FILE_NAME: ("default.txt", "mail @1.log"),
    Kind.DIRECTORY: ("logs", "logs/mail"),
    Kind.CIPHERS: ("HIGH:!aNULL", "ECDHE-RSA-AES128-GCM-SHA256"),
}


def test_every_kind_has_forms() -> None:
    """A kind that is new would be met by a rare draw only."""
    drawn = {Kind.BOOL, Kind.INT, Kind.CHOICE, Kind.CHOICE_SET, Kind.LIST, Kind.URL, Kind.TEXT, Kind.SECRET}
    assert drawn | set(FORMS) >= set(Kind)


def text_of(setting: Setting) -> st.SearchStrategy[str]:
    """Texts that the declaration allows."""
    match setting.kind:
        case Kind.BOOL:
            return st.sampled_from(["yes", "no"])
        case Kind.INT:
            numbers = st.integers(setting.minimum, setting.maximum).map(str)
            return numbers | st.sampled_from([*setting.choices, str(setting.minimum)])
        case Kind.CHOICE:
            return st.sampled_from(setting.choices)
        case Kind.CHOICE_SET:
            return st.sets(st.sampled_from(setting.choices)).map(lambda chosen: setting.render(frozenset(chosen)))
        case Kind.LIST:
            return st.lists(LINE, max_size=4).map(lambda words: setting.render(tuple(words)))
        case Kind.URL:
            return st.sampled_from([f"{scheme}://h.example:1/x" for scheme in setting.choices or ("https",)])
        case Kind.TEXT | Kind.SECRET:
            return LINE.filter(lambda text: setting.minimum <= len(text) <= setting.maximum and text != SECRET)
        case kind:
            return st.sampled_from(FORMS[kind])


#: Pairs of settings with rules between them, what names another domain, and what ends the test's own rights.
LEFT_OUT = {"schedInterval", "maxSchedInterval", "availableServices", "parentDomain"}
LEFT_OUT |= {setting.name for setting in DOMAIN.settings if setting.name.startswith("max")}


def values_of(context: Context) -> st.SearchStrategy[dict[str, str]]:
    """Some values of a context."""
    declared = [setting for setting in context.settings if setting.name not in LEFT_OUT]
    chosen = st.lists(st.sampled_from(declared), max_size=4, unique_by=lambda setting: setting.name)
    return chosen.flatmap(lambda found: st.fixed_dictionaries({one.name: text_of(one) for one in found}))


OBJECTS = [kind for kind in OBJECT_KINDS.values() if "service" in kind.owners and kind.name not in FACTORY_OBJECTS]


@st.composite
def configurations(draw: st.DrawFn) -> dict[str, Any]:
    """A plan of a configuration."""
    kinds = draw(st.lists(st.sampled_from(OBJECTS), max_size=4, unique_by=lambda kind: kind.name))
    return {
        "services": {
            name: draw(values_of(SERVICE_CONTEXTS[name]))
            for name in draw(st.lists(st.sampled_from(sorted(SERVICE_CONTEXTS)), max_size=5, unique=True))
        },
        "defaults": draw(values_of(ACCOUNT)),
        "objects": [
            (kind, {**draw(values_of(kind.context)), kind.key: draw(text_of(kind.context.setting(kind.key)))}) for kind in kinds
        ],
        "domain": draw(values_of(DOMAIN)),
        "named": {name: draw(values_of(context)) for name, context in DOMAIN_CONTEXTS.items()},
        "domainDefaults": draw(values_of(ACCOUNT)),
        "class": draw(values_of(ACCOUNT)),
        "account": draw(values_of(ACCOUNT)),
        "data": {name: draw(values_of(context)) for name, context in ACCOUNT_DATA_CONTEXTS.items()},
        "text": draw(st.text(alphabet=st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=60)),
        "members": draw(st.dictionaries(st.sampled_from(["a@x.example", "b@y.example", "c@example.org"]), LINE, max_size=3)),
        "enabled": draw(st.booleans()),
        "deny": draw(st.booleans()),
    }


async def build(directory: Directory, plan: dict[str, Any]) -> None:
    await directory.database.write(lambda transaction: factory_objects(transaction, "test"))
    domain = await directory.create_domain("example.org", actor=ADMIN)
    await directory.add_domain_alias("example.org", "bücher.example", actor=ADMIN)
    created = await directory.create_account_class("example.org", "vip", actor=ADMIN)
    account = await directory.create_account(
        "example.org", "anna", actor=ADMIN, full_name='Anna "A"', class_id=created.id,
        hash="{SSHA}0c0blFTXXNuAMHECS4uxrj3ZieMoWImr",
    )  # fmt: skip
    await directory.add_account_alias(account.id, "a.nna", actor=ADMIN)
    await directory.create_recipient(
        RecipientKind.LIST, "example.org", "news", {"moderate": "everybody"}, (), actor=ADMIN,
        edit=RecipientEdit(members_added=plan["members"], enabled=plan["enabled"], contents={"welcome": plan["text"]}),
    )  # fmt: skip
    await directory.create_recipient(
        RecipientKind.GROUP, "example.org", "all", {}, list(plan["members"]), actor=ADMIN, as_it_was=True
    )
    await directory.create_admin_group("helpers", actor=ADMIN, description="Help")
    await directory.grant("helpers", "manageAccounts", "example.org", actor=ADMIN)
    if plan["deny"]:
        await directory.deny("helpers", "manageIMAP", actor=ADMIN)
    change = directory.settings
    listener = await change.add_listener("imap", "[::1]:1143", {"idleTimeout": "300", "proxyProtocol": "allowV1"}, ADMIN)
    await change.add_access_rule("imap", "deny", "10.0.0.0/8", {"enable": "yes"}, ADMIN, listener_id=listener.id)
    await change.add_access_rule("global", "allow", "::1", {"maxConnections": "5", "priority": "7"}, ADMIN)
    pending = Pending()
    for name, values in plan["services"].items():
        fill(pending, SERVICE_CONTEXTS[name], values)
    fill(pending, ACCOUNT, plan["defaults"], scope="defaults")
    fill(pending, DOMAIN, plan["domain"], domain.id)
    for name, values in plan["named"].items():
        fill(pending, DOMAIN_CONTEXTS[name], values, domain.id)
    fill(pending, ACCOUNT, plan["domainDefaults"], domain.id, scope="domain")
    fill(pending, ACCOUNT, plan["class"], created.id, scope="class")
    fill(pending, ACCOUNT, plan["account"], account.id, scope="account")
    for name, values in plan["data"].items():
        fill(pending, ACCOUNT_DATA_CONTEXTS[name], values, account.id)
    pending.set_content(place_of(DOMAIN, domain.id, domain.id), "appenderHtml", plan["text"], "manageDomainConfig")
    await directory.commit(pending, actor=ADMIN, own=lambda _seq: True, as_it_was=True)
    for kind, attributes in plan["objects"]:
        with contextlib.suppress(InvalidValueError):  # an empty key
            await directory.database.write(directory.settings.objects.adder(kind, attributes, "test", "service"))


def fill(pending: Pending, context: Context, values: dict[str, str], number: int = 0, scope: str = "") -> None:
    for name, text in values.items():
        pending.set_value(place_of(context, number, 0, scope), context, context.setting(name), text)


def exported(directory: Directory) -> str:
    return as_toml(read_configuration(directory.database, accounts=True, secrets=True), SECTIONS)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(configurations())
def test_what_is_exported_makes_an_empty_server_the_same(plan: dict[str, Any]) -> None:
    async def run() -> None:
        with tempfile.TemporaryDirectory() as place, contextlib.ExitStack() as stack:
            first = Directory.open(Path(place) / "first", create=True)
            stack.callback(first.close)
            second = Directory.open(Path(place) / "second", create=True)
            stack.callback(second.close)
            await build(first, plan)
            text = exported(first)
            parsed = parse_configuration(text.encode())
            present = read_configuration(first.database, accounts=True, secrets=True)
            assert compare(present, parsed.root, parsed.complete) == []
            empty = read_configuration(second.database, accounts=True, secrets=True)
            applied = await apply_changes(second, compare(empty, parsed.root, parsed.complete), actor=ADMIN)
            assert applied.notes == []
            assert exported(second) == text
            await everything_goes(second)
            assert exported(second) == as_toml(empty, SECTIONS)

    asyncio.run(run())


async def everything_goes(directory: Directory) -> None:
    """A file that is complete and has nothing in it empties a server."""
    parsed = parse_configuration(f"complete = {list(SECTIONS)}".replace("'", '"').encode())
    present = read_configuration(directory.database, accounts=True, secrets=True)
    await apply_changes(directory, compare(present, parsed.root, parsed.complete), actor=ADMIN)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(configurations())
def test_every_line_that_is_told_is_the_line_of_that_name(plan: dict[str, Any]) -> None:
    async def run() -> str:
        with tempfile.TemporaryDirectory() as place:
            directory = Directory.open(Path(place), create=True)
            try:
                await build(directory, plan)
                root = read_configuration(directory.database, accounts=True, secrets=True)
                return as_toml(root, SECTIONS, everything=True)
            finally:
                directory.close()

    text = asyncio.run(run())
    lines = text.split("\n")
    found = line_numbers(text)
    assert set(paths(tomllib.loads(text))) <= set(found)
    for path, line in found.items():
        name = next(part for part in reversed(path) if isinstance(part, str))
        there = lines[line - 1]
        assert there.startswith((name, "[", '"'))
        if there.startswith("["):
            assert there.strip("[]").rpartition(".")[2] == name


def paths(values: object, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """Paths of all values that are neither tables nor lists of tables."""
    if isinstance(values, dict):
        return [one for name, value in values.items() for one in paths(value, (*path, name))]
    if isinstance(values, list) and values and all(isinstance(one, dict) for one in values):
        return [one for index, value in enumerate(values) for one in paths(value, (*path, index))]
    return [path]


def test_reading_and_writing_leaves_no_row_behind_when_it_is_tried_only() -> None:
    async def run() -> None:
        with tempfile.TemporaryDirectory() as place:
            directory = Directory.open(Path(place), create=True)
            try:
                parsed = parse_configuration(b'[services.imap]\nmaxErrors = 7\n[[domains]]\nname = "example.org"\n')
                present = read_configuration(directory.database)
                changes = compare(present, parsed.root, parsed.complete)
                await apply_changes(directory, changes, actor=ADMIN, dry_run=True)
                assert directory.settings.service("imap").maxErrors == 20
                assert directory.domains() == []
                assert await directory.database.write(_history_rows) == 0
            finally:
                directory.close()

    asyncio.run(run())


def _history_rows(transaction: Transaction) -> int:
    return int(transaction.value("SELECT count(*) FROM history"))
