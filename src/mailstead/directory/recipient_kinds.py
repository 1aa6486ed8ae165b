"""What groups, mailing lists and folder recipients have: attributes, long texts, and the permission each needs.

Invariants: an attribute or text that is not named here cannot be stored; every one of them has exactly one permission.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from mailstead.directory.address import checked_local
from mailstead.directory.model import InvalidNameError, RecipientKind
from mailstead.settings.declaration import (
    Context,
    InvalidValueError,
    boolean,
    choice,
    choice_set,
    integer,
    text,
    words,
)

SENDERS = ("anybody", "server", "domain", "members", "directMembers", "nobody")
LIST_SERVICES = ("pop3", "imap", "webmail")
TEMPLATES = (
    "unknownCommand",
    "invalidUserName",
    "notAUser",
    "badConfirmation",
    "userAlreadySubscribed",
    "invalidFormat",
    "requestNeedsConfirmation",
    "requestNeedsAdminConfirmation",
    "autoRejectResponse",
    "welcome",
    "goodbye",
    "subscribeDenied",
)
"""Texts of a list's answers; defaults and placeholders are in `directory.list_templates`."""
CONTENTS = ("addHeader", "bodyBegin", "bodyEnd", *TEMPLATES)
MAX_CONTENT = 64 * 1024
"""Longest of these texts, in characters."""

GROUP = Context(
    "group",
    (
        boolean("publishContactInfo", True, "Show in the address list"),
        boolean("membersSendMailAsGroup", False, "Members may send with the group's address"),
        choice("distributeEmailTo", "members", ("members", "domain", "server", "cluster", "nobody"), "Who gets mail"),
        choice("receiveEmailFrom", "anybody", SENDERS, "Who may send to the group"),
    ),
    permission="manageGroupsOnAnyDomain",
)
LIST = Context(
    "list",
    (
        text("adminEmail", "", "Address of the list's administrator", longest=254),
        text("description", "", "Description"),
        choice_set("services", LIST_SERVICES, LIST_SERVICES, "Services the list's own login may use"),
        text("subscribeRcpt", "", "Name that takes subscriptions; empty = <name>-subscribe", longest=64),
        text("unsubscribeRcpt", "", "Name that takes cancellations; empty = <name>-unsubscribe", longest=64),
        text("requestRcpt", "", "Name that takes requests; empty = <name>-request", longest=64),
        choice_set(
            "enabledRcpts", ("subscribe", "unsubscribe", "request"), ("subscribe", "unsubscribe", "request"),
            "Which of these names are in use",
        ),
        boolean("adminConfirm", False, "The administrator confirms subscriptions"),
        choice("senderAllow", "anybody", SENDERS, "Who may send to the list"),
        choice(
            "moderate", "nobody", ("nobody", "nonmembers", "everybody"),
            "Whose mail waits for approval, that of the logged-in administrator excepted",
        ),
        choice("ctypeAllow", "any", ("any", "text", "textAndHtml"), "Content that is let through"),
        boolean("publishContactInfo", True, "Show in the address list"),
        boolean("rewriteFrom", False, "Rewrite From and envelope for DMARC"),
        words("removeHeaders", (), "Header fields taken out of what is sent on"),
        integer("maxMessageSize", 0, 0, 1_048_576, "Largest message; 0 = unlimited", "KB", since="0.3"),
        boolean("archive", True, "Keep what was sent on in the list's INBOX", since="0.3"),
        integer("digestMessages", 25, 1, 500, "Messages after which a digest is sent", since="0.3"),
        integer("digestInterval", 24, 1, 744, "Longest time until a digest is sent", "hours", since="0.3"),
        integer("bounceThreshold", 5, 0, 100, "Bounces after which a member gets no more mail; 0 = never", since="0.3"),
        integer("confirmInterval", 72, 1, 744, "Time in which a request can be confirmed", "hours", since="0.3"),
        integer("answersPerDay", 10, 1, 1000, "Answers of the list to one address in a day", since="0.3"),
    ),
    permission="manageMaillistsOnAnyDomain",
)  # fmt: skip
FOLDER = Context(
    "folderRecipient",
    (
        text("mboxName", "", "Public folder that gets the mail", longest=1024),
        boolean("publishContactInfo", True, "Show in the address list"),
        boolean("domainSendMailAs", False, "Accounts of the domain may send with this address"),
    ),
    permission="manageFolderRecipientsOnAnyDomain",
)

_SUBSCRIPTION = "manageMailListsSubscription"
_POSTING = "manageMailListsPosting"
_HEADERS = "manageMailListsMessageHeaders"
_LIST_PERMISSIONS: Mapping[str, str] = {
    "services": "manageMailListsServices",
    **dict.fromkeys(
        ("subscribeRcpt", "unsubscribeRcpt", "requestRcpt", "enabledRcpts", "adminConfirm", "confirmInterval", "answersPerDay"),
        _SUBSCRIPTION,
    ),
    **dict.fromkeys(
        ("senderAllow", "moderate", "ctypeAllow", "rewriteFrom", "maxMessageSize", "archive", "digestMessages", "digestInterval"),
        _POSTING,
    ),
    "bounceThreshold": "manageMailListsMembers",
    **dict.fromkeys(("removeHeaders", "addHeader", "bodyBegin", "bodyEnd"), _HEADERS),
    **dict.fromkeys(TEMPLATES, "manageMailListsTemplates"),
}


@dataclass(frozen=True, slots=True)
class Family:
    """What differs between the three kinds: permissions, the domain's limit, declared attributes."""

    context: Context
    create: str
    remove: str
    rename: str
    manage: str
    members: str
    limit: str
    plural: str
    permissions: Mapping[str, str] = field(default_factory=dict)
    contents: tuple[str, ...] = ()
    password: str = ""

    def permission(self, name: str) -> str:
        """The permission that changing an attribute or a long text needs."""
        return self.permissions.get(name, self.manage)


FAMILIES: Mapping[RecipientKind, Family] = {
    RecipientKind.GROUP: Family(
        GROUP, "createGroups", "removeGroups", "manageGroupsNaming", "manageGroups", "manageGroupsMembers",
        "maxGroups", "groups",
    ),
    RecipientKind.LIST: Family(
        LIST, "createMailLists", "removeMailLists", "manageMailListsNaming", "manageMaillists",
        "manageMailListsMembers", "maxMaillists", "mailing lists", _LIST_PERMISSIONS, CONTENTS, "changeMailListsPassword",
    ),
    RecipientKind.FOLDER: Family(
        FOLDER, "manageFolderRecipients", "manageFolderRecipients", "manageFolderRecipients",
        "manageFolderRecipients", "manageFolderRecipients", "maxFolderRecipients", "folder recipients",
    ),
}  # fmt: skip

_FIELD = re.compile(r"[!-9;-~]{1,77}:[^\r\n\x00]*(?:\r?\n[ \t][^\r\n\x00]*)*")
_FIELD_NAME = re.compile(r"[!-9;-~]{1,77}")
_STRUCTURE = ("content-", "mime-version", "received", "return-path", "list-id", "dkim-signature", "arc-")


def checked_attributes(context: Context, attributes: Mapping[str, str | None]) -> dict[str, str | None]:
    """Attributes by declared name in stored form (None: back to the default). Raises InvalidValueError, InvalidNameError."""
    result: dict[str, str | None] = {}
    for name, value in attributes.items():
        setting = context.setting(name)
        if value is None:
            result[setting.name] = None
            continue
        stored = setting.render(setting.parse(value))
        if setting.name.endswith("Rcpt") and stored:
            stored = checked_local(stored)
        elif setting.name == "adminEmail" and stored and ("@" not in stored or any(sign in stored for sign in "\r\n\x00 ,<>")):
            raise InvalidNameError(f"{stored[:80]!r} is not an address")
        elif setting.name == "removeHeaders":
            for word in stored.strip("()").split():
                if not _FIELD_NAME.fullmatch(word):
                    raise InvalidValueError(f"removeHeaders: {word[:80]!r} is not the name of a header field")
        result[setting.name] = stored
    return result


def checked_contents(family: Family, contents: Mapping[str, str | None]) -> dict[str, str | None]:
    """Long texts by declared name (None: back to the default). Raises InvalidValueError."""
    known = {name.lower(): name for name in family.contents}
    result: dict[str, str | None] = {}
    for given, value in contents.items():
        name = known.get(given.lower())
        if name is None:
            raise InvalidValueError(f"{family.context.name} has no text {given!r}")
        if value is not None:
            if len(value) > MAX_CONTENT or "\x00" in value:
                raise InvalidValueError(f"{name}: a text has at most {MAX_CONTENT} characters and no NUL")
            if name == "addHeader":
                checked_header(value)
        result[name] = value
    return result


def checked_header(text_: str) -> list[str]:
    """The fields of an addHeader text, each on one or more lines. Raises InvalidValueError."""
    fields = []
    for line in re.split(r"\r?\n(?![ \t])", text_.strip("\r\n")):
        if not line.strip():
            continue
        if not _FIELD.fullmatch(line) or len(line) > 900:
            raise InvalidValueError(f"addHeader: {line[:80]!r} is not a header field")
        if line.lower().startswith(_STRUCTURE):
            raise InvalidValueError(f"addHeader: {line.partition(':')[0]} cannot be added")
        fields.append(line)
    return fields
