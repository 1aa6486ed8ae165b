"""Names of the permissions an administrator can hold (ADM-01), on the server and on a single domain.

Invariants:
- Every domain permission has one server permission that gives it on any domain.
- Names are spelled as the CLI spells them, irregular capitals included.
"""

from __future__ import annotations

from collections.abc import Mapping

from mailstead.settings.suggestion import meant

_DOMAIN_WORDS = """
manageSubdomains manageDomainConfig manageDomainFilters backupDomain restoreDomain deactivateDomain
manageDomainAdminLimits manageDomainServices manageCatchAll manageGroupware manageLdapSync manageDomainAliases
manageDomainStorage manageAccountServices manageAutomaticMigration manageFoldersQuotas managePasswordPolicy
manageWebmailLimits manageFilteredEmail manageSendReceiveRestrictions manageRPOPRestrictions
manageTemporaryAddresses manageAccountRecovery managePersonalOrganizer manageSharing manageOutlookConnector
manageActiveSync manageIA manageAccounts createAccounts removeAccounts manageAccountsNaming changeAccountsPassword
changeAccountsClass manageAccountsContactInformation manageAccountsWebmailOptions manageGroups createGroups
removeGroups manageGroupsNaming manageGroupsMembers manageMaillists createMailLists removeMailLists
manageMailListsNaming changeMailListsPassword manageMailListsMembers manageMailListsSubscription
manageMailListsPosting manageMailListsMessageHeaders manageMailListsTemplates manageMailListsWebmailOptions
manageMailListsServices manageMailListsFoldersQuotas manageMailListsWebmailLimits
manageMailListsSendReceiveRestrictions manageAccountClasses createAccountClasses removeAccountClasses
renameAccountClasses manageFolderRecipients managePublicFolder createPublicFolder removePublicFolder
renamePublicFolder managePublicFoldersQuotas
"""
DOMAIN_PERMISSIONS: frozenset[str] = frozenset(_DOMAIN_WORDS.split())

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

_SERVER_WORDS = """
manageServerConfig manageServerFilters manageCluster manageProcessing manageLog manageDNR manageSMTPIn manageSMTPOut
managePOP3 manageIMAP manageWebMail manageRPOP managePOP3Proxy manageIMAPProxy manageWebmailProxy manageCLI
manageWebAdmin manageFTPBackup manageReporting accessDumpData manageAuthentication manageAdminACL
"""
SERVER_PERMISSIONS: frozenset[str] = frozenset(_SERVER_WORDS.split()) | frozenset(SERVER_FORM.values())


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
