"""Context smtpOutgoing (SMO-01..19): how mail leaves; retry times live in `processing`, as in the CLI."""

from __future__ import annotations

from mailstead.settings.declaration import Context, Kind, Setting, boolean, choice, choice_set, integer, text
from mailstead.settings.declarations import service_model as service

CONTEXT = Context(
    "smtpOutgoing",
    (
        *service.threads(),
        *service.logging(),
        boolean("enableIPv6", False, "Ask for AAAA records of targets too"),
        text("hostname", "", "Name in EHLO; empty = server name", longest=255),
        text("smartHost", "", "Name or [address] that gets all outgoing mail; empty = MX", longest=255),
        integer("smartHostPort", 25, 1, 65_535, "Port of the smart host"),
        boolean("smartHostTls", False, "Speak TLS to the smart host from the first octet"),
        text("smartHostUser", "", "User name at the smart host; empty = none", longest=255),
        Setting("smartHostPassword", Kind.SECRET, "", "Password at the smart host", maximum=255),
        choice_set(
            "smartHostAuthTypes",
            ("plain", "login", "cram-md5", "scram-sha-1", "scram-sha-256"),
            ("plain", "login", "cram-md5", "digest-md5", "scram-sha-1", "scram-sha-256"),
            "Mechanisms for the smart host",
        ),
        integer("remotePort", 25, 1, 65_535, "Port of the targets found by MX"),
        boolean("allowStartTLS", True, "Use TLS when the target offers it"),
        boolean("requireTls", False, "Deliver over TLS or not at all"),
        boolean("verifyCertificates", False, "Deliver only to a target with a valid certificate"),
        choice_set(
            "allowedSSLVersions",
            ("tls1_2", "tls1_3"),
            ("tls1", "tls1_1", "tls1_2", "tls1_3"),
            "TLS versions towards targets",
        ),
        Setting("localAddress", Kind.ADDRESS, "", "Local IPv4 address to send from; empty = any"),
        Setting("localAddress6", Kind.ADDRESS, "", "Local IPv6 address to send from; empty = any"),
        integer("maxConnections", 100, 1, 65_535, "Connections to all targets"),
        integer("maxConnectionsPerDomain", 10, 1, 65_535, "Connections to one target domain"),
        integer("maxRecipientsPerTransaction", 100, 1, 10_000, "Recipients in one transaction"),
        integer("maxMessagesPerConnection", 100, 1, 100_000, "Messages in one connection"),
        integer("connectTimeout", 30, 1, 600, "Wait for a connection", "seconds"),
        integer("commandTimeout", 300, 1, 3600, "Wait for a reply", "seconds"),
        integer("dataTimeout", 600, 1, 7200, "Wait for the reply to message data", "seconds"),
        integer("keepAliveTimeout", 5, 0, 300, "Keep an idle connection for reuse", "seconds"),
        boolean("sendNdr", True, "Send a notice when delivery has failed for good"),
        boolean("sendDelayNdr", True, "Send a notice when delivery is delayed"),
        integer("ndrRetryCount", 4, 1, 1000, "Failed attempts after which the delay notice is sent"),
        choice("ndrAttachSource", "header", ("header", "full", "none"), "What of the message a notice carries"),
        text("ndrSender", "MAILER-DAEMON", "Name or address notices come from", longest=254),
    ),
    permission="manageSMTPOut",
    help="Sending of mail",
)
