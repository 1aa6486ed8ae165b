"""Context account: limits, quotas and restrictions that are inherited server -> domain -> class -> account (DOM-09)."""

from __future__ import annotations

from mailstead.settings.declaration import Context, Setting, boolean, choice, choice_set, integer, text, words

ACCOUNT_SERVICES = (
    "smtpIncoming",
    "smtpOutgoing",
    "pop3",
    "imap",
    "webmail",
    "rpop",
    "webdav",
    "activesync",
    "mailboxapi",
    "managesieve",
    "jmap",
)
RESTRICTIONS = ("denyAnyDomain", "allowAnyDomain", "allowLocalDomain", "allowLocalDomainAndSubdomains")
LARGEST_QUOTA = 2**42
"""QTA-01: 4096 GB in KB, with room above."""


def services_setting(*, inherits: bool = False) -> Setting:
    """ACC-04: a service that is off refuses the login."""
    return choice_set("services", ACCOUNT_SERVICES, ACCOUNT_SERVICES, "Services that may be used", inherits=inherits)


QUOTAS = (
    integer("mboxCount", 0, 0, 1_000_000, "Folders; 0 = unlimited", inherits=True),
    integer("totalMessageCount", 0, 0, 4_294_967_295, "Messages in all folders; 0 = unlimited", inherits=True),
    integer("totalMessageSize", 0, 0, LARGEST_QUOTA, "Size of all messages; 0 = unlimited", "KB", inherits=True),
    integer("messageCount", 0, 0, 4_294_967_295, "Messages in one folder; 0 = unlimited", inherits=True),
    integer("messageSize", 0, 0, LARGEST_QUOTA, "Size of one folder; 0 = unlimited", "KB", inherits=True),
    integer("quotaLimitThreshold", 90, 0, 100, "Usage at which the user is warned", "percent", inherits=True),
    integer("quotaLimitNotificationInterval", 1440, 0, 525_600, "Time between warnings", "minutes", inherits=True),
    boolean("quotaLimitNotificationEnabled", False, "Warn by mail", inherits=True),
    integer("quotaSendMessageThreshold", 0, 0, 1000, "Usage that blocks sending; 0 = never", "percent", inherits=True),
    integer("autopurgeAgeLimit", 30, 0, 36_500, "Age at which purged folders lose mail; 0 = off", "days", inherits=True),
    words("autopurgeFolders", ("Trash", "Spam"), "Folders that are purged", inherits=True),
)

LIMITS = (
    services_setting(inherits=True),
    integer("imapConnectionCount", 16, 0, 999, "IMAP sessions; 0 = unlimited", inherits=True),
    integer("pop3ConnectionCount", 16, 0, 999, "POP3 sessions; 0 = unlimited", inherits=True),
    integer("webmailSessionCount", 16, 0, 999, "WebMail sessions; 0 = unlimited", inherits=True),
    integer("rpopConnectionCount", 5, 0, 999, "Remote mailboxes that are fetched", inherits=True),
    integer("sentMessagesCount", 0, 0, 1_000_000_000, "Messages sent per interval; 0 = unlimited", inherits=True),
    integer("sentRecipientsCount", 0, 0, 1_000_000_000, "Recipients per interval; 0 = unlimited", inherits=True),
    integer("sentMessagesSize", 0, 0, LARGEST_QUOTA, "Size sent per interval; 0 = unlimited", "KB", inherits=True),
    integer("sentMessagesInterval", 3600, 60, 31_536_000, "Interval of the sending limits", "seconds", inherits=True),
    integer("webmailRCPTCount", 100, 0, 1_000_000, "Recipients of a message in WebMail", inherits=True),
    integer("webmailAttSize", 10_240, 0, LARGEST_QUOTA, "Attachment in WebMail", "KB", inherits=True),
    integer("webmailAttCount", 50, 0, 100_000, "Attachments in WebMail", inherits=True),
    integer("webmailMessageSize", 25_600, 0, LARGEST_QUOTA, "Message in WebMail", "KB", inherits=True),
    integer("temporaryAliasesCount", 5, 0, 100_000, "Temporary addresses; 0 = none", inherits=True),
    integer("temporaryAliasesInterval", 30, 1, 3650, "Life of a temporary address", "days", inherits=True),
    boolean("localizedImapFolderNames", False, "Special folders have translated names in IMAP", inherits=True),
    boolean("enableSharing", True, "Sharing of folders", inherits=True),
    choice(
        "filteringOption",
        "pass",
        ("pass", "discard", "sendNDR", "moveToFilteredEmail", "moveToFilteredEmailWithIC"),
        "What happens to spam",
        inherits=True,
    ),
    text("language", "", "Language; empty = the domain's", longest=16, inherits=True),
    boolean("passwordEnforcementEnabled", True, "Users' new passwords must obey the rules", inherits=True),
    integer("minimumPasswordLength", 8, 0, 256, "Shortest password", "characters", inherits=True),
    integer("maximumPasswordLength", 256, 1, 1024, "Longest password", "characters", inherits=True),
    choice(
        "requiredPasswordCharacters",
        "letters",
        ("letters", "lettersAndNumbers", "lettersAndNumbersAndSpecial"),
        "What a password must contain",
        inherits=True,
    ),
    boolean("passExpirationEnabled", False, "Passwords expire", inherits=True),
    integer("passExpirationInterval", 90, 1, 36_500, "Life of a password", "days", inherits=True),
    integer("passRenewalInterval", 0, 0, 36_500, "Shortest time between changes; 0 = none", "days", inherits=True),
    integer("passHistorySize", 0, 0, 100, "Old passwords that may not come back", inherits=True),
    boolean("passUnchangeable", False, "Users may not change their password", inherits=True),
)

RESTRICTION_SETTINGS = (
    boolean("enableSendRestrictions", False, "Restrict sending", inherits=True),
    choice("sendPolicy", "allowAnyDomain", RESTRICTIONS, "Where the account may send", inherits=True),
    words("sendPolicyExceptions", (), "Patterns the policy does not hold for", inherits=True),
    boolean("enableRecvRestrictions", False, "Restrict receiving", inherits=True),
    choice("recvPolicy", "allowAnyDomain", RESTRICTIONS, "From where the account takes mail", inherits=True),
    words("recvPolicyExceptions", (), "Patterns the policy does not hold for", inherits=True),
)

CONTEXT = Context(
    "account",
    (*LIMITS, *QUOTAS, *RESTRICTION_SETTINGS),
    permission="manageConfigOnAnyDomain",
    help="Limits, quotas and restrictions of an account",
)
