"""Making a data directory.

Invariants: nothing is written into a directory that holds anything else; the bootstrap file is written last, so a
directory that has one is complete; keys and database are readable by their owner only.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import pwd
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mailstead.directory.model import DirectoryError
from mailstead.directory.service import Directory
from mailstead.process import bootstrap
from mailstead.process.application import StartError
from mailstead.process.certificates import self_signed
from mailstead.settings import Actor, InvalidValueError, SystemDatabaseError
from mailstead.settings.factory import factory_objects
from mailstead.settings.listeners import FACTORY_LISTENERS

CERTIFICATE = "certs/default.pem"


def usual_shards() -> int:
    """Index files of a new data directory: every file a batch touches costs a transaction, so few on small machines."""
    return max(1, min(16, (os.cpu_count() or 1) // 4))


@dataclass(frozen=True, slots=True)
class ListenerPlan:
    """One listener to add: service, address with port, attributes as in the CLI."""

    service: str
    address: str
    attributes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Plan:
    """What a new data directory shall hold. `accounts` are (name, password) in `domain`; None: nobody logs in."""

    hostname: str
    domain: str
    admin: str
    admin_password: str
    user: str = ""
    shards: int = field(default_factory=usual_shards)
    accounts: Sequence[tuple[str, str | None]] = ()
    postmaster: str = "postmaster"
    listeners: Sequence[ListenerPlan] = ()
    settings: Sequence[tuple[str, str, str]] = ()
    certificate_names: Sequence[str] = ()


def standard_listeners() -> list[ListenerPlan]:
    """The usual ports; of all addresses of both families, where the service is not for this machine alone."""
    return [
        ListenerPlan(service, address, listener.attributes)
        for service, listeners in FACTORY_LISTENERS.items()
        for listener in listeners
        for address in listener.addresses
    ]


def create(directory: Path, plan: Plan) -> Path:
    """Make the data directory; the path of its bootstrap file. Raises StartError, leaving nothing behind."""
    if directory.exists() and any(directory.iterdir()):
        if (directory / bootstrap.FILE_NAME).exists():
            raise StartError(f"{directory} is a data directory already")
        raise StartError(f"{directory} is not empty and not a Mailstead data directory")
    made = not directory.exists()
    try:
        directory.mkdir(mode=0o750, parents=True, exist_ok=True)
        for name in ("log", "index", "keys", "certs", "run", "tmp"):
            (directory / name).mkdir(mode=0o750)
        if plan.hostname:
            self_signed(directory / CERTIFICATE, plan.certificate_names or [plan.hostname])
        asyncio.run(_fill(directory, plan))
        path = bootstrap.write(directory, node="n1", user=plan.user, shards=plan.shards)
        _give_to(directory, plan.user)
    except (OSError, DirectoryError, InvalidValueError, SystemDatabaseError) as exc:
        _clear(directory, made)
        if isinstance(exc, PermissionError):
            raise StartError(f"no right to write in {directory}") from exc
        raise StartError(str(exc)) from exc
    except BaseException:
        _clear(directory, made)
        raise
    return path


async def _fill(directory: Path, plan: Plan) -> None:
    actor = Actor.system("init")
    opened = Directory.open(directory, shards=plan.shards, create=True)
    try:
        settings = opened.settings
        await settings.set("server", "serverName", plan.hostname, actor)
        await settings.set("server", "primaryDomain", plan.domain, actor)
        await opened.database.write(lambda transaction: factory_objects(transaction, actor.name))
        for context, name, value in plan.settings:
            await settings.set(context, name, value, actor)
        for listener in plan.listeners:
            attributes = {"certFile": CERTIFICATE, **listener.attributes}
            await settings.add_listener(listener.service, listener.address, attributes, actor)
        await opened.create_admin(plan.admin, plan.admin_password, actor=actor, everything=True)
        await opened.create_domain(plan.domain, actor=actor)
        for name, password in plan.accounts:
            await opened.create_account(plan.domain, name, password, actor=actor)
        await opened.set_domain_setting(plan.domain, "postmasterAccount", plan.postmaster, actor=actor)
    finally:
        opened.close()


def _give_to(directory: Path, user: str) -> None:
    if not user or os.geteuid() != 0:
        return
    try:
        entry = pwd.getpwnam(user)
    except KeyError:
        raise StartError(f"the user {user!r} does not exist") from None
    for path in [directory, *directory.rglob("*")]:
        os.chown(path, entry.pw_uid, entry.pw_gid, follow_symlinks=False)


def _clear(directory: Path, made: bool) -> None:
    with contextlib.suppress(OSError):  # what is left is reported by the error that brought us here
        if made:
            shutil.rmtree(directory)
        else:
            for path in directory.iterdir():
                shutil.rmtree(path) if path.is_dir() else path.unlink()
