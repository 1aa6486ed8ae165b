"""Settings that accounts and WebAdmin share: recovery addresses and two-factor logins (PWD-03, PWD-04)."""

from __future__ import annotations

from typing import Any

from mailstead.settings.declaration import Setting, boolean, choice, choice_set, integer, path, text

TWO_FACTOR_METHODS = ("email", "sms", "authApp")


def account_security(**more: Any) -> tuple[Setting, ...]:
    """PWD-03."""
    return (
        boolean("accountSecurityAlternativeEmailAddressEnabled", True, "A second address may be registered", **more),
        boolean("accountSecurityPhoneNumberEnabled", False, "A telephone number may be registered", **more),
        text("accountSecuritySmsConnector", "", "SMS connector that is used", longest=64, names="smsConnector", **more),
        boolean("accountSecurityMandatory", False, "Recovery data must be given at the next login", **more),
        integer("accountSecurityUpdateInterval", 180, 0, 36_500, "Time between reminders; 0 = none", "days", **more),
    )


def two_factor(default: str, **more: Any) -> tuple[Setting, ...]:
    """PWD-04."""
    states = ("disabled", "enabled", "mandatory")
    return (
        choice("twoFactorAuthEnabled", default, states, "Second factor at the login", **more),
        choice_set("twoFactorAuthCommunicationMethods", ("authApp",), TWO_FACTOR_METHODS, "Second factors on offer", **more),
        path("twoFactorAuthEmailFileName", "", "Template of the mail with a code; empty = the built-in one", **more),
        path("twoFactorAuthSmsFileName", "", "Template of the SMS with a code; empty = the built-in one", **more),
    )
