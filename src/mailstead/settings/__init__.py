"""Settings of a node: declared once, validated, inherited, stored in the system database, and observable."""

from __future__ import annotations

from mailstead.settings.access import AccessRule, AccessRules
from mailstead.settings.actor import Actor, PermissionDenied, PermissionDeniedError
from mailstead.settings.database import SystemDatabase, SystemDatabaseError
from mailstead.settings.declaration import InvalidValue, InvalidValueError
from mailstead.settings.listeners import ListenerSettings
from mailstead.settings.service import Inherited, ServiceSettings, Settings, SettingsChange

__all__ = [
    "AccessRule",
    "AccessRules",
    "Actor",
    "Inherited",
    "InvalidValue",
    "InvalidValueError",
    "ListenerSettings",
    "PermissionDenied",
    "PermissionDeniedError",
    "ServiceSettings",
    "Settings",
    "SettingsChange",
    "SystemDatabase",
    "SystemDatabaseError",
]
