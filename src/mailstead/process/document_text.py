"""The text of an attached document, by a process of its own that cannot do harm.

Invariants: one document, one process; it has MEMORY octets, CPU_SECONDS, TIMEOUT seconds, may write no file, and (where the
kernel lets it) start no process and reach no network; at most MAX_OUTPUT octets of what it says are read.  A document
that breaks it has no text, and nobody else notices.

How: the octets lie in an anonymous file that is the process's standard input; the text comes through a pipe.
"""

from __future__ import annotations

import ctypes
import os
import resource
import selectors
import subprocess
import sys
import time

from mailstead.message.documents import KINDS
from mailstead.observe.log import get_logger

log = get_logger("SERVER")

MEMORY = 768 << 20
CPU_SECONDS = 10
TIMEOUT = 20.0
MAX_OUTPUT = 4 << 20
MAX_INPUT = 64 << 20
_NOBODY = 65534
_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000


def extract(kind: str, octets: bytes) -> str:
    """The text of a document, empty where there is none or the process failed. Blocking, up to TIMEOUT seconds."""
    if kind not in KINDS or len(octets) > MAX_INPUT:
        return ""
    source = os.memfd_create("document", os.MFD_CLOEXEC)
    try:
        view = memoryview(octets)
        while view:
            view = view[os.write(source, view) :]
        os.lseek(source, 0, os.SEEK_SET)
        with subprocess.Popen(
            [sys.executable, "-I", "-m", "mailstead.process.document_text", kind],
            stdin=source, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env={"PYTHONUTF8": "1"}, cwd="/",
        ) as process:  # fmt: skip
            try:
                answer, why = _answer(process)
            finally:
                process.kill()
    except OSError as error:
        log.warning("documents cannot be read", reason=str(error))
        return ""
    finally:
        os.close(source)
    if why:
        log.info("a document was not read", kind=kind, octets=len(octets), reason=why)
    return answer.decode("utf-8", "replace")


def _answer(process: subprocess.Popen[bytes]) -> tuple[bytes, str]:
    """What the process says, and why that is not all."""
    assert process.stdout is not None
    fd = process.stdout.fileno()
    end = time.monotonic() + TIMEOUT
    pieces: list[bytes] = []
    size = 0
    with selectors.DefaultSelector() as selector:
        selector.register(fd, selectors.EVENT_READ)
        while True:
            left = end - time.monotonic()
            if left <= 0 or not selector.select(left):
                return b"", "it takes too long"
            piece = os.read(fd, 65536)
            if not piece:
                break
            pieces.append(piece)
            size += len(piece)
            if size > MAX_OUTPUT:
                return b"", "too much text"
    try:
        status = process.wait(max(0.1, end - time.monotonic()))
    except subprocess.TimeoutExpired:
        return b"", "it takes too long"
    if status:
        return b"", f"its reader ended with {status}"
    return b"".join(pieces), ""


def confine() -> None:
    """Give up what reading a document does not need."""
    for limit, value in (
        (resource.RLIMIT_AS, MEMORY),
        (resource.RLIMIT_CPU, CPU_SECONDS),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, 16),
        (resource.RLIMIT_NPROC, 0),
    ):
        hard = resource.getrlimit(limit)[1]
        wanted = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(limit, (wanted, wanted))
    if os.geteuid() == 0:
        _become_nobody()


def _become_nobody() -> None:
    """Root's processes are not counted, and its files are all files; so root gives itself up, where the libraries can still
    be read then. (A server that is told its user, as it should be, is not root here.)"""
    try:
        os.setgroups([])
        os.setegid(_NOBODY)
        os.seteuid(_NOBODY)
        readable = all(os.access(path, os.R_OK, effective_ids=True) for path in (os.__file__, __file__))
        os.seteuid(0)
        os.setegid(0)
        if readable:
            os.setgid(_NOBODY)
            os.setuid(_NOBODY)
    except OSError:
        pass  # a container's root without these rights has few others


def leave_the_network() -> None:
    """Best effort: kernels and containers often refuse it to those who are not root."""
    try:
        flags = _CLONE_NEWNET if os.geteuid() == 0 else _CLONE_NEWUSER | _CLONE_NEWNET
        ctypes.CDLL(None).unshare(flags)
    except (OSError, AttributeError):
        pass


def main() -> None:
    """Entry of the process: the kind as argument, the document on standard input, its text on standard output."""
    from mailstead.process.document_formats import prepare, text_of_document

    prepare(sys.argv[1])
    leave_the_network()
    confine()
    try:
        text = text_of_document(sys.argv[1], sys.stdin.buffer.read(MAX_INPUT))
    except Exception:  # whatever a parser makes of a hostile document
        sys.exit(4)
    sys.stdout.buffer.write(text.encode("utf-8", "replace"))
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
