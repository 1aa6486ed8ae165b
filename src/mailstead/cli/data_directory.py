"""How the commands open their data directory."""

from __future__ import annotations

import fcntl
import os
import pwd
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import click

from mailstead.backup_mount.mount_point import mounted
from mailstead.cli.bootstrap_option import explained, find
from mailstead.directory.service import Directory
from mailstead.process.application import StartError
from mailstead.process.bootstrap import Bootstrap
from mailstead.process.system import lock_data_directory
from mailstead.settings import SystemDatabaseError
from mailstead.store.abandoned import COMMAND_WRITER, writer_lock
from mailstead.store.service import NotPrepared, Store


@contextmanager
def opened(config: Path | None) -> Iterator[Directory]:
    """The directory of the data directory, for a command beside a running server or without one."""
    bootstrap = find(config)
    with explained():
        become_owner(bootstrap)
        try:
            directory = Directory.open(bootstrap.data_dir, shards=bootstrap.shards)
        except SystemDatabaseError as exc:
            reason = closed_to_us(bootstrap.data_dir)
            raise click.ClickException(f"{exc}: {reason}" if reason else str(exc)) from exc
        try:
            yield directory
        finally:
            directory.close()


def become_owner(bootstrap: Bootstrap) -> None:
    """Files that root makes here would be closed to the server: become the owner of the directory first.

    For every command that changes files; there is no way back, so what only root may do has to be done before.
    """
    if os.geteuid() == 0:
        status = os.stat(bootstrap.data_dir)
        if status.st_uid != 0:
            os.setgroups([])
            os.setgid(status.st_gid)
            os.setuid(status.st_uid)


def closed_to_us(data_dir: Path) -> str:
    """Why files of the data directory cannot be written, if it is their owner or mode; "" where all can."""
    mounts = mounted(data_dir)  # not to be looked at: closed to root, or without an answer
    for path in sorted(path for path in data_dir.glob("*/*") if str(path) not in mounts):
        if path.exists() and not os.access(path, os.W_OK):
            user, owner = _user(os.geteuid()), _user(path.stat().st_uid)
            wanted = _user(os.stat(data_dir).st_uid)
            return (
                f"{path} belongs to {owner} and cannot be written by {user}; `chown -R {wanted} {data_dir}` as root puts it right"
            )
    return ""


def _user(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)


@asynccontextmanager
async def store_beside(bootstrap: Bootstrap) -> AsyncIterator[Store]:
    """The store, for a command that changes mail: beside a running server, or alone, one command at a time."""
    run = bootstrap.data_dir / "run"
    run.mkdir(mode=0o750, exist_ok=True)
    mine = os.open(writer_lock(bootstrap.data_dir, COMMAND_WRITER), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    alone = -1
    try:
        try:
            fcntl.flock(mine, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise click.ClickException("another command that changes mail is running") from None
        try:
            alone = lock_data_directory(bootstrap.data_dir)
        except StartError:
            pass  # the server runs, and has prepared the store
        try:
            store = await Store.open(bootstrap.data_dir, COMMAND_WRITER, bootstrap.shards, prepared=alone < 0)
        except NotPrepared as exc:
            raise click.ClickException(f"{exc}: try again when it serves") from None
        try:
            yield store
        finally:
            await store.close()
    finally:
        os.close(mine)
        if alone >= 0:
            os.close(alone)
