"""What a look-up gives: a status and plain records, never an exception.

Invariants: ``records`` is empty unless the status is FOUND; names are lower-case A-labels without the final dot;
a caller can always tell "there is no such name" from "nobody could say".
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Status(Enum):
    """FOUND; NO_DATA (the name exists without that type); NO_DOMAIN (NXDOMAIN, RFC 8020); FAILED (no server gave a
    usable answer: try later)."""

    FOUND = "found"
    NO_DATA = "no data"
    NO_DOMAIN = "no such domain"
    FAILED = "temporary failure"


@dataclass(frozen=True, slots=True, order=True)
class MxRecord:
    """RFC 5321 5.1; an empty host is the null MX of RFC 7505."""

    preference: int
    host: str


@dataclass(frozen=True, slots=True)
class TlsaRecord:
    """RFC 6698 2.1."""

    usage: int
    selector: int
    matching: int
    data: bytes


Record = str | bytes | MxRecord | TlsaRecord


@dataclass(frozen=True, slots=True)
class Answer:
    """``canonical`` is the name at the end of the CNAME chain; ``authentic`` the AD bit, worth what the way to the
    server is worth; ``ttl`` in seconds as kept here; ``reason`` tells of a failure.

    Records are text for A, AAAA, NS, PTR (names and addresses), octets for TXT (strings joined), and structs for MX and
    TLSA.
    """

    name: str
    rdtype: str
    status: Status
    records: tuple[Record, ...] = ()
    canonical: str = ""
    authentic: bool = False
    ttl: int = 0
    reason: str = ""

    @property
    def found(self) -> bool:
        return self.status is Status.FOUND

    @property
    def failed(self) -> bool:
        """True where asking again later may help."""
        return self.status is Status.FAILED

    @property
    def texts(self) -> list[str]:
        """Addresses or names."""
        return [record for record in self.records if isinstance(record, str)]

    @property
    def octets(self) -> list[bytes]:
        """TXT strings."""
        return [record for record in self.records if isinstance(record, bytes)]

    @property
    def mx(self) -> list[MxRecord]:
        return [record for record in self.records if isinstance(record, MxRecord)]

    @property
    def tlsa(self) -> list[TlsaRecord]:
        return [record for record in self.records if isinstance(record, TlsaRecord)]
