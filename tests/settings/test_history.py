"""The history: what an entry tells, which entries are found, and forgetting old ones."""

from __future__ import annotations

from mailstead.settings import Settings
from mailstead.settings.database import Transaction
from mailstead.settings.history import PURGED_AT_ONCE, Filter, HistoryEntry, entries, entry, purge_history

DAY = 86_400 * 1_000_000
NOW = 1_900_000_000 * 1_000_000


def fill(stored: Settings, ages: list[int]) -> None:
    """One entry of each age, in days before NOW."""

    def operation(transaction: Transaction) -> None:
        for age in ages:
            transaction.now = NOW - age * DAY
            transaction.record("anna", "domain", 7, "rename", {"name": f"a{age}"}, {"name": "b"})

    stored.database.write_sync(operation)


async def test_what_is_older_than_the_setting_goes(stored: Settings) -> None:
    fill(stored, [900, 800, 731, 729, 3])
    assert await purge_history(stored.database, NOW) == 3
    assert [one.old for one in entries(stored.database, Filter())] == [{"name": "a3"}, {"name": "a729"}]
    await stored.set("server", "historyDays", "30", "anna")
    assert await purge_history(stored.database, NOW) == 1


async def test_many_go_in_more_than_one_step_and_the_newest_stays(stored: Settings) -> None:
    fill(stored, [1000] * (2 * PURGED_AT_ONCE + 5))
    newest = entries(stored.database, Filter(), limit=1)[0].seq
    assert await purge_history(stored.database, NOW) == 2 * PURGED_AT_ONCE + 4
    assert [one.seq for one in entries(stored.database, Filter())] == [newest]
    fill(stored, [0])
    assert entries(stored.database, Filter(), limit=1)[0].seq == newest + 1


async def test_a_young_entry_ends_the_search(stored: Settings) -> None:
    fill(stored, [1, 1000, 0])
    assert await purge_history(stored.database, NOW) == 0


async def test_caches_see_changes_after_a_purge(stored: Settings) -> None:
    fill(stored, [1000, 1000])
    assert stored.service("imap").maxErrors == 20
    await purge_history(stored.database, NOW)
    other = Settings.open(stored.database.path.parent.parent)
    try:
        await other.set("imap", "maxErrors", "9", "anna")
    finally:
        other.database.close()
    assert stored.service("imap").maxErrors == 9


async def test_entries_are_found_by_object_author_and_time(stored: Settings) -> None:
    fill(stored, [5])
    await stored.set("imap", "maxErrors", "9", "Bob")
    await stored.set("pop3", "maxErrors", "8", "anna")

    def found(**wanted: object) -> list[str]:
        return [one.verb for one in entries(stored.database, Filter(**wanted))]  # type: ignore[arg-type]

    assert found() == ["set pop3", "set imap", "rename"]
    assert found(author="bob") == ["set imap"]
    assert found(objects=[("setting", 0, "set imap"), ("domain", 7, "")]) == ["set imap", "rename"]
    assert found(objects=[(None, 7, "")]) == ["rename"]
    assert found(since=NOW - 6 * DAY) == ["rename"]  # the others were made now, which is before NOW
    assert len(entries(stored.database, Filter(), limit=1)) == 1


async def test_an_entry_tells_before_and_after(stored: Settings) -> None:
    await stored.set("imap", "maxErrors", "9", "anna")
    await stored.set("imap", "maxErrors", "10", "anna")
    await stored.reset("imap", "maxErrors", "anna")
    await stored.set("smtpOutgoing", "smartHostPassword", "hush", "anna")
    lines = [line for one in reversed(entries(stored.database, Filter())) for line in one.lines()]
    assert lines == [
        "imap.maxErrors: (none) -> 9",
        "imap.maxErrors: 9 -> 10",
        "imap.maxErrors: 10 -> (none)",
        "smtpOutgoing.smartHostPassword: (secret) -> (secret)",
    ]


def test_what_looks_like_a_secret_is_hidden_when_it_is_read(stored: Settings) -> None:
    stored.database.write_sync(
        lambda transaction: transaction.execute(
            "INSERT INTO history (time, author, kind, object_id, verb, old, new) "
            """VALUES (1, 'x', 'object', 1, 'set ldapConnector', '{"bindPass":"a"}', '{"bindPass":"b"}')"""
        )
    )
    found = entry(stored.database, 1)
    assert found is not None
    assert list(found.lines()) == []
    assert (found.old, found.new) == ({"bindPass": "(secret)"}, {"bindPass": "(secret)"})


def test_names_of_changes() -> None:
    def changes(verb: str, old: dict[str, object] | None, new: dict[str, object] | None) -> list[str]:
        return list(HistoryEntry(1, 1, "x", "admin", 1, verb, old, new).changes())

    assert changes("grant", None, {"permission": "manageIMAP", "domain": None}) == ["manageIMAP on the server"]
    assert changes("add alias", None, {"alias": "b"}) == changes("remove alias", {"alias": "b"}, None) == ["alias b"]
    assert changes("disable", None, None) == ["enabled"]
    assert changes("create", None, {"name": "b"}) == ["*"]
    assert changes("set class", None, {"class": 3}) == ["class"]
    assert changes("rename", {"name": "a"}, {"name": "b"}) == ["name"]
