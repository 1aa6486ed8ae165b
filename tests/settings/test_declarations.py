"""Every declared setting: its default is allowed, what it renders it parses, and refusals are precise."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailstead.settings import InvalidValueError
from mailstead.settings.database import SECRET_FIELDS
from mailstead.settings.declaration import Context, Kind, Reload, Setting, form, words
from mailstead.settings.declarations import (
    ACCESS_LIMITS,
    ACCOUNT,
    ACCOUNT_DATA_CONTEXTS,
    DOMAIN,
    DOMAIN_CONTEXTS,
    FACTORY_OBJECTS,
    LISTENER,
    OBJECT_KINDS,
    RECIPIENT_CONTEXTS,
    SERVICE_CONTEXTS,
    SMS_CONNECTOR_AUTH,
)
from mailstead.settings.permissions import DOMAIN_PERMISSIONS, SERVER_PERMISSIONS

CONTEXTS = (
    *SERVICE_CONTEXTS.values(),
    ACCOUNT,
    DOMAIN,
    LISTENER,
    ACCESS_LIMITS,
    SMS_CONNECTOR_AUTH,
    *DOMAIN_CONTEXTS.values(),
    *ACCOUNT_DATA_CONTEXTS.values(),
    *RECIPIENT_CONTEXTS.values(),
    *(kind.context for kind in OBJECT_KINDS.values()),
)
FORMS = (
    Kind.TIME, Kind.DATE, Kind.EMAIL, Kind.URL, Kind.HOST, Kind.HOST_PORT, Kind.IP_PORT, Kind.ZONE, Kind.FILE_NAME, Kind.DIRECTORY,
    Kind.CIPHERS,
)  # fmt: skip
ALL: list[tuple[Context, Setting]] = [(context, setting) for context in CONTEXTS for setting in context.settings]
"""Every declaration there is."""


@pytest.mark.parametrize("context", CONTEXTS, ids=lambda context: f"{context.scope}:{context.name}")
def test_every_default_is_allowed_and_survives_storage(context: Context) -> None:
    for setting in context.settings:
        assert setting.parse(setting.render(setting.default)) == setting.default, setting.name
        assert context.setting(setting.name.upper()) is setting
        assert setting.help, setting.name
        assert "\n" not in setting.help and len(setting.help) < 100, setting.name
        assert isinstance(setting.reload, Reload)


@pytest.mark.parametrize("context", CONTEXTS, ids=lambda context: f"{context.scope}:{context.name}")
def test_changing_needs_a_permission_that_exists(context: Context) -> None:
    known = SERVER_PERMISSIONS if context.scope == "service" else DOMAIN_PERMISSIONS
    if context.scope == "domainConfig":
        known = known | {"activateAnyDomain"}  # What a domain's own administrator cannot free it from.
    if context.scope == "object":
        known = SERVER_PERMISSIONS | DOMAIN_PERMISSIONS
    assert context.permission in known
    assert {context.permission_for(setting) for setting in context.settings} <= known


@pytest.mark.parametrize("name", OBJECT_KINDS)
def test_kinds_of_objects_ask_by_their_owner(name: str) -> None:
    kind = OBJECT_KINDS[name]
    assert kind.owners
    assert set(kind.permissions) <= {*kind.owners, "service", "domainConfig", "domain", "class", "account", "recipient"}
    assert {kind.permission_for(owner) for owner in kind.owners} <= SERVER_PERMISSIONS | DOMAIN_PERMISSIONS


def test_secrets_are_known_to_the_history_by_their_names() -> None:
    assert {setting.name for _context, setting in ALL if setting.kind is Kind.SECRET} <= SECRET_FIELDS


@pytest.mark.parametrize("name", FACTORY_OBJECTS)
def test_objects_of_a_new_server_are_allowed(name: str) -> None:
    kind = OBJECT_KINDS[name]
    keys = [kind.key_of(attributes[kind.key]) for attributes in FACTORY_OBJECTS[name]]
    assert len(keys) == len(set(keys)) <= kind.limit
    for attributes in FACTORY_OBJECTS[name]:
        for attribute, text in attributes.items():
            kind.context.setting(attribute).parse(text)


@pytest.mark.parametrize(
    ("service", "name", "value"),
    [
        ("imap", "maxErrors", 20),
        ("imap", "maxAuthErrors", 5),
        ("imap", "plainConnAllowLogin", False),
        ("imap", "secureConnAllowLogin", True),
        ("smtpIncoming", "maxDataSize", 10_240),
        ("smtpIncoming", "maxRcptCount", 1000),
        ("smtpIncoming", "maxReceivedHeaders", 30),
        ("smtpIncoming", "remoteDelivery", "auth"),
        ("smtpOutgoing", "enableIPv6", False),
        ("processing", "schedInterval", 300),
        ("processing", "maxSchedInterval", 28_800),
        ("processing", "maxRetryCount", 20),
        ("smtpOutgoing", "ndrRetryCount", 4),
        ("dnr", "timeout", 5),
        ("dnr", "retries", 3),
        ("server", "pop3ExclusiveLock", True),
        ("server", "recoverableSecrets", False),
        ("server", "retentionDays", 14),
    ],
)
def test_documented_defaults(service: str, name: str, value: object) -> None:
    assert SERVICE_CONTEXTS[service].setting(name).default == value


@pytest.mark.parametrize(
    ("service", "name", "text", "message"),
    [
        ("imap", "maxErrors", "-1", "maxErrors: '-1' is not allowed; expected a number from 0 to 10000"),
        ("imap", "maxErrors", "many", "expected a number"),
        ("imap", "maxErrors", "٣", "expected a number"),
        ("imap", "allowStartTLS", "perhaps", "expected yes/no"),
        ("smtpIncoming", "remoteDelivery", "everyone", "one of none, auth, all"),
        ("imap", "plainConnAuthTypes", "(plain telepathy)", "any of plain"),
        ("smtpOutgoing", "localAddress", "300.1.1.1", "IP address"),
        ("smtpIncoming", "smtpGreeting", "x" * 401, "0 to 400 characters"),
        ("smtpIncoming", "smtpGreeting", "a\nb", "line breaks"),
        ("imap", "logHost", "localhost", "host:port"),
        ("initialAccountSettings", "startWorkingTime", "25:00", "a time of day, hh:mm"),
        ("server", "defaultTimezone", "Europe", "a time zone such as Europe/Berlin"),
        ("server", "postmasterStatisticsEmailAddress", "anna", "an e-mail address"),
        ("server", "indexAutoRescheduleTimeout", "sometimes", "31536000 seconds, or never, or apocalypse"),
        ("autodiscoveryUrls", "imapAutodiscoveryUrl", "https://x.example", "a URL with imap or imaps"),
    ],
)
def test_refusals_name_setting_value_and_what_is_allowed(service: str, name: str, text: str, message: str) -> None:
    with pytest.raises(InvalidValueError) as refusal:
        SERVICE_CONTEXTS[service].setting(name).parse(text)
    assert name in str(refusal.value)
    assert message in str(refusal.value)


def test_secret_values_are_not_in_the_refusal() -> None:
    setting = SERVICE_CONTEXTS["smtpOutgoing"].setting("smartHostPassword")
    with pytest.raises(InvalidValueError) as refusal:
        setting.parse("geheim" * 100)
    assert "geheim" not in str(refusal.value)


@given(st.sampled_from(ALL), st.text(max_size=60))
def test_any_text_is_a_typed_value_or_a_refusal(declared: tuple[Context, Setting], text: str) -> None:
    setting = declared[1]
    try:
        value = setting.parse(text)
    except InvalidValueError:
        return
    assert setting.parse(setting.render(value)) == value
    if setting.kind is Kind.INT:
        assert isinstance(value, int)
        assert setting.minimum <= value <= setting.maximum


@given(st.frozensets(st.sampled_from(SERVICE_CONTEXTS["imap"].setting("plainConnAuthTypes").choices)))
def test_choice_sets_come_back_in_any_order_and_case(chosen: frozenset[str]) -> None:
    setting = SERVICE_CONTEXTS["imap"].setting("plainConnAuthTypes")
    assert setting.parse("( " + "  ".join(word.upper() for word in sorted(chosen)) + " )") == chosen


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (Kind.TIME, "8:05", "08:05:00"),
        (Kind.TIME, "23:59:59", "23:59:59"),
        (Kind.DATE, "20 jun 2018", "20 Jun 2018"),
        (Kind.DATE, "2018-06-20", "20 Jun 2018"),
        (Kind.DATE, "Wed, 20 Jun 2018 02:15:34 +0300", "Wed, 20 Jun 2018 02:15:34 +0300"),
        (Kind.EMAIL, "anna@bücher.example", "anna@bücher.example"),
        (Kind.URL, "https://[::1]:8443/a?b=c", "https://[::1]:8443/a?b=c"),
        (Kind.HOST, "[2001:DB8::1]", "2001:db8::1"),
        (Kind.HOST, "mail.example.org.", "mail.example.org"),
        (Kind.HOST_PORT, "[2001:db8:0::1]:025", "[2001:db8::1]:25"),
        (Kind.IP_PORT, "9.9.9.9", "9.9.9.9"),
        (Kind.IP_PORT, "[::1]:5353", "[::1]:5353"),
        (Kind.ZONE, "Europe/Berlin", "Europe/Berlin"),
    ],
)
def test_forms_of_values(kind: Kind, text: str, value: str) -> None:
    setting = form("some", kind, "", "help")
    assert setting.parse(text) == value
    assert setting.parse(value) == value
    assert setting.parse("") == ""


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (Kind.TIME, "8"),
        (Kind.TIME, "08:60"),
        (Kind.DATE, "31 Feb 2018"),
        (Kind.DATE, "20 Foo 2018"),
        (Kind.DATE, "yesterday"),
        (Kind.EMAIL, "Anna <anna@x.example>"),
        (Kind.EMAIL, "a b@x.example"),
        (Kind.EMAIL, "a@-x.example"),
        (Kind.URL, "example.org/path"),
        (Kind.URL, "javascript:alert(1)"),
        (Kind.URL, "https://a b/"),
        (Kind.URL, "https://host:99999/"),
        (Kind.HOST, "300.1.1.1"),
        (Kind.HOST, "a..b"),
        (Kind.HOST_PORT, "::1:25"),
        (Kind.HOST_PORT, "host:0"),
        (Kind.IP_PORT, "dns.example:53"),
        (Kind.ZONE, "../../etc/passwd"),
        (Kind.ZONE, "Mars/Olympus"),
    ],
)
def test_what_is_no_such_value(kind: Kind, text: str) -> None:
    with pytest.raises(InvalidValueError):
        form("some", kind, "", "help").parse(text)


def test_an_empty_set_may_have_a_word_of_its_own() -> None:
    setting = LISTENER.setting("proxyProtocol")
    assert setting.render(frozenset()) == "disabled"
    assert setting.parse("disabled") == setting.parse("()") == frozenset()
    assert setting.parse("(allowV2 isOptional)") == {"allowV2", "isOptional"}


def test_words_with_blanks_are_quoted() -> None:
    setting = words("folders", (), "help")
    assert setting.parse('(Trash "Deleted Items", "a \\"b\\"")') == ("Trash", "Deleted Items", 'a "b"')
    with pytest.raises(InvalidValueError, match="two words"):
        setting.parse('(Trash "Deleted Items)')


@given(st.lists(st.text(alphabet=st.characters(exclude_characters="\x00\r\n", exclude_categories=["Cs"]), max_size=12), max_size=8))
def test_any_list_of_words_survives_storage(chosen: list[str]) -> None:
    setting = words("folders", (), "help")
    assert setting.parse(setting.render(tuple(chosen))) == tuple(chosen)


@given(st.sampled_from(FORMS), st.text(alphabet="ab.-:[]0123456789/@h tps ,+JanFeb", max_size=30))
def test_canonical_forms_are_given_back_unchanged(kind: Kind, text: str) -> None:
    setting = form("some", kind, "", "help")
    try:
        value = setting.parse(text)
    except InvalidValueError:
        return
    assert setting.parse(setting.render(value)) == value


def test_log_files_stay_in_their_place_and_keep_to_the_ranges() -> None:
    """LOG-02; whoever may set a path of the log must not be able to have lines written into certificates or databases."""
    log, rule = SERVICE_CONTEXTS["log"], OBJECT_KINDS["logRule"].context
    assert log.setting("path").parse("logs/of-mail/") == "logs/of-mail"
    own = ("index", "INDEX", "certs/x", "log", "keys", "run", "a/../tmp", "index /")
    for path in ("", ".", ". /", "/etc", "../x", "logs/../..", *own):
        with pytest.raises(InvalidValueError, match=r"path: .* expected a directory under the data directory"):
            log.setting("path").parse(path)
    assert rule.setting("fileName").parse("imap of today.txt") == "imap of today.txt"
    for name in ("", "../evil.txt", "a/b", ".hidden", "x" * 65, "a\\b"):
        with pytest.raises(InvalidValueError, match=r"fileName: .* expected a file name"):
            rule.setting("fileName").parse(name)
    for context in (log, rule):
        assert context.setting("fileSize").parse("0") == 0 and context.setting("fileSize").parse("100") == 100
        with pytest.raises(InvalidValueError, match="expected a number from 100 to 2097151, or 0, KB"):
            context.setting("fileSize").parse("99")
        assert context.setting("fileTime").parse("600") == 600 and context.setting("fileTime").parse("0") == 0
        with pytest.raises(InvalidValueError, match="expected a number from 600 to 2592000, or 0, seconds"):
            context.setting("fileTime").parse("599")
    assert rule.setting("module").parse("managesieve") == "MANAGESIEVE"


def test_keys_are_long_enough_or_absent_and_ciphers_are_known() -> None:
    """SMO-15, STO-03, LIS-06."""
    server = SERVICE_CONTEXTS["server"]
    for name, least in (("srsSecretKey", 10), ("serverSecretKey", 32)):
        assert server.setting(name).parse("") == "" and server.setting(name).parse("a" * least) == "a" * least
        with pytest.raises(InvalidValueError, match=f"{name}: expected {least} to 255 characters, or none"):
            server.setting(name).parse("a" * (least - 1))
    ciphers = LISTENER.setting("cipherSuite")
    assert ciphers.parse("HIGH:!aNULL") == "HIGH:!aNULL"
    for text in ("NOSUCH", "!ALL"):
        with pytest.raises(InvalidValueError, match=r"cipherSuite: .* expected a list of ciphers that OpenSSL knows"):
            ciphers.parse(text)
