"""Context account: what is inherited server -> domain -> class -> account (DOM-09).

One Context holds everything for storage, so names are unique over all of it; LIMITS_CONTEXT, QUOTAS_CONTEXT,
RESTRICTIONS_CONTEXT and ADVERTISING_CONTEXT are its parts as they are shown.
"""

from __future__ import annotations

from dataclasses import replace

from mailstead.settings.declaration import (
    Context,
    Kind,
    Setting,
    boolean,
    choice,
    choice_set,
    form,
    integer,
    path,
    text,
    words,
)
from mailstead.settings.declarations.account_security import account_security, two_factor

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
ARCHIVING = ("folderPerYear", "folderPerMonth", "subfolderPerMonth")
LARGEST_QUOTA = 2**42
"""QTA-01: 4096 GB in KB, with room above."""
MOST = 4_294_967_295


def services_setting(*, inherits: bool = False, permission: str = "manageAccountServices") -> Setting:
    """ACC-04: a service that is off refuses the login."""
    return choice_set(
        "services", ACCOUNT_SERVICES, ACCOUNT_SERVICES, "Services that may be used", inherits=inherits, permission=permission
    )


def archiving() -> Setting:
    """WML-12."""
    return choice_set("archivingPolicy", (), ARCHIVING, "How old mail is archived", empty="none")


def _inherited(permission: str, *settings: Setting) -> tuple[Setting, ...]:
    return tuple(replace(one, inherits=True, permission=one.permission or permission) for one in settings)


FOLDER_QUOTAS = (
    integer("mboxCount", 0, 0, 1_000_000, "Folders; 0 = unlimited"),
    integer("totalMessageCount", 0, 0, MOST, "Messages in all folders; 0 = unlimited"),
    integer("totalMessageSize", 0, 0, LARGEST_QUOTA, "Size of all messages; 0 = unlimited", "KB"),
    integer("messageCount", 0, 0, MOST, "Messages in one folder; 0 = unlimited"),
    integer("messageSize", 0, 0, LARGEST_QUOTA, "Size of one folder; 0 = unlimited", "KB"),
)
"""QTA-01: quotas of whatever has folders."""

QUOTAS = _inherited(
    "manageFoldersQuotas",
    *FOLDER_QUOTAS,
    integer("quotaLimitThreshold", 90, 0, 100, "Usage at which the user is warned", "percent"),
    integer("quotaLimitNotificationInterval", 1440, 0, 525_600, "Time between warnings", "minutes"),
    path("quotaLimitNotificationFileName", "", "Template of the warning; empty = the built-in one", names="template"),
    boolean("quotaLimitNotificationEnabled", False, "Warn by mail"),
    boolean("quotaLimitPushNotificationEnabled", False, "Warn by a push notice"),
    integer("quotaSendMessageThreshold", 0, 0, 1000, "Usage that blocks sending; 0 = never", "percent"),
    integer("filteredEmailSizeQuota", 0, 0, LARGEST_QUOTA, "Size of Filtered Email; 0 = unlimited", "KB"),
    integer("filteredEmailCountQuota", 0, 0, MOST, "Messages in Filtered Email; 0 = unlimited"),
    integer("autopurgeAgeLimit", 30, 0, 36_500, "Age at which purged folders lose mail; 0 = off", "days"),
    words("autopurgeFolders", ("Trash", "Spam"), "Folders that are purged"),
)

SENDING = (
    integer("sentMessagesCount", 0, 0, 1_000_000_000, "Messages sent per interval; 0 = unlimited"),
    integer("sentRecipientsCount", 0, 0, 1_000_000_000, "Recipients per interval; 0 = unlimited"),
    integer("sentMessagesSize", 0, 0, LARGEST_QUOTA, "Size sent per interval; 0 = unlimited", "KB"),
    integer("sentMessagesInterval", 3600, 60, 31_536_000, "Interval of the sending limits", "seconds"),
    path("sentOverquotaFileName", "", "Template of the notice on overstepping; empty = the built-in one", names="template"),
    form("sentOverquotaEmailAddress", Kind.EMAIL, "", "Who is told of overstepping; empty = nobody"),
    words("sentRecipientsExceptions", (), "Patterns of recipients that are not counted", maximum=10_000),
)
"""QTA-04: the send quota."""

CONNECTIONS = (
    integer("imapConnectionCount", 16, 0, 999, "IMAP sessions; 0 = unlimited"),
    integer("pop3ConnectionCount", 16, 0, 999, "POP3 sessions; 0 = unlimited"),
    integer("webmailSessionCount", 16, 0, 999, "WebMail sessions; 0 = unlimited"),
)
WEBMAIL_SIZES = (
    integer("webmailRCPTCount", 100, 0, 1_000_000, "Recipients of a message in WebMail"),
    integer("webmailAttSize", 10_240, 0, LARGEST_QUOTA, "Attachment in WebMail", "KB"),
    integer("webmailAttCount", 50, 0, 100_000, "Attachments in WebMail"),
    integer("webmailMessageSize", 25_600, 0, LARGEST_QUOTA, "Message in WebMail", "KB"),
)
"""QTA-05."""


def expiration_date() -> tuple[Setting, ...]:
    """PWD-01: how the end of a password's life is given."""
    return (
        choice("passExpirationType", "interval", ("interval", "date"), "Passwords expire after a time or at a date"),
        form("passExpirationDate", Kind.DATE, "", "Day on which passwords expire"),
    )


PASSWORDS = (
    boolean("passwordEnforcementEnabled", True, "Users' new passwords must obey the rules"),
    integer("minimumPasswordLength", 8, 0, 256, "Shortest password", "characters"),
    integer("maximumPasswordLength", 256, 1, 1024, "Longest password", "characters"),
    choice(
        "requiredPasswordCharacters",
        "letters",
        ("letters", "lettersAndNumbers", "lettersAndNumbersAndSpecial"),
        "What a password must contain",
    ),
    boolean("passExpirationEnabled", False, "Passwords expire"),
    integer("passExpirationInterval", 90, 1, 36_500, "Life of a password", "days"),
    *expiration_date(),
    integer("passRenewalInterval", 0, 0, 36_500, "Shortest time between changes; 0 = none", "days"),
    boolean("passExpirationWarningEnabled", True, "Warn before a password expires"),
    integer("passExpirationWarningInterval", 14, 0, 36_500, "How long before", "days"),
    path("passExpirationWarningFileName", "", "Template of the warning; empty = the built-in one", names="template"),
    boolean("passExpirationWarningSentDaily", False, "Warn every day until it is changed"),
    integer("passHistorySize", 0, 0, 100, "Old passwords that may not come back"),
    boolean("passUnchangeable", False, "Users may not change their password"),
)
RECOVERY = (
    choice_set("passwordRecoveryMethods", ("email",), ("secretQuestion", "email", "sms"), "Ways to a new password", empty="none"),
    choice_set("usernameRecoveryMethods", ("email",), ("email", "sms"), "Ways to a forgotten name", empty="none"),
    path("passwordRecoveryEmailFileName", "", "Template of the mail with a link; empty = the built-in one"),
    path("passwordRecoverySmsFileName", "", "Template of the SMS with a code; empty = the built-in one"),
    path("usernameRecoveryEmailFileName", "", "Template of the mail with the name; empty = the built-in one"),
    path("usernameRecoverySmsFileName", "", "Template of the SMS with the name; empty = the built-in one"),
    *account_security(),
    *two_factor("disabled"),
)

LIMITS = (
    *_inherited("", services_setting()),
    *_inherited("manageAccounts", *CONNECTIONS, *SENDING, archiving()),
    *_inherited(
        "manageRPOPRestrictions",
        integer("rpopConnectionCount", 5, 0, 999, "Remote mailboxes that are fetched"),
        integer("rpopRetrievalInterval", 10, 1, 525_600, "Shortest time between two fetches", "minutes"),
    ),
    *_inherited(
        "manageWebmailLimits",
        *WEBMAIL_SIZES,
        integer("htmlFilterLevel", 2, 0, 3, "How strictly HTML mail is cleaned; 3 = most"),
    ),
    *_inherited(
        "manageTemporaryAddresses",
        integer("temporaryAliasesCount", 5, 0, 100_000, "Temporary addresses; 0 = none"),
        integer("temporaryAliasesInterval", 30, 1, 3650, "Life of a temporary address", "days"),
    ),
    *_inherited(
        "manageActiveSync",
        boolean("enableActiveSync", True, "ActiveSync may be used, where the service has it"),
        choice_set("activeSyncOptions", ("email", "contact", "pim"), ("email", "contact", "pim"), "What ActiveSync carries"),
    ),
    *_inherited(
        "manageAccounts",
        boolean("localizedImapFolderNames", False, "Special folders have translated names in IMAP"),
        boolean("enableOutlookConnector", True, "The Outlook connector may be used", permission="manageOutlookConnector"),
        boolean("enableConversationIndex", True, "Conversations are kept"),
        boolean(
            "enableWebPersonalOrganizer", True, "Calendars, contacts, tasks and notes", permission="managePersonalOrganizer"
        ),
        boolean("enableSharing", True, "Sharing of folders", permission="manageSharing"),
        boolean("welcomeMessageEnabled", False, "New accounts get a message"),
        path("welcomeMessageFileName", "", "The message for new accounts; empty = the built-in one", names="template"),
        boolean("allowIdentityConfirmation", True, "Senders may be asked to confirm", permission="manageFilteredEmail"),
        boolean("editableContactInfo", True, "Users may edit their contact information"),
        boolean("enableAutoMigration", True, "First logins may migrate", permission="manageAutomaticMigration"),
        boolean("enableCalAvailabilitySharing", True, "Free/busy times are told"),
        boolean("enableZoom", False, "Zoom meetings"),
        boolean("enableTeams", False, "Teams meetings"),
        text("language", "", "Language where the account has none; empty = the domain's", longest=16),
    ),
    *_inherited("managePasswordPolicy", *PASSWORDS),
    *_inherited("manageAccountRecovery", *RECOVERY),
)

RESTRICTION_SETTINGS = _inherited(
    "manageSendReceiveRestrictions",
    boolean("enableSendRestrictions", False, "Restrict sending"),
    choice("sendPolicy", "allowAnyDomain", RESTRICTIONS, "Where the account may send"),
    words("sendPolicyExceptions", (), "Patterns the policy does not hold for", maximum=10_000),
    boolean("enableRecvRestrictions", False, "Restrict receiving"),
    choice("recvPolicy", "allowAnyDomain", RESTRICTIONS, "From where the account takes mail"),
    words("recvPolicyExceptions", (), "Patterns the policy does not hold for", maximum=10_000),
)

ADVERTISING = _inherited(
    "manageAccountsWebmailOptions",
    boolean("enableTopBanner", False, "Show the banner on top"),
    boolean("enableRightBanner", False, "Show the banner on the right"),
    boolean("enableBottomBanner", False, "Show the banner at the bottom"),
)
"""WML-15; the banners themselves are contents: topBannerContent, rightBannerContent, bottomBannerContent."""


def _part(name: str, settings: tuple[Setting, ...], permission: str, help: str) -> Context:
    return Context(name, settings, permission=permission, help=help, scope="account")


LIMITS_CONTEXT = _part("limits", LIMITS, "manageAccounts", "What an account may do")
QUOTAS_CONTEXT = _part("quotas", QUOTAS, "manageFoldersQuotas", "How much an account may keep")
RESTRICTIONS_CONTEXT = _part(
    "sendRecvRestrictions", RESTRICTION_SETTINGS, "manageSendReceiveRestrictions", "With whom an account may exchange mail"
)
ADVERTISING_CONTEXT = _part("webmailAdvertising", ADVERTISING, "manageAccountsWebmailOptions", "Banners in WebMail")

CONTEXT = _part(
    "account",
    (*LIMITS, *QUOTAS, *RESTRICTION_SETTINGS, *ADVERTISING),
    "manageAccounts",
    "Limits, quotas, restrictions and banners of an account",
)
