"""Context dnr: the resolver (SMO-20)."""

from __future__ import annotations

from mailstead.settings.declaration import Context, integer, words
from mailstead.settings.declarations import service_model as service

CONTEXT = Context(
    "dnr",
    (
        *service.logging(),
        integer("timeout", 5, 1, 120, "Wait for the first answer; doubled with each retry", "seconds"),
        integer("retries", 3, 0, 10, "Repeats of a query"),
        integer("cacheSize", 1000, 1, 1_000_000, "Cached answers of each record type"),
        words("nameservers", (), "Servers, address or address:port, where there is no nameserver object; empty = the system's"),
    ),
    permission="manageDNR",
    help="Name resolution",
)
