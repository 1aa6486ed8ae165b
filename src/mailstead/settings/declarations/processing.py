"""Context processing (SMO-06, SMO-11, SMO-12, SMI-20)."""

from __future__ import annotations

from mailstead.settings.declaration import Context, Reload, integer, path
from mailstead.settings.declarations import service_model as service

CONTEXT = Context(
    "processing",
    (
        *service.logging(),
        integer("schedInterval", 300, 1, 86_400, "First retry of a failed delivery; doubled each time", "seconds"),
        integer("maxSchedInterval", 28_800, 5, 604_800, "Longest time between retries", "seconds"),
        integer("maxRetryCount", 20, 1, 1000, "Retries before a message is returned"),
        path("queuePath", "queue", "Kept for compatibility: the queue lives in the store"),
        integer("queueEntryCount", 64, 1, 256, "Kept for compatibility: the queue has no directories"),
        integer("procQueueSize", 256, 1, 1_000_000, "Messages in memory while they are processed"),
        integer("deliveryThreads", 20, 1, 1024, "Deliveries at the same time", reload=Reload.RESTART),
        integer("filteringThreads", 20, 1, 1024, "Filters at the same time", reload=Reload.RESTART),
        integer("messagesPerSecond", 20, 0, 1_000_000, "Deliveries to one mailbox per second; 0 = unlimited"),
        integer("disableInterval", 300, 0, 86_400, "A flooded mailbox takes nothing for this time", "seconds"),
        integer("greylistingCache", 10, 1, 525_600, "How long a triplet is remembered", "minutes"),
        integer("defaultAccountQuota", 0, 0, 2**42, "Mailbox size where nothing else says; 0 = unlimited", "KB"),
    ),
    permission="manageProcessing",
    help="Queue and local delivery",
)
