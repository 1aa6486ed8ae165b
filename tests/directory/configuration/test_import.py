"""Reading a file: mistakes with their lines, what partial and complete files do, secrets, all or nothing."""

from __future__ import annotations

import contextlib
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailstead.directory import Actor, Directory
from mailstead.directory.configuration import (
    Applied,
    ConfigurationError,
    apply_changes,
    as_toml,
    compare,
    parse_configuration,
    read_configuration,
    untold_secrets,
)
from mailstead.directory.configuration.schema import SECTIONS
from mailstead.settings.declaration import ObjectKind
from mailstead.settings.declarations import OBJECT_KINDS
from tests.directory.conftest import ADMIN


def differences(directory: Directory, text: str) -> list[str]:
    parsed = parse_configuration(text.encode())
    present = read_configuration(directory.database, accounts=True, secrets=True)
    return [line for found in compare(present, parsed.root, parsed.complete) for line in found.lines()]


async def make(directory: Directory, text: str, actor: Actor = ADMIN) -> Applied:
    parsed = parse_configuration(text.encode())
    present = read_configuration(directory.database, accounts=True, secrets=True)
    return await apply_changes(directory, compare(present, parsed.root, parsed.complete), actor=actor)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[services.imap]\nmaxErors = 3", "line 2: services.imap has no setting 'maxErors'; is maxErrors meant?"),
        ("[services.imap]\nMAXERORS = 3", "line 2: services.imap has no setting 'MAXERORS'; is maxErrors meant?"),
        ("[services.imap]\n\nmaxErrors = -3", "line 3: services.imap: maxErrors: '-3' is not allowed; expected a number from 0"),
        ("[services.imap]\nmaxErrors = 'x'", "line 2: services.imap: maxErrors: 'x' is not allowed"),
        ("[services.imap]\nmaxErrors = true", "line 2: services.imap: maxErrors: expected a number"),
        ("[services.imap]\nallowStartTLS = 'yes'", "line 2: services.imap: allowStartTLS: expected true or false"),
        ("[services.imapp]\nmaxErrors = 3", "line 1: server has nothing named 'services.imapp'; is services.imap meant?"),
        ("x = 1", "line 1: server has nothing named 'x'"),
        ("services = 3", "line 1: services: expected a table"),
        ("[services]\nimap = 3", "line 2: services.imap: expected a table"),
        ("[domains]\nname = 'x.example'", "line 1: domains: expected tables, written as [[...domains]]"),
        ("[[domains]]\nenabled = true", "line 1: this domain has no name"),
        ("[[domains]]\nname = 'not a domain'", "line 1: domain: "),
        ("[[domains]]\nname = 'A.example'\n[[domains]]\nname = 'a.example'", "line 3: domain a.example is there twice"),
        ("[[domains]]\nname = 'a.example'\n[[domains.lists]]\nname='l'\nmoderate='me'", "line 5: list: moderate: 'me' is not"),
        ("[[listeners]]\nservice = 'imap'\naddress = '[fe80::1]:143'", "line 1: listener: address: link-local"),
        ("[[listeners]]\nservice = 'imapp'\naddress = '[::1]:143'", "line 1: listener: the service 'imapp' has no listeners"),
        ("[[objects.logRule]]\npriority = 0", "line 2: logRule: priority: '0' is not allowed"),
        ("format = 2", "line 1: format: this release reads format 1"),
        ("complete = ['everything']", "line 1: complete: expected a list of any of services"),
        ("[[", "not TOML: "),
        ("a = " + "[" * 5000, "not TOML: "),
        ("a = 1\na = 2", "not TOML: "),
    ],
)
def test_mistakes_are_told_with_their_lines(text: str, message: str) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        parse_configuration(text.encode())
    assert str(refusal.value).startswith(message)


def test_all_mistakes_are_told_at_once_up_to_a_number() -> None:
    lines = ["[services.imap]", *(f"wrong{number} = 1" for number in range(60))]
    with pytest.raises(ConfigurationError) as refusal:
        parse_configuration("\n".join(lines).encode())
    assert len(refusal.value.mistakes) == 50
    assert str(refusal.value).endswith("... and 10 more")
    with pytest.raises(ConfigurationError, match="line 2: not UTF-8"):
        parse_configuration(b"format = 1\n# \xff")


async def test_a_part_changes_only_what_it_names(directory: Directory) -> None:
    await directory.settings.set("imap", "maxErrors", "7", ADMIN)
    await directory.create_account("example.test", "anna", actor=ADMIN)
    text = '[services.imap]\nmaxAuthErrors = 3\n[[domains]]\nname = "EXAMPLE.test"\naliases = ["example.org"]\n'
    assert differences(directory, text) == [
        "~ services.imap.maxAuthErrors: 5 (default) -> 3",
        "~ domain example.test, aliases: () (default) -> (example.org)",
    ]
    await make(directory, text)
    values = directory.settings.service("imap")
    assert (values.maxErrors, values.maxAuthErrors) == (7, 3)
    assert directory.account_by_address("anna@example.org") is not None
    assert differences(directory, text) == []


async def test_a_complete_section_loses_what_the_file_does_not_have(directory: Directory) -> None:
    await directory.settings.set("imap", "maxErrors", "7", ADMIN)
    await directory.settings.set_account_default("imapConnectionCount", "3", ADMIN)
    await directory.settings.add_listener("pop3", "127.0.0.1:1110", {}, ADMIN)
    await directory.create_account("example.test", "anna", actor=ADMIN)
    assert differences(directory, 'complete = ["services", "listeners"]') == [
        "~ services.imap.maxErrors: 7 -> 20 (default)",
        "- listener pop3 127.0.0.1:1110",
    ]
    assert differences(directory, 'complete = ["domains"]') == ["- domain example.test with 1 accounts"]
    kept = 'complete = ["domains"]\n[[domains]]\nname = "example.test"'
    assert differences(directory, kept) == []
    assert differences(directory, kept.replace('"domains"', '"domains", "accounts"')) == [
        "- domain example.test, account anna"
    ]
    await make(directory, 'complete = ["services", "accountDefaults", "listeners", "domains"]')
    assert directory.settings.service("imap").maxErrors == 20
    assert directory.settings.account_defaults() == {}
    assert directory.settings.listeners("pop3") == []
    assert [one.name for one in directory.deleted_domains()] == ["example.test"]


async def test_the_default_of_a_listener_depends_on_its_service(directory: Directory) -> None:
    await directory.settings.add_listener("imap", "127.0.0.1:1143", {"idleTimeout": "60"}, ADMIN)
    where = '[[listeners]]\nservice = "imap"\naddress = "127.0.0.1:1143"\n'
    assert differences(directory, where + "idleTimeout = 300") == ["~ listener imap 127.0.0.1:1143, idleTimeout: 60 -> 300"]
    await make(directory, where + "idleTimeout = 300")
    assert directory.settings.listeners("imap")[0].idleTimeout == 300
    whole = 'complete = ["listeners"]\n' + where
    assert differences(directory, whole) == ["~ listener imap 127.0.0.1:1143, idleTimeout: 300 -> 1800 (default)"]
    await make(directory, whole)
    assert directory.settings.listeners("imap")[0].idleTimeout == 1800


async def test_one_refusal_undoes_everything_and_names_its_line(directory: Directory) -> None:
    text = (
        '[services.imap]\nmaxErrors = 9\n[[domains]]\nname = "example.test"\n[domains.settings]\nmaxGroups = 1\n'
        '[[domains.groups]]\nname = "a"\n[[domains.groups]]\nname = "A.alias"\n'
        '[[domains]]\nname = "other.example"\naliases = ["example.test"]\n'
    )
    before = as_toml(read_configuration(directory.database, accounts=True, secrets=True), SECTIONS)
    with pytest.raises(ConfigurationError, match=r"^line 11: the domain example.test already exists$"):
        await make(directory, text)
    assert as_toml(read_configuration(directory.database, accounts=True, secrets=True), SECTIONS) == before
    assert directory.settings.service("imap").maxErrors == 20
    assert directory.domain_by_name("other.example") is None


SUBDOMAIN = '[[domains]]\nname = "dev.above.test"\n[domains.settings]\nparentDomain = "above.test"\n'


async def test_a_subdomain_comes_with_its_parent_or_to_it(directory: Directory) -> None:
    with pytest.raises(ConfigurationError, match=r"^line 4: domain dev.above.test: parentDomain: the domain above.test does not"):
        await make(directory, SUBDOMAIN)
    assert directory.domain_by_name("dev.above.test") is None
    await make(directory, SUBDOMAIN + '[[domains]]\nname = "above.test"\n')
    assert [domain.name for domain in directory.subdomains(need(directory, "above.test"))] == ["dev.above.test"]
    await make(directory, SUBDOMAIN.replace("dev.", "more."))
    both = '[[domains]]\nname = "{}"\n[domains.settings]\nparentDomain = "nowhere.test"\n'
    with pytest.raises(ConfigurationError) as refusal:
        await make(directory, both.format("more.above.test") + both.format("dev.above.test"))
    assert [line for line, _ in refusal.value.mistakes] == [4, 8]
    assert directory.domain_settings(need(directory, "dev.above.test")).parentDomain == "above.test"
    exported = as_toml(read_configuration(directory.database, accounts=True, secrets=True), SECTIONS)
    assert differences(directory, exported) == []


async def test_a_complete_file_does_not_take_a_parent_from_below(directory: Directory) -> None:
    await make(directory, '[[domains]]\nname = "above.test"\naliases = ["also.test"]\n' + SUBDOMAIN)
    whole = 'complete = ["domains"]\n'
    with pytest.raises(ConfigurationError, match=r"^the domain above.test cannot go: dev.above.test is below it$"):
        await make(directory, whole + SUBDOMAIN)
    assert directory.domain_by_name("above.test") is not None
    await make(directory, whole + '[[domains]]\nname = "dev.above.test"\n')
    assert directory.domain_by_name("above.test") is None
    assert directory.domain_settings(need(directory, "dev.above.test")).parentDomain == ""


async def test_the_name_that_a_subdomain_knows_its_parent_by_does_not_go(directory: Directory) -> None:
    above = '[[domains]]\nname = "above.test"\naliases = ["also.test"]\n'
    await make(directory, above + SUBDOMAIN.replace('"above.test"', '"also.test"'))
    with pytest.raises(ConfigurationError, match=r"^the domain also.test cannot go: dev.above.test is below it$"):
        await make(directory, above.replace('"also.test"', ""))
    assert directory.domain_aliases(need(directory, "above.test")) == ["also.test"]


async def test_what_was_without_its_parent_stops_no_import(directory: Directory) -> None:
    await make(directory, '[[domains]]\nname = "above.test"\n' + SUBDOMAIN)
    await directory.delete_domain("above.test", actor=ADMIN)
    await make(directory, SUBDOMAIN + "[services.imap]\nmaxErrors = 9\n")
    assert directory.settings.service("imap").maxErrors == 9
    await make(directory, '[[domains]]\nname = "above.test"\n')
    assert directory.orphans() == []


def need(directory: Directory, name: str) -> int:
    domain = directory.domain_by_name(name)
    assert domain is not None
    return domain.id


async def test_rules_between_settings_hold(directory: Directory) -> None:
    with pytest.raises(ConfigurationError, match="schedInterval must be below maxSchedInterval"):
        await make(directory, "[services.processing]\nschedInterval = 600\nmaxSchedInterval = 500")
    await make(directory, "[services.processing]\nschedInterval = 30\nmaxSchedInterval = 50")
    assert directory.settings.service("processing").maxSchedInterval == 50


async def test_secrets_that_are_not_told_stay(directory: Directory) -> None:
    await directory.settings.set("smtpOutgoing", "smartHostPassword", "hush-hush", ADMIN)
    await directory.create_admin("root", "rootroot-1", actor=ADMIN, everything=True)
    account = await directory.create_account("example.test", "anna", "anna-anna-1", actor=ADMIN)
    password = directory.credentials(account.id)
    text = as_toml(read_configuration(directory.database, accounts=True), SECTIONS)
    assert "hush" not in text
    assert "argon2" not in text
    assert text.count('"(secret)"') == 6  # the head's, one setting, and two forms of two passwords
    assert differences(directory, text) == []
    changed = text.replace("[services.smtpOutgoing]", '[services.smtpOutgoing]\nhostname = "mx.example"')
    await make(directory, changed)
    assert directory.settings.service("smtpOutgoing").smartHostPassword == "hush-hush"
    assert directory.credentials(account.id) == password


async def test_secrets_that_are_not_there_are_told(directory: Directory) -> None:
    applied = await make(
        directory,
        '[services.smtpOutgoing]\nsmartHostPassword = "(secret)"\n[[administrators]]\nname = "root"\npassword = "(secret)"\n'
        '[[objects.ldapConnector]]\nname = "ad"\nbindPass = "(secret)"\n',
    )
    assert applied.notes == [
        "ldapConnector ad: bindPass is not in the file, and has to be set",
        "administrator root: password is not in the file, and has to be set",
    ]
    assert directory.settings.service("smtpOutgoing").smartHostPassword == ""
    parsed = parse_configuration(b'[services.smtpOutgoing]\nsmartHostPassword = "(secret)"')
    present = read_configuration(directory.database, secrets=True)
    assert untold_secrets(present, parsed.root, parsed.complete) == ["services.smtpOutgoing.smartHostPassword"]


async def test_differences_never_show_a_secret(directory: Directory) -> None:
    text = '[services.smtpOutgoing]\nsmartHostPassword = "hush-hush"\n[[objects.ldapConnector]]\nname = "ad"\nbindPass = "hush"\n'
    shown = differences(directory, text)
    assert shown[0] == "~ services.smtpOutgoing.smartHostPassword: (none) -> (secret)"
    assert "hush" not in "".join(shown)
    await make(directory, text)
    rows = directory.database.query("SELECT old, new FROM history")
    assert "hush" not in str(rows)


async def test_an_import_asks_for_the_rights_of_who_imports(directory: Directory) -> None:
    junior = Actor("junior", server=frozenset({"manageIMAP"}))
    await make(directory, "[services.imap]\nmaxErrors = 9", junior)
    with pytest.raises(ConfigurationError, match="junior lacks the permission managePOP3"):
        await make(directory, "[services.imap]\nmaxErrors = 8\n[services.pop3]\nmaxErrors = 9", junior)
    assert directory.settings.service("imap").maxErrors == 9


async def test_members_and_lists_follow_the_file(directory: Directory) -> None:
    await directory.create_group("example.test", "all", ["a@x.example", "b@x.example"], actor=ADMIN)
    head = 'complete = ["domains"]\n[[domains]]\nname = "example.test"\n[[domains.groups]]\nname = "all"\n'
    text = head + '[domains.groups.members]\n"b@x.example" = "Bob"\n"c@x.example" = ""\n'
    assert differences(directory, text) == [
        "~ domain example.test, group all, members.b@x.example: (empty) -> Bob",
        "+ domain example.test, group all, members.c@x.example: (nothing) -> (empty)",
        "- domain example.test, group all, members.a@x.example: (empty) -> (nothing)",
    ]
    await make(directory, text)
    assert differences(directory, text) == []


OWNED = """\
[[objects.smsConnector]]
name = "gate"
url = "https://sms.example/send"

[objects.smsConnector.auth]
type = "bearer"
token = "hush"

[[objects.smsConnector.staticParam]]
name = "from"
value = "us"

[[webmailObjects.urlRedirect]]
address = "127.0.0.1:80"
port = 8443

[[domains]]
name = "example.test"

[domains.migrationData]
remoteImapHost = "old.example"

[domains.texts]
appenderHtml = \"\"\"
<p>one</p>
<p>two</p>\"\"\"

[[domains.objects.preset]]
name = "strict"

[[domains.objects.preset.presetFilter]]
name = "spam"
enabled = false

[[domains.lists]]
name = "news"
digestMembers = ["a@x.example"]

[domains.lists.members]
"a@x.example" = "A"
"b@x.example" = ""

[domains.lists.quotas]
totalMessageSize = 1000

[domains.lists.texts]
welcome = "Hello"
"""


async def test_what_objects_own_goes_with_them(directory: Directory) -> None:
    await make(directory, OWNED)
    assert differences(directory, OWNED) == []
    text = as_toml(read_configuration(directory.database, secrets=True), SECTIONS)
    for line in OWNED.splitlines():
        assert line in text
    assert "hush" not in as_toml(read_configuration(directory.database), SECTIONS)
    assert "hush" not in str(directory.database.query("SELECT old, new FROM history"))
    changed = OWNED.replace('value = "us"', 'value = "them"').replace("enabled = false", "").replace('"bearer"', '"basic"')
    whole = f'complete = ["objects", "domains"]\n{changed}'
    assert differences(directory, whole) == [
        "~ smsConnector gate, auth.type: bearer -> basic",
        "~ smsConnector gate, staticParam from, value: us -> them",
        "~ domain example.test, preset strict, presetFilter spam, enabled: no -> yes (default)",
    ]
    await make(directory, whole)
    assert differences(directory, whole) == []
    await make(directory, 'complete = ["objects"]')
    assert directory.database.query("SELECT kind FROM object WHERE scope <> 'domainConfig' AND kind <> 'presetFilter'") == []
    assert directory.database.query("SELECT name FROM setting WHERE scope = 'object'") == []
    assert "sms" not in as_toml(read_configuration(directory.database, secrets=True), SECTIONS)


async def test_texts_of_a_list_are_checked(directory: Directory) -> None:
    with pytest.raises(ConfigurationError, match="list has no text 'welcom'"):
        await make(directory, OWNED.replace("welcome =", "welcom ="))
    assert directory.database.query("SELECT 1 FROM object") == []


@given(st.binary(max_size=300))
def test_any_octets_are_a_tree_or_mistakes(octets: bytes) -> None:
    with contextlib.suppress(ConfigurationError):
        parse_configuration(octets)


@given(st.integers(0, len(OWNED) - 1), st.integers(0, 30), st.text(max_size=12))
def test_a_damaged_file_is_a_tree_or_mistakes(start: int, length: int, text: str) -> None:
    with contextlib.suppress(ConfigurationError):
        parse_configuration((OWNED[:start] + text + OWNED[start + length :]).encode("utf-8", "replace"))


EVERYWHERE = [(kind, owner) for kind in OBJECT_KINDS.values() for owner in kind.owners]


@pytest.mark.parametrize(("kind", "owner"), EVERYWHERE, ids=[f"{kind.name} of {owner}" for kind, owner in EVERYWHERE])
async def test_every_kind_of_object_is_exported_under_every_owner(directory: Directory, kind: ObjectKind, owner: str) -> None:
    domain = directory.domain_by_name("example.test")
    assert domain is not None
    created = await directory.create_account_class("example.test", "vip", actor=ADMIN)
    account = await directory.create_account("example.test", "anna", actor=ADMIN)
    group = await directory.create_group("example.test", "all", actor=ADMIN)
    admin = await directory.create_admin("root", "rootroot-1", actor=ADMIN)
    parents = {"presetFilter": ("preset", "domain", domain.id), "staticParam": ("smsConnector", "service", 0)}
    ids = {
        "domainConfig": domain.id, "domain": domain.id, "class": created.id, "account": account.id, "recipient": group.id,
        "admin": admin.id,
    }  # fmt: skip
    objects = directory.settings.objects
    if owner == "object":
        parent, scope, number = parents[kind.name]
        ids["object"] = 77
        await directory.database.write(objects.adder(OBJECT_KINDS[parent], {"name": "p"}, "test", scope, number, 77))
    samples = {"host": "h.example", "delegateName": "a@x.example", "priority": "7"}
    key = "127.0.0.1:80" if kind.key == "address" else samples.get(kind.key, "some-key")
    await directory.database.write(objects.adder(kind, {kind.key: key}, "test", owner, ids.get(owner, 0), 78))
    await directory.database.write(
        lambda transaction: transaction.execute("INSERT INTO content VALUES ('object', 78, 'script', 'keep;')")
    )
    left_out: Counter[str] = Counter()
    text = as_toml(read_configuration(directory.database, accounts=True, secrets=True, left_out=left_out), SECTIONS)
    assert not left_out
    assert key in text
    assert 'script = "keep;"' in text
    parsed = parse_configuration(text.encode())
    await make(directory, f"complete = {list(SECTIONS)!r}")
    assert directory.database.query("SELECT 1 FROM object") == []
    assert directory.database.query("SELECT 1 FROM content") == []
    present = read_configuration(directory.database, accounts=True, secrets=True)
    await apply_changes(directory, compare(present, parsed.root, parsed.complete), actor=ADMIN)
    assert as_toml(read_configuration(directory.database, accounts=True, secrets=True), SECTIONS) == text


async def test_rows_of_another_release_are_counted(directory: Directory) -> None:
    await directory.database.write(
        lambda transaction: transaction.execute(
            "INSERT INTO setting VALUES ('service', 0, 'imap.telepathy', 'yes'), ('service', 0, 'imap.maxErrors', '7')"
        )
    )
    left_out: Counter[str] = Counter()
    read_configuration(directory.database, left_out=left_out)
    assert dict(left_out) == {"setting service imap.telepathy": 1}


async def test_the_last_administrator_gives_way_to_a_successor_only(directory: Directory) -> None:
    await directory.create_admin("root", "rootroot-1", actor=ADMIN, everything=True)
    with pytest.raises(ConfigurationError, match="the last administrator with every right must stay"):
        await make(directory, 'complete = ["administrators"]')
    await make(directory, 'complete = ["administrators"]\n[[administrators]]\nname = "heir"\neverything = true\n')
    assert [(one.name, one.everything) for one in directory.admins()] == [("heir", True)]


async def test_permissions_on_a_domain_go_with_it(directory: Directory) -> None:
    await directory.create_admin("root", "rootroot-1", actor=ADMIN, everything=True)
    await directory.create_admin("hoster", "hosthost-1", actor=ADMIN)
    before = as_toml(read_configuration(directory.database, accounts=True, secrets=True), SECTIONS)
    await directory.create_domain("y.test", actor=ADMIN)
    await directory.grant("hoster", "manageAccounts", "y.test", actor=ADMIN)
    await directory.grant("hoster", "manageAccounts", "example.test", actor=ADMIN)
    assert differences(directory, before) == [
        "- administrator hoster, permissions example.test",
        "- administrator hoster, permissions y.test",
        "- domain y.test",
    ]
    await make(directory, before)
    assert differences(directory, before) == []
    assert [one.name for one in directory.deleted_domains()] == ["y.test"]


async def test_permissions_that_are_given_on_a_removed_domain_are_refused_at_their_line(directory: Directory) -> None:
    await directory.create_domain("y.test", actor=ADMIN)
    await directory.create_admin("root", "rootroot-1", actor=ADMIN, everything=True)
    await directory.create_admin("hoster", "hosthost-1", actor=ADMIN)
    await directory.grant("hoster", "manageAccounts", "y.test", actor=ADMIN)
    text = (
        'complete = ["domains"]\n[[domains]]\nname = "example.test"\n[[administrators]]\nname = "hoster"\n'
        '[[administrators.permissions]]\ndomain = "y.test"\ngrant = ["manageGroups"]\n'
    )
    with pytest.raises(ConfigurationError, match=r"^line 8: the domain y.test does not exist$"):
        await make(directory, text)


WISHES = """
format = 1
[[domains]]
name = "example.test"
[[domains.lists]]
name = "news"
DIGEST
NOMAIL
[domains.lists.members]
"a@x.example" = ""
"""


async def test_wishes_of_members_are_what_the_file_says_last(directory: Directory) -> None:
    """However an address is spelled, and whoever is a member no longer."""

    async def wishes(text: str) -> list[tuple[str, int, int]]:
        await make(directory, text)
        return directory.database.query("SELECT key, digest, nomail FROM member ORDER BY key")

    text = WISHES.replace("DIGEST\n", "").replace("NOMAIL", 'nomailMembers = ["a@x.example"]')
    assert await wishes(text) == [("a@x.example", 0, 1)]
    both = WISHES.replace("DIGEST", 'digestMembers = ["A@x.example"]').replace("NOMAIL", 'nomailMembers = ["A@x.example"]')
    assert await wishes(both) == [("a@x.example", 1, 1)]
    left = WISHES.replace("DIGEST", "digestMembers = []").replace("NOMAIL", "nomailMembers = []")
    left = left.replace("format = 1", 'complete = ["domains"]').replace('"a@x.example"', '"b@x.example"')
    assert await wishes(left) == [("b@x.example", 0, 0)]
