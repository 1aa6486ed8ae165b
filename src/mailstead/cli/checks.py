"""The checks of `mailstead doctor`: each looks at one thing and changes nothing."""

from __future__ import annotations

import contextlib
import datetime
import ipaddress
import json
import os
import pwd
import resource
import shutil
import ssl
import stat
from collections.abc import Iterator
from pathlib import Path

import psutil
from cryptography import x509

from mailstead.backup_mount.mount_point import mounted
from mailstead.cli.bootstrap_option import remedy_for_root, serves_as_root
from mailstead.cli.check_host import host_checks
from mailstead.cli.check_names import name_checks
from mailstead.cli.check_store import store_checks
from mailstead.cli.finding import OK, PROBLEM, WARNING, WORDS, Finding
from mailstead.delivery.host import host_name
from mailstead.directory.address import domain_key
from mailstead.directory.service import Directory
from mailstead.process.application import ListenerSpec, StartError
from mailstead.process.binding import bind_or_explain
from mailstead.process.bootstrap import Bootstrap
from mailstead.process.certificates import CertificateError, leaf
from mailstead.settings import InvalidValueError, SystemDatabaseError
from mailstead.settings.declaration import Setting
from mailstead.settings.declarations import LISTENER, OBJECT_KINDS, SERVICE_CONTEXTS
from mailstead.settings.listeners import FACTORY_LISTENERS, NO_CERTIFICATE, ListenerSettings
from mailstead.store.abandoned import is_locked

LOW_SPACE = 1 << 30
WANTED_FILES = 16_384
MOST_NAMES = 20


def check_all(bootstrap: Bootstrap, *, network: bool = True) -> Iterator[Finding]:
    """Every check in turn; `network`: those that ask the DNS too."""
    yield from _disk(bootstrap)
    yield from _rights(bootstrap)
    yield from _open_files()
    running = is_running(bootstrap.data_dir)
    yield Finding(OK, "server", "running" if running else "not running")
    try:
        directory = Directory.open(bootstrap.data_dir, shards=1)
    except SystemDatabaseError as exc:
        yield Finding(PROBLEM, "settings", str(exc), "`mailstead fsck` says more; settings come back from a backup")
        yield from host_checks(None)
        return
    try:
        listeners = [found for service in FACTORY_LISTENERS for found in directory.settings.listeners(service)]
        yield Finding(OK, "settings", f"{len(directory.domains())} domains, {directory.account_count()} accounts")
        yield from _forgotten_values(directory)
        yield from _names(directory)
        yield from _orphans(directory)
        rules = directory.settings.objects.all(OBJECT_KINDS["logRule"], "service")
        counted = all(rule.values.fileCount for rule in rules)
        yield from _indexes(bootstrap.data_dir, directory.shard_count())
        if running:
            served = {name.lower() for name in directory.settings.service("server").services}
            yield from _held_ports(bootstrap.data_dir, [one for one in listeners if one.service.lower() in served])
        else:
            yield from _ports(listeners)
        yield from _certificates(bootstrap, listeners, host_name(directory.settings))
        yield from host_checks(directory.settings)
        logs = bootstrap.data_dir / str(directory.settings.service("log").path)
        yield from store_checks(bootstrap.data_dir, logs, counted=counted)
        if network:
            yield from name_checks(directory)
    finally:
        directory.close()


def findings_json(found: list[Finding]) -> str:
    """The findings as one JSON document."""
    rows = [{"severity": WORDS[one.severity], "subject": one.subject, "text": one.text, "fix": one.fix} for one in found]
    return json.dumps({"worst": WORDS[max((one.severity for one in found), default=0)], "findings": rows}, indent=1)


def _names(directory: Directory) -> Iterator[Finding]:
    for number, text in enumerate(directory.dangling_names()):
        if number == MOST_NAMES:
            yield Finding(WARNING, "names", "and more of these", "mend those above first")
            return
        yield Finding(WARNING, "names", text, "name another, or make it again")


def _orphans(directory: Directory) -> Iterator[Finding]:
    """Subdomains that are not active because the domain above them is gone."""
    kept = {domain_key(one.name) for one in directory.deleted_domains()}
    told = [one for one in directory.orphans() if not directory.domain_settings(one.id).activateWithoutParent]
    for domain in told[:MOST_NAMES]:
        above = str(directory.domain_settings(domain.id).parentDomain)
        text = f"{domain.name} is below {above}, which is not there: nobody logs in and no mail is taken"
        back = f"`mailstead domain add {above}`"
        if domain_key(above) in kept:
            back = f"`mailstead undelete domain {above}`, and ENABLE Domain name {above}"
        yield Finding(WARNING, "subdomains", text, f"{back}, or SET activateWithoutParent yes in {domain.name}")
    if len(told) > MOST_NAMES:
        yield Finding(WARNING, "subdomains", f"and {len(told) - MOST_NAMES} more of these", "mend those above first")


def _disk(bootstrap: Bootstrap) -> Iterator[Finding]:
    usage = shutil.disk_usage(bootstrap.data_dir)
    free = f"{usage.free / (1 << 30):.1f} GB of {usage.total / (1 << 30):.1f} GB free"
    severity = PROBLEM if usage.free < LOW_SPACE // 8 else WARNING if usage.free < LOW_SPACE else OK
    fix = "make room: remove old log files and backups, shorten server.retentionDays, or give the data a larger disk"
    yield Finding(severity, "disk", free, fix if severity else "")
    status = os.statvfs(bootstrap.data_dir)
    if status.f_files and status.f_favail < 10_000:
        fix = "remove files nobody needs, or make the file system anew with more"
        yield Finding(WARNING, "disk", f"only {status.f_favail} inodes free", fix)


def _rights(bootstrap: Bootstrap) -> Iterator[Finding]:
    owner = os.stat(bootstrap.data_dir).st_uid
    name = bootstrap.user
    if name:
        try:
            wanted = pwd.getpwnam(name).pw_uid
        except KeyError:
            fix = f"useradd --system {name}, or name another user in mailstead.toml"
            yield Finding(PROBLEM, "user", f"the user {name!r} of mailstead.toml does not exist", fix)
            return
        if wanted != owner:
            fix = f"chown -R {name} {bootstrap.data_dir}"
            yield Finding(PROBLEM, "rights", f"{bootstrap.data_dir} does not belong to {name}", fix)
            return
    if serves_as_root(bootstrap):
        yield Finding(WARNING, "user", "the server runs as root", remedy_for_root(bootstrap))
    odd, closed = _wrong_rights(bootstrap.data_dir, owner)
    if odd:
        fix = f"chown -R {pwd_name(owner)} {bootstrap.data_dir}"
        yield Finding(PROBLEM, "rights", f"{_and_more(odd)} belong to another user than {pwd_name(owner)}", fix)
    elif os.geteuid() not in (0, owner):
        yield Finding(PROBLEM, "rights", f"you are not the owner of {bootstrap.data_dir}", "run this as root or as the owner")
    else:
        yield Finding(OK, "rights", "all files belong to the owner of the data directory")
    if closed:
        text = f"{_and_more(closed)} are closed to {pwd_name(owner)}, whom they belong to"
        yield Finding(PROBLEM, "rights", text, f"chmod -R u+rwX {bootstrap.data_dir}")
    if os.stat(bootstrap.data_dir).st_mode & 0o007:
        text = f"{bootstrap.data_dir} is open to every user of this machine"
        yield Finding(WARNING, "rights", text, f"chmod o-rwx {bootstrap.data_dir}")


def _wrong_rights(data_dir: Path, owner: int) -> tuple[list[Path], list[Path]]:
    """What belongs to somebody else, and what its owner can neither read nor write; two levels deep."""
    odd, closed = [], []
    mounts = mounted(data_dir)  # not to be looked at: closed to root, or without an answer
    for path in (data_dir, *data_dir.glob("*"), *data_dir.glob("*/*")):
        if str(path) in mounts:
            continue
        try:
            status = path.lstat()
        except OSError:
            continue  # gone meanwhile, or below a directory that is closed and told
        if status.st_uid != owner:
            odd.append(path)
        wanted = 0o700 if stat.S_ISDIR(status.st_mode) else 0o600 if path.parent.name == "index" else 0o400
        if not stat.S_ISLNK(status.st_mode) and status.st_mode & wanted != wanted:
            closed.append(path)
    return odd, closed


def _and_more(paths: list[Path]) -> str:
    return str(paths[0]) if len(paths) == 1 else f"{paths[0]} and {len(paths) - 1} more"


def _open_files() -> Iterator[Finding]:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    unlimited = hard == resource.RLIM_INFINITY
    text = "unlimited" if unlimited else f"at most {hard}; each connection needs one"
    enough = unlimited or hard >= WANTED_FILES
    fix = "" if enough else f"LimitNOFILE={WANTED_FILES} in the service's unit, or ulimit -n"
    yield Finding(OK if enough else WARNING, "open files", text, fix)


def _forgotten_values(directory: Directory) -> Iterator[Finding]:
    """Values that this release, or this machine's OpenSSL, does not take any more: their defaults hold."""
    query = directory.settings.database.query
    for stored, text in query("SELECT name, value FROM setting WHERE scope = 'service' AND scope_id = 0 ORDER BY name"):
        service, _, name = str(stored).rpartition(".")
        declared = SERVICE_CONTEXTS.get(service)
        fault = _fault(declared.by_name.get(name.lower()) if declared is not None else None, text)
        if fault:
            fix = f"mailstead setting reset {service} {name}, or set another value"
            yield Finding(WARNING, "settings", f"{service}: {fault}; its default holds", fix)
    for service, host, port, attributes in query("SELECT service, host, port, attributes FROM listener ORDER BY service, port"):
        address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        for name, text in json.loads(attributes).items():
            fault = _fault(LISTENER.by_name.get(name.lower()), text)
            if fault:
                fix = f"mailstead listener set {service} {address} {name}=..., to a value that is allowed"
                yield Finding(WARNING, "settings", f"{service} {address}: {fault}; its default holds", fix)


def _fault(setting: Setting | None, text: str) -> str:
    if setting is None:
        return ""  # of another release, and kept for it
    try:
        setting.parse(text)
    except InvalidValueError as error:
        return str(error)
    return ""


def is_running(data_dir: Path) -> bool:
    """Whether a server has the data directory."""
    try:
        return is_locked(data_dir / "run" / "mailstead.lock")
    except OSError:
        return False  # closed to us


def _indexes(data_dir: Path, shards: int) -> Iterator[Finding]:
    from mailstead.store.recovery import missing_indexes
    from mailstead.store.service import shard_numbers
    from mailstead.store.shard import shard_path

    missing = missing_indexes(data_dir, shard_numbers(shards))
    for number in missing:
        remedy = f"start the server, which builds it anew from the log; so does `mailstead fsck --rebuild-shard {number}`"
        yield Finding(PROBLEM, "index", f"{shard_path(data_dir / 'index', number)} is missing", remedy)
    if not missing:
        yield Finding(OK, "index", "no file is missing")


def _server_listens_on(data_dir: Path) -> set[tuple[str, int]] | None:
    """Host and port of every socket that the server's processes accept on; None where the system does not tell."""
    try:
        pid = int((data_dir / "run" / "mailstead.lock").read_text())
        server = psutil.Process(pid)
        found: set[tuple[str, int]] = set()
        for process in (server, *server.children(recursive=True)):
            with contextlib.suppress(psutil.NoSuchProcess):  # one that ended meanwhile
                for one in process.net_connections(kind="tcp"):
                    if one.status == psutil.CONN_LISTEN:
                        found.add((str(ipaddress.ip_address(one.laddr.ip)), one.laddr.port))
        return found
    except (OSError, ValueError, psutil.Error):
        return None


def _held_ports(data_dir: Path, listeners: list[ListenerSettings]) -> Iterator[Finding]:
    enabled = [listener for listener in listeners if listener.enable]
    if not enabled:
        yield Finding(WARNING, "ports", "no listener is enabled", "`mailstead listener add`")
        return
    held = _server_listens_on(data_dir)
    if held is None:
        yield Finding(WARNING, "ports", "cannot see what the running server listens on", "ask as root")
        return
    idle = [one for one in enabled if (str(ipaddress.ip_address(one.host)), one.port) not in held]
    for listener in idle:
        text = f"{listener.service} {listener.address}: the running server does not listen there; its log says why"
        yield Finding(PROBLEM, "ports", text, "end the other program that has the port, or move or disable the listener")
    if not idle:
        yield Finding(OK, "ports", f"{len(enabled)} listeners, held by the running server")


def _ports(listeners: list[ListenerSettings]) -> Iterator[Finding]:
    enabled = [listener for listener in listeners if listener.enable]
    if not enabled:
        yield Finding(WARNING, "ports", "no listener is enabled", "`mailstead listener add`")
    bad = 0
    for listener in enabled:
        try:
            for sock in bind_or_explain(ListenerSpec(listener.id, listener.service, listener.host, listener.port)):
                sock.close()
        except StartError as exc:
            bad += 1
            yield Finding(PROBLEM, "ports", str(exc), "end the other program that has the port, or move or disable the listener")
    if not bad:
        yield Finding(OK, "ports", f"{len(enabled)} listeners can be bound")


def _certificates(bootstrap: Bootstrap, listeners: list[ListenerSettings], own: str) -> Iterator[Finding]:
    for listener in listeners:
        if listener.enable and listener.sslEnable and listener.certFile in NO_CERTIFICATE:
            text = f"{listener.service} {listener.address} has sslEnable but no certFile: it serves nobody"
            fix = f"mailstead listener set {listener.service} {listener.address} certFile=certs/default.pem"
            yield Finding(PROBLEM, "certificate", text, fix)
    names = sorted({listener.certFile for listener in listeners if listener.enable} - set(NO_CERTIFICATE))
    if not names:
        fix = "put certificate, chain and key into certs/default.pem, and `mailstead listener set ... certFile=certs/default.pem`"
        yield Finding(WARNING, "certificate", "no listener has one: TLS is not offered", fix)
    now = datetime.datetime.now(datetime.UTC)
    for name in names:
        try:
            certificate = leaf(bootstrap.data_dir / name)
        except CertificateError as exc:
            fix = f"put certificate, chain and key (PEM) into {bootstrap.data_dir / name}, mode 600; it is taken in half a minute"
            yield Finding(PROBLEM, "certificate", str(exc), fix)
            continue
        days = (certificate.not_valid_after_utc - now).days
        severity = PROBLEM if days < 0 else WARNING if days < 14 else OK
        fixes = ["put a new certificate with its key into the file; it is taken within half a minute"] if severity else []
        notes = [f"{name}: valid for {days} days" if days >= 0 else f"{name}: expired"]
        if certificate.issuer == certificate.subject:
            severity = max(severity, WARNING)
            notes.append("self-signed: clients will warn")
            fixes.append("have one signed by an authority that clients know")
        if not names_host(certificate, own):
            severity = max(severity, WARNING)
            notes.append(f"not for {own}")
            fixes.append(f"have {own} among its names, or set server.serverName to one it has")
        mismatch = key_fault(bootstrap.data_dir / name)
        if mismatch:
            severity = PROBLEM
            notes.append(mismatch)
            fixes.append("put certificate, chain and the key that belongs to them into the file")
        with contextlib.suppress(OSError):
            if os.stat(bootstrap.data_dir / name).st_mode & 0o077:
                severity = max(severity, WARNING)
                notes.append("other users can read the key")
                fixes.append(f"chmod 600 {bootstrap.data_dir / name}")
        yield Finding(severity, "certificate", ", ".join(notes), "; ".join(fixes))


def names_host(certificate: x509.Certificate, host: str) -> bool:
    """Whether a certificate is for a host (RFC 6125: names, one wildcard label)."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value.get_values_for_type(x509.DNSName)
    except (x509.ExtensionNotFound, ValueError):
        return False
    rest = host.partition(".")[2]
    return any(name.lower() in (host.lower(), f"*.{rest.lower()}") for name in names)


def key_fault(path: Path) -> str:
    """Why the key of a PEM file cannot serve its certificate; "" where it can."""
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(path, password=lambda: b"")
    except ssl.SSLError as error:
        mismatch = "MISMATCH" in str(error)
        return "the key does not belong to the certificate" if mismatch else f"the key cannot be used: {error.reason}"
    except OSError as error:
        return f"the file cannot be read: {error.strerror}"
    return ""


def certificate_fault(path: Path) -> str:
    """Why a PEM file cannot serve a listener; "" where it can."""
    try:
        leaf(path)
    except CertificateError as error:
        return str(error)
    fault = key_fault(path)
    return f"{path}: {fault}" if fault else ""


def pwd_name(uid: int) -> str:
    """A user's name, or number."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
