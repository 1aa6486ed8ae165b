"""Canonical forms of values that are text with a grammar: times, dates, addresses, URLs, hosts, names of files, ciphers.

Invariants: every function gives a form that it gives back unchanged, or raises ValueError; none looks at anything but
its argument (a time zone's name is looked up in the zone files of this machine, ciphers are those of its OpenSSL).
"""

from __future__ import annotations

import ipaddress
import posixpath
import re
import ssl
from collections.abc import Sequence
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime
from functools import lru_cache
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from mailstead.observe.log_rules import safe_name

OWN_DIRECTORIES = ("certs", "index", "keys", "log", "lost", "run", "tmp")
"""Directories that hold what the server cannot do without; a setting must not have other files written there."""
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

_TIME = re.compile(r"([0-9]{1,2}):([0-9]{2})(?::([0-9]{2}))?")
_ISO_DATE = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})")
_DATE = re.compile(r"([0-9]{1,2}) ([A-Za-z]{3}) ([0-9]{4})")
_LABEL = re.compile(r"(?!-)[\w-]{1,63}(?<!-)")
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*")
_NOT_IN_URL = re.compile(r"[\x00-\x20\x7f\"<>\\^`{|}]")
_NOT_IN_LOCAL = re.compile(r"[\x00-\x20\x7f()<>\[\]:;@\\,\"]")


def time_of_day(text: str) -> str:
    """`8:00` or `08:00:30` as `hh:mm:ss`."""
    match = _TIME.fullmatch(text)
    if match is None:
        raise ValueError(text)
    hour, minute, second = (int(group or 0) for group in match.groups())
    if hour > 23 or minute > 59 or second > 59:
        raise ValueError(text)
    return f"{hour:02}:{minute:02}:{second:02}"


def date(text: str) -> str:
    """`20 Jun 2018`, `2018-06-20`, or a date with time and zone as in RFC 5322 3.3; the first and last are canonical."""
    if match := _ISO_DATE.fullmatch(text):
        year, month, day = (int(group) for group in match.groups())
        return _day(datetime(year, month, day, tzinfo=UTC))
    if match := _DATE.fullmatch(text):
        month_name = match[2].capitalize()
        if month_name not in MONTHS:
            raise ValueError(text)
        return _day(datetime(int(match[3]), MONTHS.index(month_name) + 1, int(match[1]), tzinfo=UTC))
    if not text.isascii() or len(text) > 64:
        raise ValueError(text)
    try:
        moment = parsedate_to_datetime(text)
        return format_datetime(moment if moment.tzinfo else moment.replace(tzinfo=UTC))
    except (TypeError, IndexError, OverflowError) as error:
        raise ValueError(text) from error


def _day(moment: datetime) -> str:
    return f"{moment.day} {MONTHS[moment.month - 1]} {moment.year:04}"


def email_address(text: str) -> str:
    """A plain address, `local@domain`, of at most 254 octets (RFC 5321 4.5.3.1); no display name, no quoted local part."""
    local, at, domain = text.rpartition("@")
    if not at or not local or len(text.encode("utf-8", "surrogatepass")) > 254 or _NOT_IN_LOCAL.search(local):
        raise ValueError(text)
    if local.startswith(".") or local.endswith(".") or ".." in local:
        raise ValueError(text)
    return f"{local}@{_host_name(domain)}"


def url(text: str, schemes: Sequence[str]) -> str:
    """An absolute URL with a host; one of `schemes`, or any where there are none."""
    if _NOT_IN_URL.search(text):
        raise ValueError(text)
    parts = urlsplit(text)
    if not _SCHEME.fullmatch(parts.scheme) or (schemes and parts.scheme not in schemes):
        raise ValueError(text)
    if not parts.hostname or (parts.port is not None and not 0 < parts.port < 65_536):
        raise ValueError(text)
    host(parts.hostname)
    return parts.scheme + text[len(parts.scheme) :]


def host(text: str) -> str:
    """A host name, or an IP address, IPv6 in brackets or bare; addresses come out canonical, IPv6 without brackets."""
    try:
        return str(ipaddress.ip_address(text[1:-1] if text.startswith("[") and text.endswith("]") else text))
    except ValueError:
        return _host_name(text)


def _host_name(text: str) -> str:
    name = text.removesuffix(".")
    if not name or len(name) > 253 or not all(_LABEL.fullmatch(label) for label in name.split(".")):
        raise ValueError(text)
    if name.replace(".", "").isdigit():
        raise ValueError(text)  # an IPv4 address with a mistake in it
    return name


def host_port(text: str) -> str:
    """`host:port`, IPv6 in brackets."""
    name, colon, port = text.rpartition(":")
    if not colon or not (port.isascii() and port.isdigit()) or len(port) > 5 or not 0 < int(port) < 65_536:
        raise ValueError(text)
    if ":" in name and not (name.startswith("[") and name.endswith("]")):
        raise ValueError(text)
    found = host(name)
    return f"[{found}]:{int(port)}" if ":" in found else f"{found}:{int(port)}"


def ip_with_port(text: str) -> str:
    """An IP address, with `:port` where it is not the usual one (IPv6 then in brackets)."""
    try:
        return str(ipaddress.ip_address(text.removeprefix("[").removesuffix("]")))
    except ValueError:
        found = host_port(text)
        ipaddress.ip_address(found.rpartition(":")[0].strip("[]"))
        return found


@lru_cache(maxsize=1024)
def time_zone(text: str) -> str:
    """A name of the zone database."""
    if not text.isascii() or len(text) > 64:
        raise ValueError(text)
    try:
        return ZoneInfo(text).key
    except (OSError, KeyError) as error:  # a directory of zones, or no zone
        raise ValueError(text) from error


def file_name(text: str) -> str:
    """The name of a log file: it lies in the directory of the log, wherever that is (LOG-02)."""
    if not safe_name(text):
        raise ValueError(text)
    return text


def own_directory(text: str) -> str:
    """A relative path that stays under the data directory, outside OWN_DIRECTORIES and not the data directory itself."""
    path = posixpath.normpath(text)
    first = path.partition("/")[0]
    # A blank at either end would not outlive being stored, and hide a name of the server's own.
    if path != path.strip() or posixpath.isabs(path) or first in (".", "..") or first.lower() in OWN_DIRECTORIES:
        raise ValueError(text)
    return path


@lru_cache(maxsize=256)
def ciphers(text: str) -> str:
    """A cipher list of OpenSSL that names one cipher at least."""
    if len(text) > 4096:
        raise ValueError(text)
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).set_ciphers(text)
    except ssl.SSLError as error:
        raise ValueError(text) from error
    return text
