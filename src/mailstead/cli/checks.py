"""The checks of `mailstead doctor`: each looks at one thing and changes nothing."""

from __future__ import annotations

import contextlib
import itertools
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import apsw

from mailstead.cli.check_certificates import certificate_checks
from mailstead.cli.check_directory import is_running, open_files, rights, room
from mailstead.cli.check_host import host_checks
from mailstead.cli.check_names import name_checks
from mailstead.cli.check_ports import free_ports, held_ports
from mailstead.cli.check_references import dangling_references
from mailstead.cli.check_store import is_behind, store_checks
from mailstead.cli.finding import OK, PROBLEM, WARNING, WORDS, Finding
from mailstead.delivery.host import host_name
from mailstead.directory.address import domain_key
from mailstead.directory.service import Directory
from mailstead.process.bootstrap import Bootstrap
from mailstead.settings import InvalidValueError, SystemDatabaseError
from mailstead.settings.database import LOST_REMEDY
from mailstead.settings.declaration import Setting
from mailstead.settings.declarations import LISTENER, OBJECT_KINDS, SERVICE_CONTEXTS
from mailstead.settings.listeners import FACTORY_LISTENERS
from mailstead.store.backup.hold import last_repository

MOST_NAMES = 20


def check_all(bootstrap: Bootstrap, *, network: bool = True) -> Iterator[Finding]:
    """Every check in turn; `network`: those that ask the DNS too."""
    data_dir = bootstrap.data_dir
    running = is_running(data_dir)
    yield from room([("", data_dir), ("backups", last_repository(data_dir / "index") or data_dir)])
    yield from rights(bootstrap)
    yield from open_files(data_dir, running=running)
    yield Finding(OK, "server", "running" if running else "not running")
    with contextlib.ExitStack() as stack:
        try:
            directory = stack.enter_context(_opened(data_dir))
        except SystemDatabaseError as exc:
            yield Finding(PROBLEM, "settings", str(exc), LOST_REMEDY)
            yield from host_checks(None)
            yield from store_checks(data_dir, data_dir / "logs", counted=True)
            return
        yield from _checks_of_settings(bootstrap, directory, running)
        if network:
            yield from name_checks(directory)


def _checks_of_settings(bootstrap: Bootstrap, directory: Directory, running: bool) -> Iterator[Finding]:
    data_dir, server = bootstrap.data_dir, directory.settings.service("server")
    served = {name.lower() for name in server.services}
    of_services = [found for service in (*FACTORY_LISTENERS, "listUnsubscribe") for found in directory.settings.listeners(service)]
    listeners = [one for one in of_services if one.service.lower() in served]
    yield Finding(OK, "settings", f"{len(directory.domains())} domains, {directory.account_count()} accounts")
    yield from _forgotten_values(directory)
    yield from _names(directory, data_dir)
    yield from _orphans(directory)
    rules = directory.settings.objects.all(OBJECT_KINDS["logRule"], "service")
    counted = all(rule.values.fileCount for rule in rules)
    yield from _indexes(data_dir, directory.shard_count())
    metrics = int(server.metricsPort)
    yield from held_ports(data_dir, listeners, metrics) if running else free_ports(listeners, metrics)
    yield from certificate_checks(bootstrap, listeners, host_name(directory.settings))
    yield from host_checks(directory.settings)
    logs = data_dir / str(directory.settings.service("log").path)
    yield from (one for one in room([("", data_dir), ("log files", logs)]) if "log files" in one.text)
    yield from store_checks(data_dir, logs, counted=counted)


@contextlib.contextmanager
def _opened(data_dir: Path) -> Iterator[Directory]:
    """The directory; a copy of one with an older schema, which opening would bring up to date, perhaps below a running server.
    Raises SystemDatabaseError."""
    with contextlib.ExitStack() as stack:
        path = data_dir / "index" / "system.db"
        try:
            if path.exists() and is_behind(path):
                other = Path(stack.enter_context(tempfile.TemporaryDirectory()))
                (other / "index").mkdir()
                _copy(path, other / "index" / "system.db")
                data_dir = other
        except apsw.Error as error:
            raise SystemDatabaseError(f"{path}: {error}") from error
        directory = Directory.open(data_dir, shards=1)
        stack.callback(directory.close)
        yield directory


def _copy(source: Path, target: Path) -> None:
    old, new = apsw.Connection(str(source), flags=apsw.SQLITE_OPEN_READWRITE), apsw.Connection(str(target))
    try:
        with new.backup("main", old, "main") as copying:
            while not copying.done:
                copying.step(1000)
    finally:
        new.close()
        old.close()


def findings_json(found: list[Finding]) -> str:
    """The findings as one JSON document."""
    rows = [{"severity": WORDS[one.severity], "subject": one.subject, "text": one.text, "fix": one.fix} for one in found]
    return json.dumps({"worst": WORDS[max((one.severity for one in found), default=0)], "findings": rows}, indent=1)


def _names(directory: Directory, data_dir: Path) -> Iterator[Finding]:
    for number, text in enumerate(itertools.chain(directory.dangling_names(), dangling_references(directory, data_dir))):
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


