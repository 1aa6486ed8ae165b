"""Dates as mail writes them."""

from email.utils import parsedate_to_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailstead.message.dates import (
    imap_date_time,
    parse_date,
    parse_imap_date_time,
    rfc5322_date,
    sent_time,
)

NOON = 837596665


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("Wed, 17 Jul 1996 02:44:25 -0700", NOON),
        ("Wed, 17 Jul 1996 02:44:25 -0700 (PDT)", NOON),
        ("17 Jul 1996 02:44:25 PDT", NOON),
        ("17 Jul 96 02:44:25 -0700", NOON),
        ("17 Jul 096 02:44:25 -0700", NOON),
        ("Wed,17 Jul 1996 9:44:25 GMT", NOON),
        ("Wed, 17 Jul 1996 09:44:25 Z", NOON),
        ("Wed, 17 Jul 1996 09:44:25 UT", NOON),
        ("Wed, 17 Jul 1996 09:44:25 A", NOON),
        ("Wed, 17 Jul 1996 09:44:25 -0000", NOON),
        ("Wed, 17 Jul 1996 09:44:25", NOON),
        ("Wed (day), 17 (of) Jul 1996 09:44:25 +0000", NOON),
        ("Wednesday, 17-Jul-96 09:44:25 GMT", NOON),
        ("Wed Jul 17 09:44:25 1996", NOON),
        ("Wed Jul 17 09:44:25 GMT 1996", NOON),
        ("1996-07-17T09:44:25Z", NOON),
        ("1996-07-17 11:44:25 +02:00", NOON),
        ("17 Jul 2026 09:44 +0000", 1784281440),
        ("1 Jan 49 00:00 GMT", 2493072000),
        ("1 Jan 70 00:00:00 GMT", 0),
        ("29 Feb 2023 00:00:00 GMT", None),
        ("31 Foo 2023 00:00:00 GMT", None),
        ("1 Jan 2023 25:00:00 GMT", None),
        ("garbage", None),
        ("", None),
    ],
)
def test_parse_date(value: str, expected: int | None) -> None:
    assert parse_date(value) == expected
    assert parse_date(value.encode()) == expected
    assert sent_time(value.encode()) == (expected or 0)


@given(st.integers(0, 253402300799))
def test_our_own_dates_read_back(ts: int) -> None:
    assert parse_date(rfc5322_date(ts)) == ts
    assert parsedate_to_datetime(rfc5322_date(ts)).timestamp() == ts
    assert parse_imap_date_time(imap_date_time(ts)) == ts


def test_imap_date_time() -> None:
    assert imap_date_time(NOON) == "17-Jul-1996 09:44:25 +0000"
    assert parse_imap_date_time('"17-Jul-1996 02:44:25 -0700"') == NOON
    assert parse_imap_date_time(" 7-Jul-1996 02:44:25 +0000") == 836707465
    for wrong in ("17-Jul-1996", "17-Foo-1996 02:44:25 +0000", "32-Jul-1996 02:44:25 +0000", "x", ""):
        assert parse_imap_date_time(wrong) is None
