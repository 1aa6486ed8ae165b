"""The commands by name."""

from __future__ import annotations

from mailstead.ftp_backup.commands import access, places, site, transfer
from mailstead.ftp_backup.session import Entry


def table() -> dict[str, Entry]:
    """All commands; ``open`` ones are known before the login."""
    commands = {
        "USER": Entry(access.user, open=True),
        "PASS": Entry(access.password, open=True),
        "ACCT": Entry(lambda _s, _a: "202 no account is needed", open=True),
        "AUTH": Entry(access.auth, open=True),
        "PBSZ": Entry(access.pbsz, open=True),
        "PROT": Entry(access.prot, open=True),
        "CCC": Entry(lambda _s, _a: "534 the control connection stays protected", open=True),
        "REIN": Entry(access.rein, open=True),
        "QUIT": Entry(access.quit_, open=True),
        "FEAT": Entry(access.feat, open=True),
        "OPTS": Entry(access.opts, open=True),
        "HELP": Entry(access.help_, open=True),
        "NOOP": Entry(lambda _s, _a: "200 OK", open=True),
        "SYST": Entry(lambda _s, _a: "215 UNIX Type: L8", open=True),
        "CLNT": Entry(lambda _s, _a: "200 OK", open=True),
        "PWD": Entry(places.pwd),
        "CWD": Entry(places.cwd),
        "CDUP": Entry(lambda session, _a: places.cwd(session, "..")),
        "MKD": Entry(places.mkd),
        "SIZE": Entry(places.size),
        "MDTM": Entry(places.mdtm),
        "MLST": Entry(places.mlst),
        "STAT": Entry(places.stat),
        "DELE": Entry(places.refused),
        "RMD": Entry(places.refused),
        "RNFR": Entry(places.refused),
        "RNTO": Entry(places.refused),
        "TYPE": Entry(transfer.type_),
        "STRU": Entry(transfer.stru),
        "MODE": Entry(transfer.mode),
        "PASV": Entry(transfer.pasv),
        "EPSV": Entry(transfer.epsv),
        "PORT": Entry(transfer.port),
        "EPRT": Entry(transfer.eprt),
        "REST": Entry(transfer.rest),
        "ALLO": Entry(transfer.allo),
        "LIST": Entry(transfer.list_, transfer=True),
        "NLST": Entry(transfer.nlst, transfer=True),
        "MLSD": Entry(transfer.mlsd, transfer=True),
        "RETR": Entry(transfer.retr, transfer=True),
        "STOR": Entry(transfer.stor, transfer=True),
        "STOU": Entry(lambda _s, _a: "502 files have names of their own here"),
        "APPE": Entry(lambda _s, _a: "502 a message is stored whole"),
        "SMNT": Entry(lambda _s, _a: "502 there is one tree"),
        "ABOR": Entry(lambda session, _a: session.abort()),
        "SITE": Entry(site.site),
    }
    for old, name in (("XPWD", "PWD"), ("XCWD", "CWD"), ("XCUP", "CDUP"), ("XMKD", "MKD"), ("XRMD", "RMD")):
        commands[old] = commands[name]
    return commands
