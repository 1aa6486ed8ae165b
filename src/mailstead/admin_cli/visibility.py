"""Which permissions make which objects of a domain visible (ADM-01).

Invariants: who holds no right that has to do with a kind of object neither lists nor shows nor enters one of that kind; the
verbs ask for the exact right again.
"""

from __future__ import annotations

from mailstead.admin_cli.context import Condition

ACCOUNTS = (
    "manageAccounts", "createAccounts", "removeAccounts", "manageAccountsNaming", "changeAccountsPassword", "changeAccountsClass",
    "manageAccountsContactInformation", "manageAccountsWebmailOptions", "manageAccountServices", "manageFoldersQuotas",
    "managePasswordPolicy", "manageWebmailLimits", "manageFilteredEmail", "manageSendReceiveRestrictions",
    "manageRPOPRestrictions", "manageTemporaryAddresses", "manageAccountRecovery", "managePersonalOrganizer", "manageSharing",
    "manageOutlookConnector", "manageActiveSync", "manageIA", "manageAutomaticMigration",
)  # fmt: skip
GROUPS = ("manageGroups", "createGroups", "removeGroups", "manageGroupsNaming", "manageGroupsMembers")
LISTS = (
    "manageMaillists", "createMailLists", "removeMailLists", "manageMailListsNaming", "changeMailListsPassword",
    "manageMailListsMembers", "manageMailListsSubscription", "manageMailListsPosting", "manageMailListsMessageHeaders",
    "manageMailListsTemplates", "manageMailListsWebmailOptions", "manageMailListsServices", "manageMailListsFoldersQuotas",
    "manageMailListsWebmailLimits", "manageMailListsSendReceiveRestrictions",
)  # fmt: skip
CLASSES = ("manageAccountClasses", "createAccountClasses", "removeAccountClasses", "renameAccountClasses", "changeAccountsClass")
FOLDER_RECIPIENTS = ("manageFolderRecipients",)
PUBLIC_FOLDERS = (
    "managePublicFolder", "createPublicFolder", "removePublicFolder", "renamePublicFolder", "managePublicFoldersQuotas",
)  # fmt: skip

VISIBLE = {"account": ACCOUNTS, "group": GROUPS, "list": LISTS, "folder": FOLDER_RECIPIENTS}
"""By the kind of an address; a list's own further names have a kind that begins with `list-`."""


def sees(permissions: tuple[str, ...]) -> Condition:
    """The condition that the administrator holds one of these on the context's domain."""
    return lambda context: context.session.actor.may_any(permissions, context.domain_id)
