"""Context smtpIncoming (SMI-01..30)."""

from __future__ import annotations

from mailstead.settings.declaration import Context, Reload, boolean, choice, integer, text, words
from mailstead.settings.declarations import service_model as service

CONTEXT = Context(
    "smtpIncoming",
    (
        *service.threads(),
        *service.errors(),
        *service.logging(),
        *service.user_database(),
        *service.authentication(),
        text("hostname", "", "Name in the greeting and in Received; empty = server name", longest=255),
        text("smtpGreeting", "Mailstead ESMTP ready", "Text of the greeting after the host name", longest=400),
        integer("maxReceivedHeaders", 30, 0, 1000, "More Received fields than this are a loop; 0 = unlimited"),
        integer("maxDataSize", 10_240, 0, service.UNLIMITED, "Largest message; 0 = unlimited", "KB"),
        integer("maxRcptCount", 1000, 0, 1_000_000, "Recipients in one transaction; 0 = unlimited"),
        boolean("allow8bitMime", True, "Offer 8BITMIME"),
        boolean("allowBinaryData", True, "Offer CHUNKING and BINARYMIME"),
        boolean("allowPipelining", True, "Offer PIPELINING"),
        boolean("allowDSN", True, "Offer DSN"),
        boolean("allowSmtpUtf8", True, "Offer SMTPUTF8"),
        boolean("rejectBareNewlines", True, "Refuse messages with a CR or LF that stands alone"),
        text("recipientDelimiter", "+", "Characters that part user and detail in a local part; empty = off", longest=8),
        choice("localDelivery", "all", ("none", "auth", "all"), "Who may send to local recipients"),
        choice("remoteDelivery", "auth", ("none", "auth", "all"), "Who may send to other servers"),
        words("relayNetworks", (), "Addresses, ranges and networks that may send to other servers without a login"),
        boolean("requireAuthOnSubmission", True, "Ports 587 and 465 take mail from authenticated users only"),
        boolean("checkSenderLogin", True, "An authenticated user may only send as itself"),
        integer("waitProcessingTimeout", 10, 0, 600, "Wait for processing before the final reply", "seconds"),
        integer("commandTimeout", 300, 1, 86_400, "Wait for a command", "seconds", reload=Reload.NEW_SESSIONS),
        integer("dataTimeout", 180, 1, 86_400, "Wait for a block of message data", "seconds"),
        integer("maxTransactions", 0, 0, 1_000_000, "Messages in one connection; 0 = unlimited"),
        boolean("enableSmtpRouting", False, "Look recipients up in the user map and relay to their back end"),
    ),
    permission="manageSMTPIn",
    help="Reception of mail",
)
