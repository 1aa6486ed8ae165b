"""Named objects of domains and accounts: presets, storage locations, reserved names, signatures, delegates, factors."""

from __future__ import annotations

from mailstead.settings.declaration import Kind, boolean, choice, form, integer, secret, text
from mailstead.settings.declarations.server_objects import kind, named

PRESET = kind(
    "preset", "name", (named("preset"),), "manageDomainFilters", "A preset of filters (FLT-18)",
    limit=100, owners=("domainConfig", "domain"),
)  # fmt: skip
PRESET_FILTER = kind(
    "presetFilter", "name", (named("filter"), boolean("enabled", True, "On in this preset")),
    "manageDomainFilters", "A filter of a preset", limit=100, owners=("object",),
)  # fmt: skip


SUBDOMAIN_LOCATION = kind(
    "subdomainMessageStorageLocation", "path",
    (text("path", "", "Kept for compatibility: all mail lies in the store", longest=4096),),
    "manageDomainAdminLimits", "Where mail of subdomains may lie", folded=False, limit=255, owners=("domainConfig",),
)  # fmt: skip
MESSAGES_LOCATION = kind(
    "messagesLocation", "path", (text("path", "", "Kept for compatibility: all mail lies in the store", longest=4096),),
    "manageDomainStorage", "Where mail of the domain lies (DOM-02)", folded=False, limit=255, owners=("domainConfig",),
)  # fmt: skip
RESERVED_RCPT = kind(
    "reservedRcpt", "rcpt", (text("rcpt", "", "Name that the domain's administrators may not give, or a pattern", longest=64),),
    "manageDomainAdminLimits", "A name kept free (ADM-02)", owners=("domainConfig",),
)  # fmt: skip

SIGNATURE = kind(
    "signature", "name",
    (named("signature"), choice("type", "text", ("text", "html"), "Form of the signature")),
    "manageAccountsWebmailOptions", "A signature (WML-09); its text is a content of the same name", limit=100,
    owners=("account", "recipient"), permissions={"recipient": "manageMailListsWebmailOptions"},
)  # fmt: skip

_RIGHTS = ("none", "r", "w", "rw")
DELEGATE = kind(
    "delegate", "delegateName",
    (
        form("delegateName", Kind.EMAIL, "", "Who may act"),
        choice("calendar", "none", _RIGHTS, "On the calendar"),
        choice("tasks", "none", _RIGHTS, "On the tasks"),
        choice("freebusy", "none", _RIGHTS, "On the free/busy times"),
    ),
    "manageAccounts", "Somebody who acts for an account (SHR-02)", owners=("account",),
)  # fmt: skip

SECURITY_METHOD = kind(
    "securityMethod", "methodId",
    (
        text("methodId", "", "Identifier of the method", longest=64),
        choice("type", "authApp", ("email", "sms", "authApp"), "Kind of the factor"),
        text("target", "", "Address or telephone number", longest=254),
        secret("secret", "Shared secret of an authenticator"),
        boolean("confirmed", False, "Proven by a code"),
        integer("created", 0, 0, 2**53, "When it was added", "seconds since 1970"),
    ),
    "manageAccountRecovery", "A second factor (PWD-04)", limit=20, owners=("account", "admin"),
)  # fmt: skip

MBOX_QUOTA = kind(
    "mboxQuota", "mboxName",
    (
        text("mboxName", "", "Folder", longest=1024),
        integer("messageCount", 0, 0, 4_294_967_295, "Messages in the folder; 0 = unlimited"),
        integer("messageSize", 0, 0, 2**42, "Size of the folder; 0 = unlimited", "KB"),
    ),
    "manageFoldersQuotas", "Quota of one folder (QTA-01)", limit=10_000, folded=False,
    owners=("account", "recipient", "domainConfig"),
    permissions={"recipient": "manageMailListsFoldersQuotas", "domainConfig": "managePublicFoldersQuotas"},
)  # fmt: skip

KINDS = (
    MBOX_QUOTA, PRESET, PRESET_FILTER, SUBDOMAIN_LOCATION, MESSAGES_LOCATION, RESERVED_RCPT, SIGNATURE, DELEGATE, SECURITY_METHOD,
)  # fmt: skip
