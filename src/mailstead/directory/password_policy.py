"""Password rules (PWD-01): length, characters, history, renewal; and making what is stored of a password.

Invariants: messages never hold the password; hashing blocks and runs in threads only.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mailstead.directory.model import PasswordRefusedError
from mailstead.identity.passwords import hash_password, hashable, is_supported, verify
from mailstead.identity.scram_keys import derive_all
from mailstead.settings.service import Inherited

DAY_US = 86_400 * 1_000_000


@dataclass(frozen=True, slots=True)
class StoredPassword:
    """The three stored forms; empty where they cannot be had."""

    password: str
    scram: str
    recoverable: str

    def __repr__(self) -> str:
        return "StoredPassword(...)"


def check_hashable(password: str) -> None:
    """Before it is hashed. Raises PasswordRefusedError for an empty or overlong password."""
    try:
        hashable(password)
    except ValueError as error:
        raise PasswordRefusedError(str(error)) from error


def make_stored(password: str, *, recoverable: bool) -> StoredPassword:
    """Hash a password (argon2id) and derive its SCRAM keys, side by side; about 35 ms. Raises PasswordRefusedError."""
    keys: list[str] = []
    deriving = threading.Thread(target=lambda: keys.append(derive_all(password)), name="scram-keys")
    deriving.start()
    try:
        hashed = hash_password(password)
    except ValueError as error:
        raise PasswordRefusedError(str(error)) from error
    finally:
        deriving.join()
    return StoredPassword(hashed, keys[0], password if recoverable else "")


def ready_hash(stored: str) -> StoredPassword:
    """A hash made elsewhere. Raises PasswordRefusedError for a form that could never be verified."""
    if not is_supported(stored):
        raise PasswordRefusedError("the password hash has an unknown or unsupported form")
    return StoredPassword(stored, "", "")


def check_rules(password: str, values: Mapping[str, Inherited], changed: int) -> None:
    """Rules for a password a user chooses; `changed` is when the last one was set (us). Raises PasswordRefusedError."""
    rule: dict[str, Any] = {name: inherited.value for name, inherited in values.items()}
    if rule["passUnchangeable"]:
        raise PasswordRefusedError("the password of this account may not be changed")
    if not rule["passwordEnforcementEnabled"]:
        return
    renewal = rule["passRenewalInterval"]
    if renewal and time.time_ns() // 1000 - changed < renewal * DAY_US:
        raise PasswordRefusedError(f"the password may be changed once in {renewal} days")
    if len(password) < rule["minimumPasswordLength"]:
        raise PasswordRefusedError(f"the password needs at least {rule['minimumPasswordLength']} characters")
    if len(password) > rule["maximumPasswordLength"]:
        raise PasswordRefusedError(f"the password may have at most {rule['maximumPasswordLength']} characters")
    required = rule["requiredPasswordCharacters"]
    if not any(character.isalpha() for character in password):
        raise PasswordRefusedError("the password needs a letter")
    if required != "letters" and not any(character.isdigit() for character in password):
        raise PasswordRefusedError("the password needs a digit")
    if required == "lettersAndNumbersAndSpecial" and all(character.isalnum() for character in password):
        raise PasswordRefusedError("the password needs a character that is neither letter nor digit")


def check_history(password: str, old: list[str]) -> None:
    """Refuse a password that is among `old` hashes; costs a hash for each. Raises PasswordRefusedError."""
    if any(verify(password, stored) for stored in old):
        raise PasswordRefusedError("the password was used before")
