"""Login, TLS (RFC 4217), what the service can do (RFC 2389), the end."""

from __future__ import annotations

from mailstead.ftp_backup.session import Session

FEATURES = (
    "EPRT", "EPSV", "MDTM", "MLST type*;size*;modify*;perm*;unique*;", "REST STREAM", "SIZE", "TVFS", "UTF8",
)  # fmt: skip


def user(session: Session, argument: str) -> str:
    """USER: a new login begins. Nothing is said of whether there is such an administrator."""
    if session.actor is not None:
        return "503 log out first (REIN)"
    if not argument or len(argument) > 256:
        return "501 a name is needed"
    if not _may_speak_plainly(session):
        return "530 use AUTH TLS first"
    session.user = argument
    return "331 password, please"


def _may_speak_plainly(session: Session) -> bool:
    link = session.link
    return link.tls is not None or session.loopback or link.endpoint.ssl_context is None


async def password(session: Session, argument: str) -> str:
    """PASS: only who may back up or restore something is let in."""
    if session.actor is not None or not session.user:
        return "503 say USER first"
    name, session.user = session.user, ""
    found = await session.services.administrators.verify(name, argument, peer=session.link.peer[0])
    if found is not None:
        actor, version = found
        rights = set(actor.server).union(*actor.domains.values())
        if actor.everything or rights & {"backupAnyDomain", "restoreAnyDomain", "backupDomain", "restoreDomain"}:
            session.enter(actor, version)
            session.link.log.info("administrator logged in", administrator=actor.name, peer=session.link.peer[0])
            return "230 welcome"
    session.link.log.warning("administrator login failed", administrator=name[:64], peer=session.link.peer[0])
    session.auth_errors += 1
    limit = session.link.endpoint.max_auth_errors
    if limit and session.auth_errors >= limit:
        session.reply("421 too many failed logins")
        session.bye()
        return ""
    return "530 wrong name or password, or no right to back up"


async def auth(session: Session, argument: str) -> str:
    """AUTH TLS: nothing said before it counts afterwards (RFC 4217 section 4)."""
    link = session.link
    if argument.upper() not in ("TLS", "TLS-C", "SSL", "TLS-P"):
        return "504 AUTH TLS is known"
    if link.tls is not None:
        return "503 TLS is active"
    if link.endpoint.ssl_context is None:
        return "431 TLS is not available"
    session.reply("234 begin TLS")
    session.lines.clear()
    session.reset()
    await link.start_tls()
    return ""


def pbsz(session: Session, argument: str) -> str:
    """RFC 4217 section 9: a stream has no buffer."""
    if session.link.tls is None:
        return "503 use AUTH TLS first"
    session.buffer_said = True
    return "200 PBSZ=0"


def prot(session: Session, argument: str) -> str:
    """How data connections are protected."""
    if session.link.tls is None or not session.buffer_said:
        return "503 say PBSZ first"
    level = argument.upper()
    if level in ("S", "E"):
        return "536 C and P are known"
    if level not in ("C", "P"):
        return "504 C and P are known"
    session.protection = level
    return f"200 protection is {level}"


def rein(session: Session, argument: str) -> str:
    """REIN: as after the greeting; TLS stays."""
    session.reset()
    return "220 ready for another login"


def quit_(session: Session, argument: str) -> str:
    """QUIT."""
    session.reply("221 bye")
    session.bye()
    return ""


def feat(session: Session, argument: str) -> str:
    """FEAT (RFC 2389 section 3)."""
    found = list(FEATURES)
    if session.link.endpoint.ssl_context is not None or session.link.tls is not None:
        found += ["AUTH TLS", "PBSZ", "PROT"]
    return "\n".join(["211-features:", *(f" {name}" for name in sorted(found)), "211 end"])


def opts(session: Session, argument: str) -> str:
    """OPTS: names are UTF-8 anyhow; MLST facts are all given."""
    words = argument.upper().split(" ", 1)
    if words[0] == "UTF8":
        return "200 names are UTF-8"
    if words[0] == "MLST":
        return "200 MLST OPTS type;size;modify;perm;unique;"
    return "501 unknown option"


def help_(session: Session, argument: str) -> str:
    """HELP."""
    names = sorted(session.entries)
    lines = [" " + " ".join(names[start : start + 12]) for start in range(0, len(names), 12)]
    return "\n".join(["214-commands:", *lines, "214 end"])
