"""The operations of FUSE over a view: each waits in a thread of the FUSE library for the event loop's answer.

Invariants: an operation ends, within SECONDS or with EIO; errors are errno values of POSIX, and what has no word of its own
there is said in the log; nothing is removed or renamed.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import errno
import os
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import apsw

from mailstead.backup_mount.view import Attributes, View
from mailstead.backup_tree.paths import BadPath
from mailstead.backup_tree.tar import BadTar
from mailstead.backup_tree.tree import Missing
from mailstead.backup_tree.uploads import Refused
from mailstead.directory.model import DirectoryError
from mailstead.mailbox.errors import FolderExists, LimitReached, MailboxError, OverQuota
from mailstead.observe.log import fault, get_logger
from mailstead.settings.actor import PermissionDeniedError
from mailstead.settings.database import SystemDatabaseError
from mailstead.store.record import DamagedRecord

log = get_logger("FTP-BACKUP")
SECONDS = 60.0
TAKING_SECONDS = 1800.0
"""A large tar file has many messages."""
T = TypeVar("T")


def _error(number: int) -> OSError:
    return OSError(number, os.strerror(number))


def number_of(error: Exception, full: Callable[[], bool]) -> int:
    """The errno of an error; 0 where it is a fault of ours. ``full``: whether the disk is."""
    match error:
        case Missing() | BadPath():
            return errno.ENOENT
        case PermissionDeniedError() | Refused():
            return errno.EACCES
        case FolderExists():
            return errno.EEXIST
        case OverQuota() | LimitReached():
            return errno.EDQUOT
        case IsADirectoryError():
            return errno.EISDIR
        case NotADirectoryError():
            return errno.ENOTDIR
        case MailboxError() | SystemDatabaseError():
            return errno.ENOSPC if full() else errno.EIO
        case DirectoryError() | BadTar() | DamagedRecord() | apsw.Error():
            return errno.EIO
        case OSError():
            return error.errno or errno.EIO
    return 0


class MountOperations:
    """The part that is ours: whoever mounts puts the class of the FUSE library, which is optional, behind it.

    ``mounted`` is called when the kernel has the mount."""

    use_ns = True

    def __init__(self, view: View, loop: asyncio.AbstractEventLoop, full: Callable[[], bool], mounted: Callable[[], None]) -> None:
        self._view = view
        self._loop = loop
        self._full = full
        self._mounted = mounted
        self._owner = os.getuid(), os.getgid()

    def _wait(self, what: str, path: str, work: Coroutine[Any, Any, T], seconds: float = SECONDS) -> T:
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result(seconds)
        except (concurrent.futures.TimeoutError, concurrent.futures.CancelledError):
            future.cancel()
            raise _error(errno.EIO) from None
        except Exception as error:
            number = number_of(error, self._full)
            if what == "read" and number == errno.ENOENT:
                # An open file has a name: he may not see it any more, or compaction took what was deleted meanwhile.
                number = errno.EACCES if isinstance(error, Missing) else errno.EIO
            if not number:
                fault(log, "an operation of a mount failed", error, operation=what)
                number = errno.EIO
            elif what in ("close", "create", "mkdir") or number == errno.EIO:
                log.warning("refused in a mount", operation=what, path=path[:500], reason=str(error)[:500])
            raise _error(number) from None

    def init_with_config(self, conn_info: Any, config_3: Any) -> None:
        """The kernel has the mount. What it keeps is old after a second."""
        if config_3 is not None:
            config_3.entry_timeout = 1.0
            config_3.attr_timeout = 1.0
            config_3.negative_timeout = 0.0
        self._mounted()

    # -- looking ------------------------------------------------------------------------------------------------------

    def _stat(self, found: Attributes) -> dict[str, int]:
        moment = found.modified * 1_000_000_000
        return {
            "st_mode": found.mode, "st_nlink": 2 if found.directory else 1, "st_size": found.size, "st_uid": self._owner[0],
            "st_gid": self._owner[1], "st_mtime": moment, "st_ctime": moment, "st_atime": moment,
            "st_blocks": -(-found.size // 512), "st_blksize": 65_536,
        }  # fmt: skip

    def getattr(self, path: str, fh: int | None = None) -> dict[str, int]:
        return self._stat(self._wait("getattr", path, self._view.attributes(path)))

    def readdir(self, path: str, fh: int) -> list[tuple[str, int, int]]:
        found = self._wait("readdir", path, self._view.names(path))
        shown = [(name, 0o040000 if directory else 0o100000, 0) for name, directory in found]
        return [(".", 0o040000, 0), ("..", 0o040000, 0), *shown]

    # -- files --------------------------------------------------------------------------------------------------------

    def open(self, path: str, flags: int) -> int:
        if flags & os.O_ACCMODE == os.O_RDONLY:
            return self._wait("open", path, self._view.open(path))
        if not flags & os.O_TRUNC:
            raise _error(errno.EACCES)  # part of a message is not changed
        return self.create(path, 0)

    def read(self, path: str, size: int, offset: int, fh: int) -> bytes:
        return self._wait("read", path, self._view.read(fh, size, offset))

    def create(self, path: str, mode: int, fi: Any = None) -> int:
        return self._wait("create", path, self._view.create(path))

    def write(self, path: str, data: bytes, offset: int, fh: int) -> int:
        async def work() -> int:
            return await self._view.being_written(fh).write(data, offset)

        return self._wait("write", path, work())

    def truncate(self, path: str, length: int, fh: int | None = None) -> int:
        self._wait("truncate", path, self._view.truncate(path, length))
        return 0

    def flush(self, path: str, fh: int) -> int:
        if not self._view.is_written(fh):
            return 0
        said = self._wait("close", path, self._view.take(fh), TAKING_SECONDS)
        if said:
            log.info("restored through a mount", path=path[:500], result=said)
        return 0

    def fsync(self, path: str, datasync: int, fh: int) -> int:
        return self.flush(path, fh)

    def release(self, path: str, fh: int) -> int:
        self._loop.call_soon_threadsafe(self._view.release, fh)
        return 0

    def mkdir(self, path: str, mode: int) -> int:
        self._wait("mkdir", path, self._view.make_directory(path))
        return 0

    # -- what programs that copy ask for, and mail has not ---------------------------------------------------------------

    def chmod(self, path: str, mode: int) -> int:
        return 0

    def chown(self, path: str, uid: int, gid: int) -> int:
        return 0

    def utimens(self, path: str, times: tuple[int, int] | None = None) -> int:
        return 0

    # -- what there is not ----------------------------------------------------------------------------------------------

    def unlink(self, path: str) -> int:
        raise _error(errno.EPERM)

    def rmdir(self, path: str) -> int:
        raise _error(errno.EPERM)

    def rename(self, old: str, new: str) -> int:
        raise _error(errno.EPERM)
