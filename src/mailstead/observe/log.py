"""Structured log lines (features LOG-01, LOG-04).

Invariants: one event is one line and one write; a field whose name promises a secret is never written; a message
of a level that is switched off costs one attribute load and one bit test.

How: `get_logger(module)` gives a structlog bound logger whose methods first test the module's level mask. The mask
has the bits of LOG-01: 1 critical, 2 error, 4 warning, 8 information, 16 protocol. `configure` and `follow` may be called
again at any time; loggers handed out before follow.

A line goes to the stream (standard error, or the file of the command line), and, in a process that has a `Writer` (see
log_writer), to where its module's settings say. With a writer neither is written by the calling thread.
"""

from __future__ import annotations

import json
import logging
import os
import re
import secrets
import sys
import time
import traceback
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, NamedTuple, Protocol

import msgspec
import structlog

CRITICAL, ERROR, WARNING, INFORMATION, PROTOCOL = 1, 2, 4, 8, 16
DEFAULT_MASK = CRITICAL | ERROR | WARNING | INFORMATION

#: Names accepted where a human gives a level: everything up to and including it.
LEVELS: Mapping[str, int] = {"critical": 1, "error": 3, "warning": 7, "information": 15, "protocol": 31}

_SECRET = re.compile(r"passw|secret|token|authorization|credential|private_key|cookie", re.I)
_PLAIN = re.compile(r"[!-~]+\Z")
_LIMIT = 4096

Style = Literal["json", "text"]
Event = MutableMapping[str, Any]


class Line(NamedTuple):
    """A line on its way: `level` is one bit, `text` event and fields. `security`: for the security log as well."""

    time: str
    level: int
    module: str
    text: str
    process: str = ""
    security: bool = False


@dataclass(frozen=True, slots=True)
class ModuleLog:
    """What settings say of a module: its level (None: the command line's), and where its lines go (internal, remote, system)."""

    mask: int | None = None
    kind: str = "internal"
    host: str = ""


class Writer(Protocol):
    """Takes lines and writes them elsewhere than in the calling thread."""

    def stream(self, octets: bytes) -> None:
        """A line of the stream, ready to be written."""

    def put(self, line: Line, where: ModuleLog) -> None:
        """A line for where its module's settings say."""


class Sink:
    """What the loggers of one module share: its name, its level mask, and where its lines go."""

    __slots__ = ("mask", "module", "where")

    def __init__(self, module: str, mask: int, where: ModuleLog) -> None:
        self.module = module
        self.mask = mask
        self.where = where

    def emit(self, line: str) -> None:
        """Write one line to the stream; a log that cannot be written must not stop the mail."""
        octets = line.encode("utf-8", "backslashreplace")
        if _writer is not None:
            _writer.stream(octets)
        else:
            write_stream(octets)


def write_stream(octets: bytes) -> None:
    """Write to standard error or the file of the command line."""
    try:
        os.write(_fd, octets)
    except OSError:
        pass  # disk full or pipe closed: there is nowhere left to say so


class Logger(structlog.BoundLoggerBase):
    """A logger of one module, with fields bound to it (`bind(session=..., message=...)`)."""

    _logger: Sink

    def critical(self, event: str, **fields: object) -> None:
        """Something that stops a service."""
        if self._logger.mask & CRITICAL:
            self._write("critical", event, fields)

    def error(self, event: str, **fields: object) -> None:
        """Something of ours that failed."""
        if self._logger.mask & ERROR:
            self._write("error", event, fields)

    def warning(self, event: str, **fields: object) -> None:
        """Something the operator should look at."""
        if self._logger.mask & WARNING or (_security and event in SECURITY_EVENTS):
            self._write("warning", event, fields)

    def info(self, event: str, **fields: object) -> None:
        """Normal operation."""
        if self._logger.mask & INFORMATION or (_security and event in SECURITY_EVENTS):
            self._write("information", event, fields)

    def protocol(self, event: str, **fields: object) -> None:
        """What was said on a connection."""
        if self._logger.mask & PROTOCOL:
            self._write("protocol", event, fields)

    debug = protocol

    @property
    def speaks_protocol(self) -> bool:
        """Whether `protocol` writes: lets a caller avoid building the text."""
        return bool(self._logger.mask & PROTOCOL)

    def _write(self, level: str, event: str, fields: Mapping[str, object]) -> None:
        # What BoundLoggerBase._process_event does, without its questions: all processors are ours.
        line: Any = {**self._context, **fields, "event": event}
        for process in self._processors:
            line = process(self._logger, level, line)
        if line:
            self._logger.emit(line)


_sinks: dict[str, Sink] = {}
_masks: dict[str, int] = {}
_default_mask = DEFAULT_MASK
_style: Style = "json"
_fd = 2
_process = ""
_writer: Writer | None = None
_modules: Mapping[str, ModuleLog] = {}
_others = ModuleLog()
_security = False

#: Bits by the names of levels.
BITS: Mapping[str, int] = {"critical": 1, "error": 2, "warning": 4, "information": 8, "protocol": 16}

#: What the security log has: logins, refusals, what administrators did.
SECURITY_EVENTS = frozenset(
    {"login", "login failed", "administrator logged in", "administrator login failed", "command", "connection refused"}
)


@lru_cache(maxsize=4)
def _second(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))


def _stamp(sink: Sink, level: str, event: Event) -> Event:
    now = time.time()
    text = _second(int(now))
    ordered: Event = {
        "time": f"{text}.{int(now % 1 * 1000):03d}Z",
        "level": level,
        "module": sink.module,
        "event": event.pop("event"),
    }
    if _process:
        ordered["process"] = _process
    ordered.update(event)
    return ordered


@lru_cache(maxsize=4096)
def _promises_secret(key: str) -> bool:
    return _SECRET.search(key) is not None


def _redact(_sink: Sink, _level: str, event: Event) -> Event:
    for key, value in event.items():
        if _promises_secret(key):
            event[key] = "[removed]"
        elif isinstance(value, bytes):
            event[key] = value[:_LIMIT].decode("latin-1")
        elif isinstance(value, str):
            if len(value) > _LIMIT and key != "traceback":
                event[key] = value[:_LIMIT] + "..."
        elif value is not None and not isinstance(value, int | float | list | tuple | dict):
            event[key] = str(value)[:_LIMIT]
    return event


def _render(sink: Sink, level: str, event: Event) -> Any:
    bit = BITS[level]
    heard = bool(sink.mask & bit)
    if _writer is not None:
        secure = _security and event["event"] in SECURITY_EVENTS
        if heard or secure:
            where = sink.where if heard else _UNHEARD
            _writer.put(Line(event["time"], bit, sink.module, _text(event), _process, secure), where)
    if not heard:
        return ""
    if _style == "json":
        return _json(event) + "\n"
    head = f"{event.pop('time')} {event.pop('level'):<11} {event.pop('module')}: {event.pop('event')}"
    trace = event.pop("traceback", None)
    tail = "".join(f" {key}={_quote(value)}" for key, value in event.items())
    line = head.replace("\n", "\\n").replace("\r", "\\r") + tail + "\n"
    return line + "".join(f"    {part}\n" for part in str(trace).splitlines()) if trace else line


#: Of a line that only the security log has.
_UNHEARD = ModuleLog(0, "none")


def _text(event: Event) -> str:
    """Event and fields in one line; a traceback is left to the stream."""
    fields = (f" {key}={_quote(value)}" for key, value in event.items() if key not in _APART)
    return str(event["event"]).replace("\n", "\\n").replace("\r", "\\r") + "".join(fields)


_APART = frozenset({"time", "level", "module", "event", "process", "traceback"})


def _json(value: object) -> str:
    try:
        return msgspec.json.encode(value, enc_hook=str).decode()
    except ValueError:  # lone surrogates of undecodable input: escape all that is not ASCII
        return json.dumps(value, default=str)


def _quote(value: object) -> str:
    text = value if isinstance(value, str) else str(value)
    return text if _PLAIN.match(text) and '"' not in text else _json(text)


_PROCESSORS: list[structlog.typing.Processor] = [_stamp, _redact, _render]


def get_logger(module: str, **fields: object) -> Logger:
    """The logger of `module` (names of LOG-02 where one fits: SMTP-IN, IMAP, SERVER...)."""
    sink = _sinks.get(module)
    if sink is None:
        sink = _sinks[module] = Sink(module, 0, _others)
        _settle(sink)
    return Logger(sink, _PROCESSORS, dict(fields))


def configure(
    *,
    mask: int = DEFAULT_MASK,
    modules: Mapping[str, int] | None = None,
    style: Style = "json",
    path: str | None = None,
    process: str = "",
) -> None:
    """Set levels and destination for the whole process.

    `path` is appended to (None: standard error); `process` names this process on each line. Raises OSError when the
    file cannot be opened; the former destination then stays.
    """
    global _default_mask, _style, _fd, _process, _masks
    fd = sys.__stderr__.fileno() if path is None and sys.__stderr__ is not None else 2
    if path is not None:
        fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
    old, _fd = _fd, fd
    if old > 2 and old != fd:
        os.close(old)
    _default_mask, _masks, _style, _process = mask, dict(modules or {}), style, process
    for sink in _sinks.values():
        _settle(sink)


def _settle(sink: Sink) -> None:
    """Give a sink its mask and its way: what settings say of its module, else the command line's."""
    sink.where = _modules.get(sink.module, _others)
    own = sink.where.mask
    sink.mask = _masks.get(sink.module, _default_mask) if own is None else own


def follow(modules: Mapping[str, ModuleLog], others: ModuleLog, *, security: bool = False, writer: Writer | None = None) -> None:
    """Take what settings say: of modules by name, of all others, whether there is a security log; and who writes.

    Without a writer lines go to the stream only, and are written by the calling thread.
    """
    global _modules, _others, _security, _writer
    _modules, _others, _security, _writer = dict(modules), others, security, writer
    for sink in _sinks.values():
        _settle(sink)


def configure_from_environment(process: str) -> None:
    """`configure` as MAILSTEAD_LOG_LEVEL, _STYLE and _FILE say: how a parent process hands its choice on.

    Raises OSError when the file cannot be opened."""
    configure(
        mask=LEVELS.get(os.environ.get("MAILSTEAD_LOG_LEVEL", ""), DEFAULT_MASK),
        style="text" if os.environ.get("MAILSTEAD_LOG_STYLE") == "text" else "json",
        path=os.environ.get("MAILSTEAD_LOG_FILE") or None,
        process=process,
    )


def reopen_from_environment(process: str) -> None:
    """The same where there is a destination already: it stays, with a word, where the file cannot be opened."""
    global _process
    try:
        configure_from_environment(process)
    except OSError as exc:
        _process = process
        get_logger("LOG").error("the log file cannot be opened, the former destination stays", error=str(exc))


class _Bridge(logging.Handler):
    """Takes what libraries say through the standard logging module."""

    def emit(self, record: logging.LogRecord) -> None:
        logger = get_logger(record.name)
        fields = {"error": repr(record.exc_info[1])} if record.exc_info and record.exc_info[1] else {}
        if record.levelno >= logging.CRITICAL:
            logger.critical(record.getMessage(), **fields)
        elif record.levelno >= logging.ERROR:
            logger.error(record.getMessage(), **fields)
        elif record.levelno >= logging.WARNING:
            logger.warning(record.getMessage(), **fields)
        else:
            logger.info(record.getMessage(), **fields)


def bridge_standard_logging() -> None:
    """Send what goes to the standard logging module (event loop, libraries) to this log; INFO and above."""
    root = logging.getLogger()
    root.handlers[:] = [_Bridge()]
    root.setLevel(logging.INFO)


def fault(logger: Logger, event: str, exc: BaseException, **fields: object) -> str:
    """Log an error of our own with its traceback; returns the reference to put into the protocol reply."""
    reference = secrets.token_hex(4)
    logger.error(
        event,
        reference=reference,
        error=f"{type(exc).__name__}: {exc}",
        traceback="".join(traceback.format_exception(exc))[-16384:],
        **fields,
    )
    return reference
