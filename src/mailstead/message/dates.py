"""Dates of mail: RFC 5322 (with obsolete and common broken forms) and IMAP date-time.

Invariants
- Reading never raises; what cannot be understood is None (or 0 from `sent_time`).
- All times are Unix seconds in UTC; nothing depends on the locale or the zone
  of the machine.
"""

import re
from datetime import date
from time import gmtime

_MONTHS = {
    name: number
    for number, name in enumerate(("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"), start=1)
}
_MONTH_NAMES = ("", "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_DAY_NAMES = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")

# RFC 5322 section 4.3; a military letter says nothing (RFC 1123 section 5.2.14) and counts as UTC.
_ZONES = {
    b"UT": 0, b"GMT": 0, b"UTC": 0, b"Z": 0, b"EST": -18000, b"EDT": -14400, b"CST": -21600, b"CDT": -18000,
    b"MST": -25200, b"MDT": -21600, b"PST": -28800, b"PDT": -25200, b"CET": 3600, b"CEST": 7200, b"MET": 3600,
    b"MEST": 7200, b"BST": 3600, b"WET": 0, b"WEST": 3600, b"EET": 7200, b"EEST": 10800, b"MSK": 10800,
    b"JST": 32400, b"AEST": 36000, b"NZST": 43200,
}  # fmt: skip
_EPOCH = date(1970, 1, 1).toordinal()

_rfc5322 = re.compile(
    rb"\s{0,9}(?:[A-Za-z]{2,9}\.?\s{0,9},?\s{0,9})?(\d{1,2})[\s.-]{1,9}([A-Za-z]{3,9})\.?[\s,-]{1,9}(\d{2,4})[\s,]{1,9}"
    rb"(\d{1,2})[:.](\d{1,2})(?:[:.](\d{1,2})(?:\.\d{1,9})?)?\s{0,9}(?:\"?([+-]\d{1,2}:?\d{2}|[A-Za-z]{1,5}))?"
).match
_asctime = re.compile(
    rb"\s{0,9}(?:[A-Za-z]{3,9},?\s{1,9})?([A-Za-z]{3,9})\s{1,9}(\d{1,2}),?\s{1,9}"
    rb"(?:(\d{4})\s{1,9})?(\d{1,2}):(\d{2})(?::(\d{2}))?(?:\s{1,9}(?!\d{4}\b)([+-]\d{4}|[A-Za-z]{1,5}))?(?:\s{1,9}(\d{4}))?"
).match
_iso = re.compile(
    rb"\s{0,9}(\d{4})-(\d{1,2})-(\d{1,2})(?:[T\s]\s{0,9}(\d{1,2}):(\d{2})(?::(\d{2})(?:\.\d{1,9})?)?)?"
    rb"\s{0,9}([+-]\d{2}:?\d{2}|[A-Za-z]{1,5})?"
).match
_imap = re.compile(r'"?([ \d]\d)-([A-Za-z]{3})-(\d{4}) (\d\d):(\d\d):(\d\d) ([+-])(\d\d)(\d\d)"?').fullmatch
_comment = re.compile(rb"\([^()]{0,200}\)")


def _zone(text: bytes | None) -> int:
    """Seconds east of UTC; 0 for what is unknown (RFC 5322 section 4.3: as -0000)."""
    if not text:
        return 0
    if text[0] in b"+-":
        digits = text[1:].replace(b":", b"")
        hours, minutes = int(digits[:-2]), int(digits[-2:])
        if hours > 24 or minutes > 59:
            return 0
        seconds = hours * 3600 + minutes * 60
        return -seconds if text[0] == 45 else seconds
    return _ZONES.get(text.upper(), 0)


def _stamp(year: int, month: int, day: int, hour: int, minute: int, second: int, zone: int) -> int | None:
    if hour > 24 or minute > 59 or second > 61:
        return None
    try:
        days = date(year, month, day).toordinal() - _EPOCH
    except ValueError:
        return None
    return days * 86400 + hour * 3600 + minute * 60 + second - zone


def _year(text: bytes) -> int:
    """Two and three digit years as RFC 5322 section 4.3 has them."""
    year = int(text)
    if len(text) == 2:
        return year + (2000 if year < 50 else 1900)
    return year + 1900 if len(text) == 3 else year


def parse_date(value: bytes | str) -> int | None:
    """Unix seconds of a Date field's value, or None.

    Reads RFC 5322 section 3.3 and 4.3, and, because mail has them, asctime and ISO 8601 forms.
    """
    if isinstance(value, str):
        value = value.encode("ascii", "replace")
    value = value[:400]
    found = _rfc5322(value)
    if found is None and b"(" in value:
        value = _comment.sub(b" ", value)
        found = _rfc5322(value)
    if found is not None:
        day, name, year, hour, minute, second, zone = found.groups()
        month = _MONTHS.get(name[:3].lower().decode())
        if month is None:
            return None
        return _stamp(_year(year), month, int(day), int(hour), int(minute), int(second or 0), _zone(zone))
    found = _asctime(value)
    if found is not None:
        name, day, early, hour, minute, second, zone, late = found.groups()
        month = _MONTHS.get(name[:3].lower().decode())
        if month is None or not (early or late):
            return None
        return _stamp(int(late or early), month, int(day), int(hour), int(minute), int(second or 0), _zone(zone))
    found = _iso(value)
    if found is not None:
        year, number, day, hour, minute, second, zone = found.groups()
        return _stamp(int(year), int(number), int(day), int(hour or 0), int(minute or 0), int(second or 0), _zone(zone))
    return None


def sent_time(value: bytes) -> int:
    """Unix seconds of a Date field's value, 0 where it says nothing usable."""
    stamp = parse_date(value)
    return stamp if stamp is not None and 0 < stamp < 253402300800 else 0


def _clock(ts: int | float) -> tuple[int, int, int, int, int, int, int]:
    """gmtime of `ts`, held within the years 1970 to 9999 that four digits can show."""
    return gmtime(min(max(int(ts), 0), 253402300799))[:7]


def rfc5322_date(ts: int | float) -> str:
    """Date field value for Unix seconds, in UTC: `Wed, 17 Jul 1996 02:44:25 +0000`."""
    year, month, day, hour, minute, second, weekday = _clock(ts)
    return f"{_DAY_NAMES[weekday]}, {day:02d} {_MONTH_NAMES[month]} {year:04d} {hour:02d}:{minute:02d}:{second:02d} +0000"


def imap_date_time(ts: int) -> str:
    """IMAP date-time without quotes for Unix seconds: `17-Jul-1996 02:44:25 +0000` (RFC 3501 section 9)."""
    year, month, day, hour, minute, second, _ = _clock(ts)
    return f"{day:02d}-{_MONTH_NAMES[month]}-{year:04d} {hour:02d}:{minute:02d}:{second:02d} +0000"


def parse_imap_date_time(text: str) -> int | None:
    """Unix seconds of an IMAP date-time, with or without its quotes, or None if it is not one."""
    found = _imap(text) if text.isascii() else None
    if found is None:
        return None
    day, name, year, hour, minute, second, sign, zone_hours, zone_minutes = found.groups()
    month = _MONTHS.get(name.lower())
    if month is None or int(hour) > 23 or int(zone_minutes) > 59:
        return None
    zone = int(zone_hours) * 3600 + int(zone_minutes) * 60
    return _stamp(int(year), month, int(day), int(hour), int(minute), int(second), -zone if sign == "-" else zone)
