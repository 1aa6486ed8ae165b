"""Domains, accounts, groups, lists, administrators: look-ups for every service and the verbs on them."""

from __future__ import annotations

from mailstead.directory.deleted import Deleted, RestoredAccount, RestoredDomain
from mailstead.directory.model import (
    Account,
    AccountClass,
    Admin,
    AlreadyExistsError,
    Credentials,
    DirectoryError,
    Domain,
    ImportResult,
    InvalidNameError,
    LimitReachedError,
    NewAccount,
    NotFoundError,
    PasswordRefusedError,
    Recipient,
    RecipientKind,
    Resolution,
)
from mailstead.directory.service import Directory
from mailstead.settings.actor import Actor, PermissionDeniedError

__all__ = [
    "Account",
    "AccountClass",
    "Actor",
    "Admin",
    "AlreadyExistsError",
    "Credentials",
    "Deleted",
    "Directory",
    "DirectoryError",
    "Domain",
    "ImportResult",
    "InvalidNameError",
    "LimitReachedError",
    "NewAccount",
    "NotFoundError",
    "PasswordRefusedError",
    "PermissionDeniedError",
    "Recipient",
    "RecipientKind",
    "Resolution",
    "RestoredAccount",
    "RestoredDomain",
]
