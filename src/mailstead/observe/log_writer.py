"""The thread of a process that writes its log: stream, files of the rules, other servers, the system's log.

Invariants: whoever logs never waits; what waits is bounded, and what is over is counted and said; lines are whole, and of one
process in their order; an orderly stop writes all that waits; a file that cannot be written stops nothing.

Each process writes its own lines (log_files says why that is safe), so none depends on another being there: that the background
process starts anew loses no line of a worker.

Equal lines that follow one another to the same place are folded into the first and a count (LOG-04).
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mailstead.observe.log import BITS, Line, ModuleLog, write_stream
from mailstead.observe.log_files import LogFiles
from mailstead.observe.log_rules import SECURITY_FILE, FileOptions, Rules
from mailstead.observe.syslog_line import RemoteLine, encode, encode_local, one_line

MAX_WAITING = 50_000
MAX_OCTETS = 32 << 20
FOLD_SECONDS = 10.0
GATHER_SECONDS = 0.01
RESOLVE_SECONDS = 60.0
CLOSE_SECONDS = 5.0
DEV_LOG = "/dev/log"
_LEVELS = {bit: name for name, bit in BITS.items()}


@dataclass(frozen=True, slots=True)
class WriterOptions:
    """What settings say. `files`: whether lines go to files at all (the service `log` runs)."""

    files: bool = True
    rules: Rules = field(default_factory=lambda: Rules(()))
    fold: bool = True
    security: FileOptions = field(default_factory=FileOptions)
    security_where: ModuleLog = field(default_factory=ModuleLog)


@dataclass(slots=True)
class _Last:
    """The last line of a place, and how often it came again."""

    text: str
    since: float
    head: str = ""
    again: int = 0


class LogWriter:
    """One per process, see log.Writer. `put_remote` takes lines of other servers."""

    def __init__(self, directory: Path, host: str, *, system_log: str = DEV_LOG, clock: Callable[[], float] = time.time) -> None:
        self._host = host
        self._hosts = tuple(dict.fromkeys((host, "localhost")))
        self._files = LogFiles(directory, clock)
        self._system_log = system_log
        self.options = WriterOptions()
        self._waiting: deque[bytes | tuple[Line, ModuleLog] | tuple[RemoteLine, str]] = deque()
        self._octets = 0
        self._lost = 0
        self._wake = threading.Event()
        self._ended = False
        self._reopen = False
        self._last: dict[str, _Last] = {}
        self._pieces: dict[str, list[str]] = {}
        self._sockets: dict[str, socket.socket] = {}
        self._addresses: dict[str, tuple[float, tuple[Any, ...]]] = {}
        self._complained: dict[str, float] = {}
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)
        self._thread.start()

    # -- called by whoever logs --------------------------------------------------------------------------------------

    def stream(self, octets: bytes) -> None:
        """See log.Writer."""
        self._keep(octets, len(octets))

    def put(self, line: Line, where: ModuleLog) -> None:
        """See log.Writer."""
        self._keep((line, where), len(line.text))

    def put_remote(self, line: RemoteLine, peer: str) -> None:
        """A line of another server, that came from `peer`."""
        self._keep((line, peer), len(line.text))

    def _keep(self, one: bytes | tuple[Line, ModuleLog] | tuple[RemoteLine, str], size: int) -> None:
        if len(self._waiting) >= MAX_WAITING or self._octets + size > MAX_OCTETS:
            self._lost += 1
            return
        self._octets += size
        self._waiting.append(one)
        if not self._wake.is_set():
            self._wake.set()

    def reopen(self) -> None:
        """Open files anew before the next line (after someone else moved them)."""
        self._reopen = True
        self._wake.set()

    def close(self, seconds: float = CLOSE_SECONDS) -> None:
        """Write all that waits and end."""
        self._ended = True
        self._wake.set()
        self._thread.join(seconds)

    # -- the thread --------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while True:
            self._wake.wait(FOLD_SECONDS / 2)
            if not self._ended:
                time.sleep(GATHER_SECONDS)  # many lines are written at the cost of one
            self._wake.clear()
            ended = self._ended
            if self._reopen:
                self._reopen = False
                self._files.reopen()
            self._drain()
            self._unfold(everything=ended)
            self._flush()
            if ended and not self._waiting:
                break
        self._files.reopen()
        for one in self._sockets.values():
            one.close()

    def _drain(self) -> None:
        stream: list[bytes] = []
        self._octets = 0  # what is added while this runs is counted; the bound need not be exact
        while True:
            try:
                one = self._waiting.popleft()
            except IndexError:
                break
            if isinstance(one, bytes):
                stream.append(one)
                if len(stream) >= 200:
                    write_stream(b"".join(stream))
                    stream.clear()
                continue
            try:
                line, more = one
                if isinstance(line, Line) and isinstance(more, ModuleLog):
                    self._own(line, more)
                elif isinstance(line, RemoteLine) and isinstance(more, str):
                    self._remote(line, more)
            except Exception as error:  # the log is the last to fail
                self._complain("a line", f"{type(error).__name__}: {error}")
        if stream:
            write_stream(b"".join(stream))
        if self._lost:
            lost, self._lost = self._lost, 0
            self._complain("lines", f"{lost} were lost, for more came than could be written")

    def _own(self, line: Line, where: ModuleLog) -> None:
        if line.security:
            self._secure(line)
        if where.kind == "internal":
            self._to_files(line)
        elif where.kind == "remote":
            self._fold(f"remote {where.host} {line.module}", "", line.text, lambda text: self._send(where.host, line, text))
        elif where.kind == "system":
            self._fold(f"system {line.module}", "", line.text, lambda text: self._system(line, text))

    def _to_files(self, line: Line) -> None:
        if not self.options.files:
            return
        rule = self.options.rules.rule_for(self._hosts, line.module, line.level, False)
        if rule is not None:
            self._file(rule.file, self._head(line), line.text)

    def _head(self, line: Line) -> str:
        process = f"[{line.process}]" if line.process else ""
        return f"{line.time} {self._host} {_LEVELS[line.level]} {line.module}{process}: "

    def _remote(self, line: RemoteLine, peer: str) -> None:
        if not self.options.files:
            return
        hosts = tuple(dict.fromkeys((line.host or peer, peer)))
        rule = self.options.rules.rule_for(hosts, line.module, line.level, True)
        if rule is not None:
            now = time.time()
            stamp = line.time or time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now))
            self._file(rule.file, f"{stamp} {line.host or peer} {_LEVELS[line.level]} {line.module}[{peer}]: ", line.text)

    def _secure(self, line: Line) -> None:
        """`TIME HOST SECURITY[MODULE]: event field=value ...`, documented for programs that ban."""
        head = f"{line.time} {self._host} SECURITY[{line.module}]: "
        where = self.options.security_where
        if where.mask is not None and not where.mask & line.level:
            return
        if where.kind == "remote":
            self._send(where.host, Line(line.time, line.level, "SECURITY", line.text, line.process), line.text)
        elif where.kind == "system":
            self._system(Line(line.time, line.level, "SECURITY", line.text), line.text)
        self._pieces.setdefault(SECURITY_FILE, []).append(f"{head}{one_line(line.text)}\n")

    # -- folding -----------------------------------------------------------------------------------------------------

    def _file(self, name: str, head: str, text: str) -> None:
        pieces = self._pieces.setdefault(name, [])
        self._fold(f"file {name}", head, text, lambda words: pieces.append(f"{head}{one_line(words)}\n"))

    def _fold(self, place: str, head: str, text: str, write: Callable[[str], None]) -> None:
        """Write a line, unless it says what the last one of the place said."""
        if not self.options.fold:
            write(text)
            return
        last = self._last.get(place)
        same = f"{head.partition(' ')[2]}{text}"  # all but the time
        now = time.monotonic()
        if last is not None and last.text == same and now - last.since < FOLD_SECONDS:
            last.again += 1
            last.head = head
            return
        if last is not None and last.again:
            self._say_again(place, last, write)
        if len(self._last) > 1000:
            self._last.clear()
        self._last[place] = _Last(same, now, head)
        write(text)

    def _say_again(self, place: str, last: _Last, write: Callable[[str], None]) -> None:
        text = f"the last line was repeated {last.again} times"
        last.again = 0
        if place.startswith("file "):
            self._pieces.setdefault(place.removeprefix("file "), []).append(f"{last.head}{text}\n")
        else:
            write(text)

    def _unfold(self, *, everything: bool) -> None:
        """Tell of lines that were repeated and then followed by none."""
        now = time.monotonic()
        for place, last in list(self._last.items()):
            if last.again and (everything or now - last.since >= FOLD_SECONDS) and place.startswith("file "):
                self._say_again(place, last, lambda text: None)
                del self._last[place]

    # -- writing -----------------------------------------------------------------------------------------------------

    def _flush(self) -> None:
        pieces, self._pieces = self._pieces, {}
        for name, lines in pieces.items():
            if not lines:
                continue
            options = self.options.security if name == SECURITY_FILE else self.options.rules.options_of(name)
            # In pieces of less than a file's size, so that rotation by size is by the line.
            piece: list[bytes] = []
            size, most = 0, max(4096, min(options.size // 8, 256 << 10))
            for octets in (line.encode("utf-8", "backslashreplace") for line in lines):
                if piece and size + len(octets) > most:
                    self._append(name, b"".join(piece), options)
                    piece, size = [], 0
                piece.append(octets)
                size += len(octets)
            self._append(name, b"".join(piece), options)

    def _append(self, name: str, octets: bytes, options: FileOptions) -> None:
        try:
            self._files.append(name, octets, options)
        except OSError as error:
            self._complain(name, f"cannot be written: {error.strerror}")

    def _send(self, host: str, line: Line, text: str) -> None:
        try:
            address = self._address(host)
            family = socket.AF_INET6 if len(address) == 4 else socket.AF_INET
            known = self._sockets.get(str(family))
            if known is None:
                known = self._sockets[str(family)] = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
            known.sendto(encode(line.time, self._host, line.level, line.module, line.process, text), address)
        except OSError as error:
            self._complain(host, f"does not take log lines: {error}; they are kept here")
            self._to_files(line)

    def _address(self, host: str) -> tuple[Any, ...]:
        known = self._addresses.get(host)
        if known is None or time.monotonic() - known[0] > RESOLVE_SECONDS:
            name, _, port = host.rpartition(":")
            found = socket.getaddrinfo(name.strip("[]"), int(port), type=socket.SOCK_DGRAM)
            known = self._addresses[host] = (time.monotonic(), found[0][4])
        return known[1]

    def _system(self, line: Line, text: str) -> None:
        try:
            known = self._sockets.get("system")
            if known is None:
                known = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
                known.settimeout(1.0)
                known.connect(self._system_log)
                self._sockets["system"] = known
            known.send(encode_local(os.getpid(), line.level, line.module, text))
        except OSError as error:
            gone = self._sockets.pop("system", None)
            if gone is not None:
                gone.close()
            self._complain("the system's log", f"takes no lines: {error.strerror}; they are kept here")
            self._to_files(line)

    def _complain(self, what: str, why: str) -> None:
        """To the stream, at most once a minute for each thing."""
        now = time.monotonic()
        if now - self._complained.get(what, -1e9) < 60:
            return
        self._complained[what] = now
        with contextlib.suppress(Exception):
            stamp = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime())
            line = f'{{"time":"{stamp}","level":"error","module":"LOG","event":"log: {one_line(what)}: {one_line(why)}"}}\n'
            write_stream(line.encode("utf-8", "backslashreplace"))
