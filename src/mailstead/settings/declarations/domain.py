"""Context domain (DOM-01..07); names and aliases of the domain are rows of the directory, not settings."""

from __future__ import annotations

from mailstead.settings.declaration import Context, Kind, Setting, boolean, choice, integer, text
from mailstead.settings.declarations.account import services_setting

CONTEXT = Context(
    "domain",
    (
        services_setting(),
        Setting("assignedIp", Kind.ADDRESS, "", "Address of the domain"),
        boolean("groupwareSupport", True, "Sharing and folders of other kinds than mail"),
        boolean("showWebmailLogin", True, "List the domain on the login page"),
        boolean("createUsersFromLdap", False, "A login proven by LDAP creates the account"),
        boolean("publishRcptContacts", True, "Keep the domain's address list"),
        boolean("enableAppender", False, "Append the domain's text to outgoing mail"),
        choice("catchAllType", "disabled", ("disabled", "account", "folder"), "Where unknown recipients go"),
        text("catchAllAccountName", "", "Account that gets mail of unknown recipients", longest=64),
        text("catchAllFolderName", "", "Public folder that gets mail of unknown recipients", longest=1024),
        text("postmasterAccount", "", "Account that gets the postmaster's mail", longest=64),
        boolean("enableLDAPSync", False, "Synchronise with LDAP"),
        text("ldapSyncConnectorName", "", "Connector of the synchronisation", longest=64),
        text("customerReference", "", "Free text of the operator", longest=255),
        text("defaultTimezone", "", "Time zone of new accounts; empty = the server's", longest=64),
        text("defaultLanguage", "", "Language of new accounts; empty = the server's", longest=16),
        text("brandingName", "", "Product name on web pages; empty = the server's", longest=128),
        boolean("enableGravatar", False, "Ask for pictures of senders"),
        boolean("enablePushNotificationGenerator", False, "Push notices to devices"),
        integer("disposableMetadataQuotaThreshold", 100, 0, 100, "Kept for compatibility", "percent"),
        integer("maxAccounts", 0, 0, 1_000_000_000, "Accounts of the domain; 0 = unlimited"),
        integer("maxGroups", 0, 0, 1_000_000_000, "Groups of the domain; 0 = unlimited"),
        integer("maxLists", 0, 0, 1_000_000_000, "Mailing lists of the domain; 0 = unlimited"),
        integer("maxAccountClasses", 0, 0, 1_000_000_000, "Account classes of the domain; 0 = unlimited"),
        integer("maxFolderRecipients", 0, 0, 1_000_000_000, "Folder recipients of the domain; 0 = unlimited"),
    ),
    permission="manageConfigOnAnyDomain",
    help="A mail domain",
)
