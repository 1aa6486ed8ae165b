"""The addresses of a mailing list beside its own: which there are, how they are spelled, where they lead (LST-01).

Invariants: `bounces`, `owner` and `confirm` are always there, for a list cannot do without; the others are reserved exactly
while `enabledRcpts` names them.
"""

from __future__ import annotations

from collections.abc import Mapping

COMMANDS = ("subscribe", "unsubscribe", "request")
"""Roles that `enabledRcpts` switches and `subscribeRcpt`, `unsubscribeRcpt`, `requestRcpt` spell."""
ALWAYS = ("bounces", "owner", "confirm")
PREFIX = "list-"
"""What the kind of an address row has in front of the role."""


def role_of(kind: str) -> str:
    """The role of a row of `address`; "" for the list itself and for every other kind."""
    return kind.removeprefix(PREFIX) if kind.startswith(PREFIX) else ""


def enabled_roles(attributes: Mapping[str, str]) -> list[str]:
    """Roles in use, from stored attributes."""
    words = attributes.get("enabledRcpts")
    enabled = COMMANDS if words is None else tuple(words.strip("()").split())
    return [role for role in (*COMMANDS, *ALWAYS) if role in ALWAYS or role in enabled]


def spelled(name: str, role: str, attributes: Mapping[str, str]) -> str:
    """The local part of a role's address."""
    return attributes.get(f"{role}Rcpt") or f"{name}-{role}"
