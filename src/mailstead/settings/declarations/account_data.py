"""What an account has of its own, without inheritance (ACC-01, WML-10, WML-11), and lists' twins of it.

Several contexts share the rows of a scope; where the names of one have its own in front it says `prefixed`.
"""

from __future__ import annotations

from dataclasses import replace

from mailstead.settings.declaration import (
    Context,
    Kind,
    Setting,
    boolean,
    choice,
    form,
    integer,
    secret,
    text,
)
from mailstead.settings.declarations.account import (
    CONNECTIONS,
    FOLDER_QUOTAS,
    SENDING,
    WEBMAIL_SIZES,
    archiving,
    expiration_date,
)
from mailstead.settings.declarations.initial_account import working_time

SKINS = ("ocean", "breeze", "neutral")

ACCOUNT_DATA = Context(
    "accountData",
    (
        choice("accountType", "premium", ("basic", "premium"), "Kept for compatibility: every account has everything"),
        boolean("twoFactorConfigured", False, "A second factor has been set up"),
        text("customerReference", "", "Free text of the operator", longest=255),
        boolean("publishContactInfo", True, "Show in the address list", permission="manageAccountsContactInformation"),
        choice(
            "filteringOption",
            "pass",
            ("pass", "discard", "sendNDR", "moveToFilteredEmail", "moveToFilteredEmailWithIC"),
            "What happens to mail of unknown senders",
            permission="manageFilteredEmail",
        ),
    ),
    permission="manageAccounts",
    help="An account",
    scope="accountData",
)

_CONTACT_FIELDS = {
    "firstName": "First name",
    "lastName": "Last name",
    "nickName": "Nickname",
    "personalEmail": "Private address",
    "businessEmail": "Address at work",
    "phone": "Telephone",
    "mobilePhone": "Mobile telephone",
    "homePhone": "Telephone at home",
    "businessPhone": "Telephone at work",
    "homeAddress": "Postal address at home",
    "businessAddress": "Postal address at work",
    "personalVoIPAddress": "Private VoIP address",
    "birthday": "Birthday",
    "spouseName": "Name of the spouse",
    "businessVoIPAddress": "VoIP address at work",
    "company": "Company",
    "department": "Department",
    "office": "Office",
    "position": "Position",
    "profession": "Profession",
    "managerName": "Name of the manager",
    "assistantName": "Name of the assistant",
    "website": "Web site",
    "yahooMessengerId": "Yahoo Messenger",
    "googleTalkId": "Google Talk",
    "liveMessengerAddress": "Live Messenger",
    "icqNumber": "ICQ number",
    "aolScreenName": "AOL screen name",
    "skypeId": "Skype",
    "title": "Title",
    "middleName": "Middle name",
    "suffix": "Suffix of the name",
    "businessFax": "Fax at work",
}

CONTACT_INFO = Context(
    "contactInfo",
    tuple(text(name, "", help) for name, help in _CONTACT_FIELDS.items()),
    permission="manageAccountsContactInformation",
    help="Contact information of an account; contactNotes is a content",
    scope="accountData",
    prefixed=True,
)

PAGES = (
    choice("skin", "ocean", SKINS, "Appearance"),
    integer("pageSize", 50, 1, 1000, "Messages on a page"),
    boolean("saveToSent", True, "Keep what was sent"),
    boolean("deleteToTrash", True, "Deleting moves to Trash"),
    boolean("hideDeletedMessages", True, "Do not show what is marked as deleted"),
    integer("autoRefreshInterval", 5, 0, 1440, "Time between looks for new mail; 0 = never", "minutes"),
    boolean("confirmMailDelete", False, "Ask before messages are deleted"),
    boolean("confirmFolderEmpty", True, "Ask before a folder is emptied"),
    integer("htmlFilterLevel", 2, 0, 3, "How strictly HTML mail is cleaned; 3 = most"),
    text("language", "", "Language; empty = the domain's", longest=16),
    form("timezone", Kind.ZONE, "", "Time zone; empty = the domain's"),
)

WEBMAIL_DATA = Context(
    "webmailData",
    (
        *PAGES,
        boolean("usePublicContacts", True, "Offer public contacts while writing"),
        boolean("useRcptContacts", True, "Offer the domain's address list while writing"),
        boolean("requestReadReceipts", False, "Ask for a receipt when a message is read"),
        choice("sendReadReceipts", "ask", ("always", "never", "ask"), "Whether receipts that others ask for are sent"),
        boolean("requestDeliveryReceipts", False, "Ask for a notice when a message is delivered"),
        boolean("enableConversationView", True, "Show mail by conversations"),
        choice("purgeTrashMessageSelector", "", ("", "all"), "What is purged from Trash at logout"),
        choice("purgeSpamMessageSelector", "", ("", "all"), "What is purged from Spam at logout"),
        *(replace(setting, inherits=True) for setting in working_time()),
        text("secretQuestion", "", "Question asked for a new password", longest=255, permission="manageAccountRecovery"),
        secret("secretAnswer", "Its answer", permission="manageAccountRecovery"),
    ),
    permission="manageAccountsWebmailOptions",
    help="An account's choices in WebMail; uiSettings and uiCustomSettings are contents",
    scope="accountData",
    prefixed=True,
)

# -- groups of addresses: lists and folder recipients -------------------------------------------------------


def _of_list(name: str, settings: tuple[Setting, ...], permission: str, help: str) -> Context:
    return Context(name, settings, permission=permission, help=help, scope="recipient", prefixed=True)


LIST_LIMITS = _of_list(
    "listLimits",
    (
        *(replace(setting, permission="manageMailListsSendReceiveRestrictions") for setting in SENDING),
        *CONNECTIONS,
        *WEBMAIL_SIZES,
        integer("overQuotaThreshold", 90, 0, 100, "Usage at which the administrator is warned", "percent"),
        integer("quotaSendMessageThreshold", 0, 0, 1000, "Usage that blocks sending; 0 = never", "percent"),
        archiving(),
        boolean("localizedImapFolderNames", False, "Special folders have translated names in IMAP"),
        *expiration_date(),
    ),
    "manageMailListsWebmailLimits",
    "What a mailing list may do",
)
LIST_QUOTAS = _of_list("listQuotas", FOLDER_QUOTAS, "manageMailListsFoldersQuotas", "How much a mailing list may keep")
LIST_WEBMAIL_DATA = _of_list(
    "listWebmailData", PAGES, "manageMailListsWebmailOptions", "WebMail of whoever reads a mailing list's folders"
)
FOLDER_RCPT_LIMITS = _of_list(
    "folderRcptLimits", (), "manageFolderRecipients", "The protocol has this context, and no attribute in it"
)
