"""Forked children as real processes."""

from __future__ import annotations

import atexit
import errno
import os
import resource
import signal
import time
from pathlib import Path

import pytest

from mailstead.process.forked import Forked


def test_exit_handlers_of_the_child_run_and_the_parents_do_not(tmp_path: Path) -> None:
    def run() -> int:
        atexit.register((tmp_path / "child").touch)
        raise RuntimeError("a fault of ours")

    atexit.register((tmp_path / "parent").touch)
    try:
        assert Forked(run).wait(30) == 1
    finally:
        atexit.unregister((tmp_path / "parent").touch)
    assert [path.name for path in tmp_path.iterdir()] == ["child"]


def test_no_child_is_left_where_it_cannot_be_watched(monkeypatch: pytest.MonkeyPatch) -> None:
    children: list[int] = []

    def refused(pid: int, flags: int = 0) -> int:
        children.append(pid)
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(os, "pidfd_open", refused)

    def run() -> int:
        time.sleep(60)
        return 0

    with pytest.raises(OSError, match="Too many open files"):
        Forked(run)
    with pytest.raises(ProcessLookupError):
        os.kill(children[0], 0)


def test_waits_with_a_descriptor_above_1023() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 1200:
        pytest.skip("the system allows too few descriptors")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 1200), hard))
    held: list[int] = []
    try:
        while not held or held[-1] < 1030:
            held.append(os.open(os.devnull, os.O_RDONLY))

        def run() -> int:
            time.sleep(60)
            return 0

        child = Forked(run)
        with pytest.raises(TimeoutError):
            child.wait(0.05)
        child.kill()
        assert child.wait(30) == -signal.SIGKILL
    finally:
        for fd in held:
            os.close(fd)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
