"""Parts of dates (RFC 5260 section 4.2)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from email.utils import format_datetime, parsedate_to_datetime

_MJD = 678_576
"""Ordinal of Modified Julian Day 0 in Python's calendar."""


def _in_zone(moment: datetime, zone: str) -> datetime:
    sign = -1 if zone[0] == "-" else 1
    offset = timedelta(hours=int(zone[1:3]), minutes=int(zone[3:5]))
    try:
        return moment.astimezone(timezone(sign * offset))
    except (ValueError, OverflowError):
        return moment


def date_part(text: str, part: str, zone: str, original: bool) -> str | None:
    """One part of a date field in a zone like ``+0200`` (its own where ``original``, else UTC); None for no date."""
    try:
        moment = parsedate_to_datetime(text.strip()[:200])
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        if not original:
            moment = _in_zone(moment, zone or "+0000")
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
    offset = moment.strftime("%z")[:5]
    match part:
        case "julian":
            return str(moment.toordinal() - _MJD)
        case "iso8601":
            return moment.strftime("%Y-%m-%dT%H:%M:%S") + (f"{offset[:3]}:{offset[3:]}" if offset != "+0000" else "Z")
        case "std11":
            return format_datetime(moment)
        case "zone":
            return offset
        case "weekday":
            return str((moment.weekday() + 1) % 7)
    formats = {
        "year": "%Y", "month": "%m", "day": "%d", "date": "%Y-%m-%d", "hour": "%H", "minute": "%M", "second": "%S",
        "time": "%H:%M:%S",
    }  # fmt: skip
    return moment.strftime(formats[part])
