"""What a script decides, and what it can ask of a message."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Keep:
    """Into the folder where the message would go anyway. ``flags`` None: those of its own accord, none."""

    flags: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class FileInto:
    """Into a folder; ``create`` makes it where there is none (RFC 5490 section 3.2)."""

    folder: str
    flags: tuple[str, ...] | None = None
    create: bool = False


@dataclass(frozen=True, slots=True)
class Redirect:
    """On to another address."""

    address: str


@dataclass(frozen=True, slots=True)
class Reject:
    """Back to the sender with a text (RFC 5429)."""

    reason: str


Action = Keep | FileInto | Redirect | Reject


class Mail(Protocol):
    """A message as scripts see it. Header values are decoded and unfolded; names in any case."""

    @property
    def size(self) -> int: ...
    def header(self, name: str) -> Sequence[str]: ...
    def addresses(self, name: str) -> Sequence[str]: ...
    def envelope(self, part: str) -> Sequence[str]: ...
    def body(self, transform: str, types: Sequence[str]) -> Sequence[str]: ...
    def mailbox_exists(self, name: str) -> bool: ...
