"""Names of the permissions an administrator can hold (ADM-01), on the server and on a single domain.

Invariants:
- Every permission says in one line what it is for; nothing else lists the names.
- Every domain permission has one server permission that gives it on any domain.
- Names are spelled as the CLI spells them, irregular capitals included.
"""

from __future__ import annotations

from collections.abc import Mapping

from mailstead.settings.suggestion import meant

DOMAIN_MEANINGS: Mapping[str, str] = {
    "manageSubdomains": "Create subdomains; who lacks activateAnyDomain has them wait to be enabled",
    "manageDomainConfig": "Settings of the domain, what its accounts inherit, postmaster, branding, addresses told to clients",
    "manageDomainFilters": "Filters, white and black lists of the domain and of new accounts",
    "backupDomain": "Read the domain as a backup, over FTP or mounted",
    "restoreDomain": "Write a backup back, bring back what was deleted, undo changes, repair",
    "deactivateDomain": "Disable the domain, delete it, give up its copy",
    "manageDomainAdminLimits": "Limits of the domain's administrators, and the names that are reserved",
    "manageDomainServices": "Services that the domain's accounts may use",
    "manageCatchAll": "Where mail of unknown recipients goes",
    "manageGroupware": "Switch sharing and folders of other kinds than mail on and off",
    "manageLdapSync": "Synchronisation with LDAP, and accounts made at the first login by it",
    "manageDomainAliases": "Further names of the domain",
    "manageDomainStorage": "Locations of the domain's data; compact, scan and examine them",
    "manageAccountServices": "Services that an account may use: suspend it and bring it back",
    "manageAutomaticMigration": "Migration of accounts at their first login",
    "manageFoldersQuotas": "Quotas of accounts and of their folders",
    "managePasswordPolicy": "Rules for passwords of accounts, and when these expire",
    "manageWebmailLimits": "Largest messages and attachments in WebMail, cleaning of HTML",
    "manageFilteredEmail": "What happens to filtered mail, and whether its senders may be asked to confirm",
    "manageSendReceiveRestrictions": "With whom accounts may exchange mail",
    "manageRPOPRestrictions": "How many remote mailboxes accounts fetch, and how often",
    "manageTemporaryAddresses": "Temporary addresses of accounts, and how many they may have",
    "manageAccountRecovery": "How users get a lost password or name back",
    "managePersonalOrganizer": "Calendars, contacts, tasks and notes of accounts",
    "manageSharing": "Whether accounts may share folders",
    "manageOutlookConnector": "Whether accounts may use the Outlook connector",
    "manageActiveSync": "Whether accounts may use ActiveSync, and for what",
    "manageIA": "See accounts; kept for compatibility otherwise",
    "manageAccounts": "What no other permission of accounts names: connections, sending limits, delegates, mail, migration",
    "createAccounts": "Create accounts",
    "removeAccounts": "Remove accounts, give up copies of removed ones",
    "manageAccountsNaming": "Rename accounts, and their aliases",
    "changeAccountsPassword": "Set passwords of accounts",
    "changeAccountsClass": "Put accounts into classes",
    "manageAccountsContactInformation": "Contact information of accounts, and whether it is published",
    "manageAccountsWebmailOptions": "WebMail options, signatures and banners of accounts",
    "manageGroups": "Settings of groups",
    "createGroups": "Create groups",
    "removeGroups": "Remove groups",
    "manageGroupsNaming": "Rename groups",
    "manageGroupsMembers": "Addresses of groups",
    "manageMaillists": "What no other permission of lists names: administrator, description, filters, limits",
    "createMailLists": "Create mailing lists",
    "removeMailLists": "Remove mailing lists",
    "manageMailListsNaming": "Rename mailing lists",
    "changeMailListsPassword": "Set passwords of mailing lists",
    "manageMailListsMembers": "Members of lists, and how many returned messages end a membership",
    "manageMailListsSubscription": "How one joins and leaves lists",
    "manageMailListsPosting": "Who may post to lists, moderation, archive, digests",
    "manageMailListsMessageHeaders": "Header fields and texts that lists add to postings, and fields they remove",
    "manageMailListsTemplates": "Texts of the answers of lists",
    "manageMailListsWebmailOptions": "WebMail options and signatures of lists",
    "manageMailListsServices": "Services that lists may use",
    "manageMailListsFoldersQuotas": "Quotas of lists and of their folders",
    "manageMailListsWebmailLimits": "Largest messages and attachments of lists in WebMail",
    "manageMailListsSendReceiveRestrictions": "Sending limits of lists",
    "manageAccountClasses": "Settings of account classes",
    "createAccountClasses": "Create account classes",
    "removeAccountClasses": "Remove account classes",
    "renameAccountClasses": "Rename account classes",
    "manageFolderRecipients": "Create, rename, remove and set folder recipients",
    "managePublicFolder": "Folders and mail of the public folder",
    "createPublicFolder": "Create public folders",
    "removePublicFolder": "Remove public folders",
    "renamePublicFolder": "Rename the public folder",
    "managePublicFoldersQuotas": "Quotas of public folders",
}
"""What each permission on a domain lets its holder do or set there."""
DOMAIN_PERMISSIONS: frozenset[str] = frozenset(DOMAIN_MEANINGS)

# Where the server's word is not the domain's word followed by OnAnyDomain.
_IRREGULAR = {
    "manageSubdomains": "activateAnyDomain",
    "manageDomainConfig": "manageConfigOnAnyDomain",
    "manageDomainFilters": "manageFiltersOnAnyDomain",
    "backupDomain": "backupAnyDomain",
    "restoreDomain": "restoreAnyDomain",
    "deactivateDomain": "deactivateAnyDomain",
    "manageDomainAdminLimits": "manageAdminLimitsOnAnyDomain",
    "manageDomainServices": "manageServicesOnAnyDomain",
    "manageMailListsMembers": "manageMailListsMemberOnAnyDomain",
}
SERVER_FORM: Mapping[str, str] = {name: _IRREGULAR.get(name, f"{name}OnAnyDomain") for name in sorted(DOMAIN_PERMISSIONS)}
"""Domain permission to the server permission that gives it on every domain."""

SERVER_MEANINGS: Mapping[str, str] = {
    "manageServerConfig": "Settings of the server itself, branding, storage, traces; SAVE CONFIG",
    "manageServerFilters": "Filters, scanners, white and black lists of the server",
    "manageCluster": "Nodes of the cluster, and maps of users to them",
    "manageProcessing": "Processing of mail, and the queue: look, try again, return, delete",
    "manageLog": "Log files, rules and levels",
    "manageDNR": "Name servers and their cache",
    "manageSMTPIn": "Settings and listeners of the SMTP service, START and STOP",
    "manageSMTPOut": "Settings of sending, START and STOP",
    "managePOP3": "Settings and listeners of POP3, START and STOP",
    "manageIMAP": "Settings and listeners of IMAP and ManageSieve, START and STOP",
    "manageWebMail": "Settings and listeners of WebMail and of the web address by which members leave lists, START and STOP",
    "manageRPOP": "Settings of the fetching of remote mailboxes, START and STOP",
    "managePOP3Proxy": "Settings and listeners of the POP3 proxy, START and STOP",
    "manageIMAPProxy": "Settings and listeners of the IMAP proxy, START and STOP",
    "manageWebmailProxy": "Settings and listeners of the WebMail proxy, START and STOP",
    "manageCLI": "Settings and listeners of the administration protocol, START and STOP",
    "manageWebAdmin": "Settings and listeners of the web administration, START and STOP",
    "manageFTPBackup": "Settings and listeners of the FTP backup, START and STOP",
    "manageReporting": "Statistics, SNMP and reports",
    "accessDumpData": "Kept for compatibility: nothing asks for it",
    "manageAuthentication": "Connectors to LDAP directories and identity providers",
    "manageAdminACL": "Administrators, their groups, passwords and permissions, within one's own",
    "activateAnyDomain": "Create and enable domains, manageSubdomains on every domain",
    **{
        server: f"{DOMAIN_MEANINGS[domain]}; {domain} on every domain"
        for domain, server in SERVER_FORM.items()
        if server != "activateAnyDomain"
    },
}
"""What each permission on the server lets its holder do or set."""
SERVER_PERMISSIONS: frozenset[str] = frozenset(SERVER_MEANINGS)


def meaning(name: str) -> str:
    """What a permission, spelled as it is declared, lets its holder do; empty for the name of none."""
    return DOMAIN_MEANINGS.get(name) or SERVER_MEANINGS.get(name, "")


def canonical(name: str, *, domain: bool) -> str:
    """The spelling of a permission written in any case. Raises ValueError for an unknown one, with the name that was meant."""
    lowered = name.lower()
    for known in DOMAIN_PERMISSIONS if domain else SERVER_PERMISSIONS:
        if known.lower() == lowered:
            return known
    raise ValueError(f"no {'domain' if domain else 'server'} permission is named {name[:80]!r}{_instead(lowered, domain)}")


def _instead(lowered: str, domain: bool) -> str:
    """What was probably meant: the same permission's name on the other level, or a name that is near."""
    for on_domain, on_server in SERVER_FORM.items():
        if domain and on_server.lower() == lowered:
            return f"; is {on_domain} meant?"
        if not domain and on_domain.lower() == lowered:
            return f"; is {on_server} meant? {on_domain} is given on a domain"
    for known in SERVER_PERMISSIONS if domain else ():
        if known.lower() == lowered:
            return f"; {known} is one of the server, given without a domain"
    return meant(lowered, sorted(DOMAIN_PERMISSIONS if domain else SERVER_PERMISSIONS))
