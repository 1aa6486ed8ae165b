"""Mounts of the tree of backups: started, known and ended by the background process (BKP-02).

Invariants: each mount has a process of its own, and nothing here looks into a mount point outside of a thread; a mount ends
with the background process; what a killed process leaves in the kernel's table is taken away as soon as that is known, at the
latest when the background process starts; an administrator mounts no more than he may read, and a place of his choice only with
every right.

Verbs: `mounts.mount` (`administrator`, `point`, `since`, `label`, `removals`, `domain`, `public`, `object`, `folder`; gives the
place), `mounts.unmount` and `mounts.status` (`administrator`, `point`).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mailstead.backup_mount.mount_point import (
    BadMountPoint,
    detach,
    is_below_run,
    mounted,
    prepare,
    resolved,
    source_name,
    unmount,
)
from mailstead.backup_mount.requirements import others_may_read, what_is_missing
from mailstead.backup_mount.scope import BadScope, Scope
from mailstead.backup_mount.view import Mounted
from mailstead.backup_tree.paths import BadPath
from mailstead.backup_tree.services import TreeServices
from mailstead.backup_tree.tree import Missing, Tree
from mailstead.directory.model import DirectoryError, NotFoundError
from mailstead.observe.log import get_logger
from mailstead.process.background import BackgroundRefusedError, BackgroundVerbs
from mailstead.process.release import release
from mailstead.restoring.labels import BackupLabels
from mailstead.settings.actor import Actor, PermissionDeniedError

log = get_logger("FTP-BACKUP")

MOST = 8
START_SECONDS = 30.0
END_SECONDS = 6.0
OUTPUT_LIMIT = 64 * 1024
ENDED_KEPT = 32
_RIGHTS = ("backupDomain", "restoreDomain")
_ANY = ("backupAnyDomain", "restoreAnyDomain")


@dataclass(slots=True)
class Mount:
    """``made`` unix time; ``state`` "mounted", or why it is not any more."""

    point: str
    scope: str
    since: str
    label: str
    removals: bool
    administrator: str
    made: float
    process: asyncio.subprocess.Process
    state: str = "mounted"
    ending: bool = False
    watch: asyncio.Task[None] | None = None


class Mounts:
    """One per background process."""

    def __init__(self, data_dir: Path, services: TreeServices) -> None:
        self._data_dir = Path(os.path.abspath(data_dir))
        self._services = services
        self._labels = BackupLabels(services.directory)
        self._mounts: dict[str, Mount] = {}
        self._changing = asyncio.Lock()

    # -- life ---------------------------------------------------------------------------------------------------------

    async def clean(self) -> None:
        """Take away what mounts of a server that was killed left."""
        for point in await asyncio.to_thread(mounted, self._data_dir):
            if point not in self._mounts or self._mounts[point].state != "mounted":
                failed = await asyncio.to_thread(detach, Path(point))
                if failed:
                    log.error("a mount that was left could not be taken away", mount_point=point, reason=failed)
                else:
                    log.warning("a mount that was left was taken away", mount_point=point)

    async def close(self) -> None:
        """End all mounts."""
        async with self._changing:
            await asyncio.gather(*(self._end(one) for one in self._mounts.values() if one.state == "mounted"))

    async def _end(self, mount: Mount) -> None:
        """Its process ends when its input does."""
        mount.ending = True
        assert mount.process.stdin is not None
        mount.process.stdin.close()
        try:
            await asyncio.wait_for(mount.process.wait(), END_SECONDS)
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                mount.process.kill()
        if mount.watch is not None:
            await mount.watch

    async def _watched(self, mount: Mount) -> None:
        """Until its process ends; then nothing of it may be left."""
        assert mount.process.stderr is not None
        with contextlib.suppress(ValueError):  # a line of enormous length
            while line := await mount.process.stderr.readline():
                sys.stderr.write(line.decode("utf-8", "replace"))
        status = await mount.process.wait()
        if mount.point in await asyncio.to_thread(mounted, self._data_dir):
            await asyncio.to_thread(detach, Path(mount.point))
        if mount.ending:
            mount.state = "unmounted"
            return
        if status == 0:
            mount.state = "unmounted from outside"
            log.info("a mount was ended from outside", mount_point=mount.point)
            return
        why = signal.Signals(-status).name if status < 0 else f"status {status}"
        mount.state = f"ended: its process was ended by {why}"
        log.error("the process of a mount ended", mount_point=mount.point, reason=why)

    # -- verbs --------------------------------------------------------------------------------------------------------

    def offer(self, verbs: BackgroundVerbs) -> None:
        """The administrator's verbs."""

        async def mount(arguments: Mapping[str, Any]) -> str:
            try:
                async with self._changing:
                    return await self._mount(arguments)
            except (BadMountPoint, BadScope, BadPath, Missing, PermissionDeniedError, DirectoryError) as error:
                raise BackgroundRefusedError(str(error)) from None

        verbs.add("mounts.mount", mount)
        verbs.add("mounts.unmount", self._unmount)
        verbs.add("mounts.status", self._status)

    def _actor(self, arguments: Mapping[str, Any]) -> Actor:
        self._services.directory.poll()
        try:
            return self._services.directory.admin_actor(str(arguments["administrator"]))
        except NotFoundError as error:
            raise BackgroundRefusedError(str(error)) from None

    async def _mount(self, arguments: Mapping[str, Any]) -> str:
        actor = self._actor(arguments)
        if sum(one.state == "mounted" for one in self._mounts.values()) >= MOST:
            raise BackgroundRefusedError(f"there are {MOST} mounts already; unmount one")
        scope = Scope(*(arguments[name] for name in ("domain", "public", "object", "folder")))
        what = await self._what(scope, arguments, actor)
        place = await asyncio.to_thread(resolved, str(arguments["point"]), self._data_dir)
        if not actor.everything and not await asyncio.to_thread(is_below_run, place, self._data_dir):
            raise BackgroundRefusedError(
                f"only an administrator with every right may mount elsewhere than below {self._data_dir / 'run'}"
            )
        known = self._mounts.get(str(place))
        if known is not None and known.state == "mounted":
            raise BackgroundRefusedError(f"{place} is a mount already")
        if missing := await asyncio.to_thread(what_is_missing):
            raise BackgroundRefusedError(f"the tree cannot be mounted here: {missing}")
        await asyncio.to_thread(prepare, place, self._data_dir)
        label = str(arguments["label"])
        if label:
            await self._labels.add(label, scope.domain, actor=actor)
        try:
            process = await self._start(place, what)
        except BaseException:
            if label:
                await self._labels.remove(label, scope.domain, actor=actor)
            raise
        self._keep(
            Mount(str(place), str(scope), str(arguments["since"]), label, what.removals, actor.name, time.time(), process)
        )  # fmt: skip
        log.info("tree mounted", mount_point=str(place), scope=str(scope), administrator=actor.name)
        return str(place)

    def _keep(self, mount: Mount) -> None:
        self._mounts.pop(mount.point, None)
        self._mounts[mount.point] = mount
        mount.watch = asyncio.create_task(self._watched(mount), name=f"mount {mount.point}")
        over = [point for point, one in self._mounts.items() if one.state != "mounted"][:-ENDED_KEPT]
        for point in over:
            del self._mounts[point]

    async def _what(self, scope: Scope, arguments: Mapping[str, Any], actor: Actor) -> Mounted:
        """Raises BadScope, Missing, PermissionDeniedError, NotFoundError."""
        directory = self._services.directory
        if scope.domain:
            domain = directory.domain_by_name(scope.domain)
            if domain is None or not any(actor.may(one, domain.id) for one in _RIGHTS):
                raise Missing("no such domain")
        elif not actor.everything and not set(actor.server).union(*actor.domains.values()) & {*_RIGHTS, *_ANY}:
            raise PermissionDeniedError(f"{actor.name} lacks the permission backupAnyDomain")
        options: Any = directory.settings.service("ftpBackup")
        utf8, tar = options.nameEncoding == "utf8", bool(options.messagesTarEnabled)
        root = scope.path(directory, utf8=utf8)
        tree = Tree(self._services, actor, utf8=utf8, tar=tar)
        if not (await tree.node(root)).directory:
            raise Missing("it is no directory of the tree")
        since = 0
        if arguments["since"]:
            since = self._labels.find(str(arguments["since"]), scope.domain, actor=actor).time
        return Mounted(root, actor.name, since, bool(since and arguments["removals"]), utf8, tar)

    async def _start(self, place: Path, what: Mounted) -> asyncio.subprocess.Process:
        """The process, once the mount is there. Raises BackgroundRefusedError."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "mailstead.process.mount_helper",
            str(self._data_dir), str(place), source_name(self._data_dir), release(),
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, limit=OUTPUT_LIMIT,
        )  # fmt: skip
        assert process.stdin is not None and process.stdout is not None and process.stderr is not None
        line, told = b"", b""
        try:
            process.stdin.write(json.dumps({**asdict(what), "others": others_may_read()}).encode() + b"\n")
            async with asyncio.timeout(START_SECONDS):
                await process.stdin.drain()
                line = await process.stdout.readline()
            if line and json.loads(line).get("mounted"):
                return process
        except (TimeoutError, ValueError, ConnectionError):
            pass
        process.stdin.close()
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        with contextlib.suppress(TimeoutError, ValueError):
            async with asyncio.timeout(1.0):
                told = await process.stderr.read(OUTPUT_LIMIT)
        await process.wait()
        if str(place) in await asyncio.to_thread(mounted, self._data_dir):
            await asyncio.to_thread(detach, place)
        failed = str(json.loads(line).get("failed", "")) if line.startswith(b"{") else f"no answer in {START_SECONDS:.0f} seconds"
        last = told.decode("utf-8", "replace").strip().rpartition("\n")[2][-300:]
        raise BackgroundRefusedError(f"the mount failed: {failed}{f': {last}' if last else ''}")

    def _sees(self, actor: Actor, mount: Mount) -> bool:
        return actor.everything or mount.administrator == actor.name or actor.may("backupAnyDomain")

    async def _found(self, arguments: Mapping[str, Any]) -> Mount:
        actor = self._actor(arguments)
        try:
            place = str(await asyncio.to_thread(resolved, str(arguments["point"]), self._data_dir))
        except BadMountPoint as error:
            raise BackgroundRefusedError(str(error)) from None
        mount = self._mounts.get(place)
        if mount is None or not self._sees(actor, mount):
            raise BackgroundRefusedError("nothing is mounted there")
        return mount

    async def _unmount(self, arguments: Mapping[str, Any]) -> None:
        async with self._changing:
            mount = await self._found(arguments)
            if mount.state == "mounted":
                failed = await asyncio.to_thread(unmount, Path(mount.point))
                if failed and mount.point in await asyncio.to_thread(mounted, self._data_dir):
                    raise BackgroundRefusedError(f"it is in use: {failed}")
                await self._end(mount)
                log.info("tree unmounted", mount_point=mount.point, administrator=str(arguments["administrator"]))
            self._mounts.pop(mount.point, None)

    async def _status(self, arguments: Mapping[str, Any]) -> list[dict[str, Any]]:
        if arguments.get("point"):
            found = [await self._found(arguments)]
        else:
            actor = self._actor(arguments)
            found = [one for one in self._mounts.values() if self._sees(actor, one)]
        return [
            {
                "mountPoint": one.point, "scope": one.scope, "since": one.since, "backup": one.label,
                "removed": one.removals, "administrator": one.administrator, "time": one.made, "state": one.state,
            }
            for one in found
        ]  # fmt: skip
