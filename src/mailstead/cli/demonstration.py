"""What the demonstration holds, and what it says when it is ready.

Invariants: it listens on loopback only; plain-text logins are allowed there and nowhere else.
"""

from __future__ import annotations

from pathlib import Path

from mailstead.directory.service import Directory
from mailstead.process.installation import ListenerPlan, Plan
from mailstead.settings.listeners import ListenerSettings

DOMAIN = "example.test"
PASSWORD = "mailstead-demo"
ACCOUNTS = ("alice", "bob")

_OPEN = {
    "maxConnections": "20000", "peerMaxConnections": "20000",
    "maxIntervalConnections": "0", "peerMaxIntervalConnections": "0",
}  # fmt: skip
_TLS = {"sslEnable": "yes"}
_SUBMISSION = {"submission": "yes"}

PORTS: tuple[tuple[str, int, dict[str, str], str], ...] = (
    ("smtpIncoming", 2525, {}, "SMTP"),
    ("smtpIncoming", 2587, _SUBMISSION, "submission"),
    ("smtpIncoming", 2465, {**_SUBMISSION, **_TLS}, "submission, TLS"),
    ("imap", 2143, {}, "IMAP"),
    ("imap", 2993, _TLS, "IMAP, TLS"),
    ("pop3", 2110, {}, "POP3"),
    ("pop3", 2995, _TLS, "POP3, TLS"),
    ("managesieve", 4190, {}, "ManageSieve"),
    ("cli", 7000, {}, "administration"),
    ("cli", 7001, _TLS, "administration, TLS"),
)

_PLAIN_AUTH = "plain login scram-sha-1 scram-sha-256"


def demo_plan(offset: int = 0) -> Plan:
    """The demonstration's data directory; `offset` is added to every port."""
    settings = [(service, "plainConnAuthTypes", _PLAIN_AUTH) for service in ("smtpIncoming", "imap", "pop3", "managesieve")]
    settings += [(service, "plainConnAllowLogin", "yes") for service in ("imap", "pop3")]
    settings.append(("server", "metricsPort", "0" if offset else "9100"))
    return Plan(
        hostname="localhost",
        domain=DOMAIN,
        admin="admin",
        admin_password=PASSWORD,
        accounts=[(name, PASSWORD) for name in ACCOUNTS],
        postmaster=ACCOUNTS[0],
        listeners=[
            ListenerPlan(service, f"{host}:{port + offset}", {**_OPEN, **attributes})
            for service, port, attributes, _title in PORTS
            for host in ("127.0.0.1", "[::1]")
        ],
        settings=settings,
        certificate_names=["localhost", f"mail.{DOMAIN}", "127.0.0.1", "::1"],
    )


def has_ports_of(data: Path, offset: int) -> bool:
    """Whether an existing demonstration listens where a new one with this offset would, however its listeners changed."""
    directory = Directory.open(data)
    try:
        services = {service for service, _, _, _ in PORTS}
        there = {(service, listener.port) for service in services for listener in directory.settings.listeners(service)}
    finally:
        directory.close()
    # Two offsets may have one port in common (2465 + 60 = 2525), but never two.
    return len(there & {(service, port + offset) for service, port, _, _ in PORTS}) > 1


def _title(listener: ListenerSettings) -> str:
    if listener.service == "smtpIncoming":
        return ("submission" if listener.submission else "SMTP") + (", TLS" if listener.sslEnable else "")
    if listener.service == "managesieve":
        return "ManageSieve" + (", TLS" if listener.sslEnable else "")
    if listener.service == "cli":
        return "administration" + (", TLS" if listener.sslEnable else "")
    return listener.service.upper() + (", TLS" if listener.sslEnable else "")


def banner(data: Path) -> str:
    """Ports, accounts and one example for each protocol, from the settings as they are."""
    directory = Directory.open(data)
    try:
        services = ("smtpIncoming", "imap", "pop3", "managesieve", "cli")
        listeners = [listener for service in services for listener in directory.settings.listeners(service)]
        accounts = sorted(account.address for account in directory.accounts())[:10]
    finally:
        directory.close()
    ports: dict[str, list[ListenerSettings]] = {}
    for listener in listeners:
        if listener.enable:
            ports.setdefault(_title(listener), []).append(listener)
    lines = ["", f"Mailstead demo on loopback, data in {data}", ""]
    for title, group in ports.items():
        lines.append(f"  {title:<19} " + "  ".join(listener.address for listener in group))
    lines += ["", f"  accounts            {'  '.join(accounts)}  (password {PASSWORD})", "", "  try:"]
    first = {title: group[0].port for title, group in ports.items()}
    sender, recipient = f"alice@{DOMAIN}", f"bob@{DOMAIN}"
    if "submission" in first:
        lines.append(
            f"    swaks --server 127.0.0.1:{first['submission']} --tls --auth-user {sender} "
            f"--auth-password {PASSWORD} --from {sender} --to {recipient}"
        )
    if "SMTP" in first:
        lines.append(
            f"    printf 'Subject: hello\\r\\n\\r\\nhello\\r\\n' | curl --url smtp://127.0.0.1:{first['SMTP']} "
            f"--mail-from you@example.org --mail-rcpt {recipient} --upload-file -"
        )
    if "IMAP" in first:
        lines.append(f"    curl --user {recipient}:{PASSWORD} 'imap://127.0.0.1:{first['IMAP']}/INBOX;UID=1'")
    if "POP3, TLS" in first:
        lines.append(f"    curl -k --user {recipient}:{PASSWORD} pop3s://127.0.0.1:{first['POP3, TLS']}/")
    if "administration" in first:
        lines.append(f"    telnet 127.0.0.1 {first['administration']}   # USER admin, password {PASSWORD}, HELP, LIST Domains")
    lines += ["", "Ready. Stop with Ctrl-C.", ""]
    return "\n".join(lines)
