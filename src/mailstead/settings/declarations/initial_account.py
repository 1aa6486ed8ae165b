"""Context initialAccountSettings of the server and of a domain: where the settings of new accounts begin (WML-10)."""

from __future__ import annotations

from typing import Any

from mailstead.settings.declaration import Context, Kind, Setting, boolean, choice, choice_set, form, text

DAYS = ("sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday")
CALENDARS = ("gregorian", "persian")


def working_time(**more: Any) -> tuple[Setting, ...]:
    """Dates, times and the week of a user."""
    return (
        choice("weekStartDay", "monday", DAYS, "First day of the week", **more),
        choice_set("workingDays", DAYS[1:6], DAYS, "Days of work", **more),
        form("startWorkingTime", Kind.TIME, "08:00:00", "Begin of work", **more),
        form("endWorkingTime", Kind.TIME, "17:00:00", "End of work", **more),
        text("dateFormat", "MM/DD/YYYY", "How dates are shown", longest=64, **more),
        text("timeFormat", "hh:mm AM", "How times are shown", longest=64, **more),
        choice("calendarType", "gregorian", CALENDARS, "Calendar", **more),
        boolean("autoAddRecipients", True, "Collect the addresses that are written to", **more),
    )


SERVER = Context(
    "initialAccountSettings", working_time(), permission="manageServerConfig", help="Where settings of new accounts begin",
)  # fmt: skip
DOMAIN = Context(
    "initialAccountSettings", working_time(inherits=True), permission="manageDomainConfig",
    help="Where settings of the domain's new accounts begin", scope="domainConfig", prefixed=True,
)  # fmt: skip
