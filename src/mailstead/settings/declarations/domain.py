"""Context domain (DOM-01..07, ADM-02), and what a domain keeps under names of its own.

A domain's name and aliases are rows of the directory, not settings. CONTEXT holds the domain's own settings and the
limits of its administrators for storage; OWN, LOCATIONS and ADMIN_LIMITS are its parts as they are shown.
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
from mailstead.settings.declarations import initial_account
from mailstead.settings.declarations.account import ACCOUNT_SERVICES, FOLDER_QUOTAS, LARGEST_QUOTA, MOST, services_setting
from mailstead.settings.declarations.discovery import DOMAIN_URLS

_MANY = 1_000_000_000

DOMAIN_OWN = (
    services_setting(permission="manageDomainServices"),
    Setting("assignedIp", Kind.ADDRESS, "", "Address of the domain"),
    boolean("groupwareSupport", True, "Sharing and folders of other kinds than mail", permission="manageGroupware"),
    boolean("showWebmailLogin", True, "List the domain on the login page"),
    boolean("createUsersFromLdap", False, "A login proven by LDAP creates the account", permission="manageLdapSync"),
    boolean("publishRcptContacts", True, "Keep the domain's address list"),
    boolean("enableAppender", False, "Append the domain's text to outgoing mail"),
    choice(
        "catchAllType", "disabled", ("disabled", "account", "folder"), "Where unknown recipients go", permission="manageCatchAll"
    ),
    text(
        "catchAllAccountName", "", "Account that gets mail of unknown recipients", longest=64, permission="manageCatchAll"
    ),
    text(
        "catchAllFolderName", "", "Public folder that gets mail of unknown recipients", longest=1024, permission="manageCatchAll"
    ),
    text("postmasterAccount", "", "Account that gets the postmaster's mail", longest=64),
    boolean("enableLDAPSync", False, "Synchronise with LDAP", permission="manageLdapSync"),
    text("ldapSyncConnectorName", "", "Connector of the synchronisation", longest=64, permission="manageLdapSync",
         names="ldapConnector"),
    text("customerReference", "", "Free text of the operator", longest=255),
    form("defaultTimezone", Kind.ZONE, "", "Time zone of new accounts; empty = the server's"),
    text("defaultLanguage", "", "Language of new accounts; empty = the server's", longest=16),
    text("brandingName", "", "Product name on web pages; empty = the server's", longest=128),
    boolean("enableGravatar", False, "Ask for pictures of senders"),
    boolean("enablePushNotificationGenerator", False, "Push notices to devices"),
    integer("disposableMetadataQuotaThreshold", 100, 0, 100, "Kept for compatibility", "percent"),
    integer("activationLevel", 100, 0, 65_535, "Order of activation; a subdomain's is not below its parent's",
            permission="activateAnyDomain"),
    boolean("activateWithoutParent", False, "A subdomain stays active while its parent is disabled",
            permission="activateAnyDomain"),
)  # fmt: skip

LOCATIONS = (
    *(replace(setting, permission="manageDomainStorage")
      for setting in (
        text("domainLocation", "", "Kept for compatibility: all mail lies in the store", longest=4096),
        text("domainObjectsLocation", "", "Kept for compatibility: all mail lies in the store", longest=4096),
        path("wmFilterTemplatePath", "", "Sieve script that new accounts begin with"),
    )),
    text("parentDomain", "", "Domain this one is a subdomain of; empty = none", longest=255, permission="activateAnyDomain"),
    boolean("activationRequested", False, "A subdomain that waits for somebody who may enable it", permission="activateAnyDomain"),
)  # fmt: skip
"""What is given when a domain is created (DOM-02, DOM-04)."""


def _largest(what: str, name: str) -> tuple[Setting, ...]:
    return (
        integer(f"max{what}MessageSizeQuota", 0, 0, LARGEST_QUOTA, f"Largest totalMessageSize of {name}; 0 = any", "KB"),
        integer(f"max{what}MessageCountQuota", 0, 0, MOST, f"Largest totalMessageCount of {name}; 0 = any"),
        integer(f"max{what}FolderCountQuota", 0, 0, 1_000_000, f"Largest mboxCount of {name}; 0 = any"),
        integer(f"max{what}FolderMessageSizeQuota", 0, 0, LARGEST_QUOTA, f"Largest messageSize of {name}; 0 = any", "KB"),
        integer(f"max{what}FolderMessageCountQuota", 0, 0, MOST, f"Largest messageCount of {name}; 0 = any"),
    )


ADMIN_LIMITS = tuple(
    replace(setting, permission="manageDomainAdminLimits")
    for setting in (
        integer("maxAccounts", 0, 0, _MANY, "Accounts of the domain; 0 = unlimited"),
        integer("maxMaillists", 0, 0, _MANY, "Mailing lists of the domain; 0 = unlimited"),
        integer("maxGroups", 0, 0, _MANY, "Groups of the domain; 0 = unlimited"),
        integer("maxFolderRecipients", 0, 0, _MANY, "Folder recipients of the domain; 0 = unlimited"),
        integer("maxAccountClasses", 0, 0, _MANY, "Account classes of the domain; 0 = unlimited"),
        *_largest("Account", "an account"),
        *_largest("Maillist", "a mailing list"),
        *_largest("PublicFolder", "the public folders"),
        choice_set("availableServices", ACCOUNT_SERVICES, ACCOUNT_SERVICES, "Services the domain's administrators may give"),
        integer("maxSubdomains", 0, 0, _MANY, "Subdomains; 0 = unlimited"),
        path("subdomainStorageLocation", "", "Kept for compatibility: all mail lies in the store"),
        path("subdomainObjectStorageLocation", "", "Kept for compatibility: all mail lies in the store"),
        text("purgeConstraint", "", "Condition on messages that may be purged; empty = none"),
        words("purgeFolders", ("Trash", "Spam"), "Folders that may be purged"),
        integer("maxPremiumMailboxCount", 0, 0, _MANY, "Accounts of type premium; 0 = unlimited"),
        integer("maxSharingMailboxCount", 0, 0, _MANY, "Accounts with enableSharing; 0 = unlimited"),
        integer("maxPersonalOrganizerMailboxCount", 0, 0, _MANY, "Accounts with enableWebPersonalOrganizer; 0 = unlimited"),
        integer("maxOutlookConnectorMailboxCount", 0, 0, _MANY, "Accounts with enableOutlookConnector; 0 = unlimited"),
        integer("maxActiveSyncMailboxCount", 0, 0, _MANY, "Accounts with enableActiveSync; 0 = unlimited"),
        integer("maxIAMailboxCount", 0, 0, _MANY, "Accounts with image analysis; 0 = unlimited"),
    )
)  # fmt: skip


def _part(name: str, settings: tuple[Setting, ...], permission: str, help: str, *, prefixed: bool = False) -> Context:
    return Context(name, settings, permission=permission, help=help, scope="domainConfig", prefixed=prefixed)


CONTEXT = _part("domain", (*DOMAIN_OWN, *LOCATIONS, *ADMIN_LIMITS), "manageDomainConfig", "A mail domain")
DOMAIN_OWN_CONTEXT = _part("domain", DOMAIN_OWN, "manageDomainConfig", "A mail domain")
LOCATIONS_CONTEXT = _part("domainLocations", LOCATIONS, "manageDomainStorage", "Where a domain lies")
ADMIN_LIMITS_CONTEXT = _part("adminLimits", ADMIN_LIMITS, "manageDomainAdminLimits", "Limits of the domain's administrators")

MIGRATION_DATA = _part(
    "migrationData",
    (
        boolean("enable", False, "First logins of unknown users migrate from the remote server"),
        boolean("createPremiumAccounts", True, "Accounts that are made so are of type premium"),
        boolean("enableContinuousMigration", False, "Every login takes over what is new at the remote server"),
        form("remoteImapHost", Kind.HOST, "", "Remote IMAP server"),
        integer("remoteImapPort", 143, 1, 65_535, "Its port; 993 speaks TLS from the first octet"),
        form("remoteSmtpHost", Kind.HOST, "", "Server that takes mail of users who have not come yet; empty = none"),
        integer("remoteSmtpPort", 25, 1, 65_535, "Its port"),
        text("defaultAccountClassName", "", "Class of the new accounts; empty = the domain's defaults", longest=64),
        boolean("enableMigrationCommand", False, "Run a program after an account was made"),
        text("migrationCommand", "", "The program with its arguments", longest=4096),
        boolean("enableDebugLogging", False, "Log the conversation with the remote server"),
    ),
    "manageAutomaticMigration",
    "Migration at the first login (MIG-01)",
    prefixed=True,
)
PUBLIC_FOLDER = _part(
    "publicFolder", (text("name", "Public Folders", "Name of the root of the public folders", longest=255),),
    "renamePublicFolder", "Public folders of the domain (PUB-01)", prefixed=True,
)  # fmt: skip
PUBLIC_FOLDER_QUOTAS = _part(
    "publicFolderQuotas", FOLDER_QUOTAS, "managePublicFoldersQuotas", "How much the public folders may keep", prefixed=True
)
DOMAIN_FILTERS = _part(
    "domainFilters",
    (boolean("propagateFilterTemplate", False, "A changed filter template reaches the accounts that there are"),),
    "manageDomainFilters", "Filters of the domain", prefixed=True,
)  # fmt: skip

NAMED = (MIGRATION_DATA, initial_account.DOMAIN, DOMAIN_URLS, PUBLIC_FOLDER, PUBLIC_FOLDER_QUOTAS, DOMAIN_FILTERS)
