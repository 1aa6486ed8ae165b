"""A child process that shares what its parent has loaded.

Invariants:
- The function given runs in the child and never returns into the parent's code: whatever it does, the child ends there.
- No signal handler, wake-up descriptor, exit handler or process group of the parent holds in the child, and its standard input is
  empty. Its own exit handlers run at its end, as in any process: the last words of a log are written by one.
- What else the child must not keep (descriptors, rights) the function lets go of first: a fork, unlike an exec, keeps all of it.

How: `os.fork` in a process without threads or event loop; a pidfd tells when the child has ended.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import select
import signal
import sys
import traceback
from collections.abc import Callable

_HANDLED = (
    signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGCHLD,
)  # fmt: skip


class Forked:
    """A running child; ``returncode`` is None until its end is seen, then its exit status, or minus the signal that ended it."""

    def __init__(self, run: Callable[[], int]) -> None:
        """Fork, and call ``run`` in the child; it returns the exit status. Raises OSError when no process can be had."""
        sys.stdout.flush()
        sys.stderr.flush()
        self.returncode: int | None = None
        self.pid = os.fork()
        if self.pid == 0:
            os._exit(_in_child(run))
        # Both sides set it: neither then acts before it holds.
        with contextlib.suppress(OSError):
            os.setpgid(self.pid, self.pid)
        try:
            self._pidfd = os.pidfd_open(self.pid)
        except OSError:
            # No descriptor is left: a child that nobody knows of must not live beside its successor.
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
            raise

    def poll(self) -> int | None:
        """The exit status, or None while the child lives."""
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
                os.close(self._pidfd)
        return self.returncode

    def wait(self, seconds: float | None = None) -> int:
        """Wait for the end. Raises TimeoutError."""
        while (status := self.poll()) is None:
            ended = select.poll()  # select takes no descriptor above 1023, and a supervisor may have more listening sockets
            ended.register(self._pidfd, select.POLLIN)
            if not ended.poll(None if seconds is None else seconds * 1000):
                raise TimeoutError(f"process {self.pid} goes on")
        return status

    def kill(self) -> None:
        """SIGKILL; nothing when it has ended."""
        if self.returncode is None:
            signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)

    def let_go(self) -> None:
        """In another child: this one is a sibling's, not ours."""
        if self.returncode is None:
            os.close(self._pidfd)


def _in_child(run: Callable[[], int]) -> int:
    status = 1
    try:
        signal.set_wakeup_fd(-1)
        for number in _HANDLED:
            signal.signal(number, signal.SIG_DFL)
        os.setpgid(0, 0)  # a Ctrl-C at the terminal is for the parent, which stops gracefully
        null = os.open(os.devnull, os.O_RDONLY)
        if null:  # it is 0 itself where the parent had no standard input
            os.dup2(null, 0)
            os.close(null)
        atexit._clear()
        status = run()
    except SystemExit as exc:
        status = exc.code if isinstance(exc.code, int) else 1
    except BaseException:  # nothing of the parent's may run here any more
        traceback.print_exc()
    atexit._run_exitfuncs()
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
        sys.stderr.flush()
    return status
