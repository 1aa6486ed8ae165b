"""Changing settings: validation, events, and a second process that sees them."""

from __future__ import annotations

from pathlib import Path

import pytest

from mailstead.settings import Actor, InvalidValueError, PermissionDeniedError, Settings, SettingsChange


async def test_change_is_typed_frozen_and_survives_reopening(stored: Settings, tmp_path: Path) -> None:
    before = stored.service("imap")
    await stored.set("IMAP", "MAXERRORS", "7", "test")
    assert before.maxErrors == 20
    assert stored.service("imap").maxErrors == 7
    with pytest.raises(AttributeError, match="frozen"):
        stored.service("imap").maxErrors = 8  # type: ignore[misc]
    with pytest.raises(AttributeError, match="maxErorrs"):
        _ = stored.service("imap").maxErorrs
    other = Settings.open(tmp_path)
    assert other.service("imap").maxErrors == 7
    await stored.reset("imap", "maxErrors", "test")
    assert other.service("imap").maxErrors == 20
    other.database.close()


async def test_refused_change_leaves_no_trace(stored: Settings) -> None:
    for context, name, value in (("imap", "maxErrors", "x"), ("imap", "nothing", "1"), ("nowhere", "a", "1")):
        with pytest.raises(InvalidValueError):
            await stored.set(context, name, value, "test")
    with pytest.raises(PermissionDeniedError):
        await stored.set("imap", "maxErrors", "3", Actor("x", server=frozenset({"managePOP3"})))
    assert stored.database.query("SELECT count(*) FROM history")[0][0] == 0


async def test_retry_times_keep_their_order(stored: Settings) -> None:
    with pytest.raises(InvalidValueError, match="below"):
        await stored.set("processing", "schedInterval", "28800", "test")
    await stored.set("processing", "schedInterval", "60", "test")
    with pytest.raises(InvalidValueError, match="below"):
        await stored.set("processing", "maxSchedInterval", "60", "test")


async def test_subscribers_hear_of_changes_here_and_elsewhere(stored: Settings, tmp_path: Path) -> None:
    heard: list[SettingsChange] = []
    stored.subscribe(heard.append)
    assert not stored.poll()
    await stored.set("pop3", "maxErrors", "3", "test")
    other = Settings.open(tmp_path)
    await other.set("imap", "maxErrors", "3", "test")
    await other.add_listener("imap", "127.0.0.1:2143", {}, "test")
    assert stored.poll()
    assert [change.context for change in heard[:1]] == ["pop3"]
    assert {change.context for change in heard} == {"pop3", "imap", "listeners"}
    other.database.close()


async def test_what_a_subscriber_makes_of_several_settings_ends_with_the_newest(stored: Settings, tmp_path: Path) -> None:
    """A change that another process makes while a subscriber reads: what it says last is what holds, as of listeners."""
    other = Settings.open(tmp_path)
    said: list[tuple[int, int]] = []
    pending = [("pop3", "maxErrors", "8")]

    def read(_change: SettingsChange) -> None:
        first = stored.service("pop3").maxErrors
        for context, name, value in [pending.pop()] if pending else []:
            other.set_sync(context, name, value, "test")
        said.append((first, stored.service("imap").maxErrors))

    stored.subscribe(read)
    await other.set("imap", "maxErrors", "7", "test")
    stored.poll()
    assert said[-1] == (8, 7), said
    other.database.close()
