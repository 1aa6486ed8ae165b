"""Every declared setting: its default is allowed, what it renders it parses, and refusals are precise."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailstead.settings import InvalidValueError
from mailstead.settings.declaration import Context, Kind, Setting
from mailstead.settings.declarations import ACCESS_LIMITS, ACCOUNT, DOMAIN, LISTENER, SERVICE_CONTEXTS

ALL: list[tuple[Context, Setting]] = [
    (context, setting)
    for context in (*SERVICE_CONTEXTS.values(), ACCOUNT, DOMAIN, LISTENER, ACCESS_LIMITS)
    for setting in context.settings
]


@pytest.mark.parametrize(("context", "setting"), ALL, ids=[f"{c.name}.{s.name}" for c, s in ALL])
def test_default_is_allowed_and_survives_storage(context: Context, setting: Setting) -> None:
    assert setting.parse(setting.render(setting.default)) == setting.default
    assert context.setting(setting.name.upper()) is setting
    assert setting.help


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
