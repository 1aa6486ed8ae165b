"""One process under the supervisor: its event loop, its control channel, its listeners.

Invariants: it serves only after the application has started (and replayed); it exits when the supervisor is gone;
on a graceful stop no new connection is taken, every session is told, and none is cut before the deadline.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import importlib
import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path

import uvloop

from mailstead.observe.log import bridge_standard_logging, fault, get_logger, reopen_from_environment
from mailstead.observe.metrics import SnapshotWriter, settle
from mailstead.process import control
from mailstead.process.application import Application, ListenerSpec, ProcessContext, StartError
from mailstead.process.binding import bind_or_explain
from mailstead.process.system import name_process, raise_open_files, tune_allocator
from mailstead.transport.endpoint import Endpoint
from mailstead.transport.listener import serve

log = get_logger("SERVER")

HEARTBEAT = 2.0
STOP_SECONDS = 15.0


def load_application(path: str) -> Callable[[ProcessContext], Application]:
    """The factory named `package.module:name`."""
    module, _, name = path.partition(":")
    factory: Callable[[ProcessContext], Application] = getattr(importlib.import_module(module), name)
    return factory


def load_rest(factory: Callable[[ProcessContext], Application]) -> None:
    """Load what an application's processes load late, where it has a `load` that says what: for who forks them."""
    load: Callable[[], None] | None = getattr(factory, "load", None)
    if load is not None:
        load()


class Serving:
    """The listeners of one process."""

    def __init__(self, application: Application) -> None:
        self._application = application
        self._servers: dict[int, tuple[ListenerSpec, asyncio.Server, Endpoint]] = {}
        self._leaving: list[Endpoint] = []

    async def add(self, spec: ListenerSpec, sock: socket.socket) -> None:
        """Accept on `sock`, which is listening already."""
        await self.remove(spec.id)
        try:
            endpoint, factory = self._application.endpoint(spec)
        except LookupError:  # removed again before we came to it
            sock.close()
            return
        server = await serve(endpoint, factory, sock)
        self._servers[spec.id] = (spec, server, endpoint)

    async def remove(self, identifier: int) -> None:
        """Accept no more; the sessions go on."""
        known = self._servers.pop(identifier, None)
        if known is not None:
            known[1].close()
            if known[2].connections:
                self._leaving.append(known[2])

    def specs(self) -> dict[int, ListenerSpec]:
        """What is listened on."""
        return {identifier: spec for identifier, (spec, _s, _e) in self._servers.items()}

    def refresh(self) -> None:
        """Give listeners their settings as they are now; sessions keep theirs."""
        for spec, _server, endpoint in self._servers.values():
            try:
                fresh, _factory = self._application.endpoint(spec)
            except LookupError:
                continue  # removed: whoever binds will tell us soon
            for name in Endpoint.__slots__:
                if name not in ("connections", "address", "port", "service"):
                    setattr(endpoint, name, getattr(fresh, name))

    async def stop(self, seconds: float) -> None:
        """Take no more connections, tell every session, wait, then cut what is left."""
        endpoints = [endpoint for _spec, _server, endpoint in self._servers.values()] + self._leaving
        for _spec, server, _endpoint in self._servers.values():
            server.close()
        for connection in [c for endpoint in endpoints for c in endpoint.connections]:
            try:
                connection.shutting_down()
            except Exception as exc:  # one broken session must not keep the others from their farewell
                fault(log, "session failed to stop", exc)
                connection.abort()
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        while any(e.connections for e in endpoints) and loop.time() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(0.02)  # several sets empty themselves; no one event covers them
        for connection in [c for endpoint in endpoints for c in endpoint.connections]:
            connection.abort()
        await asyncio.sleep(0)


class Child:
    """The process: application, control channel, signals."""

    def __init__(self, factory: Callable[[ProcessContext], Application], channel: socket.socket | None,
                 data_dir: Path, name: str, index: int, role: str, workers: int, first: bool) -> None:  # fmt: skip
        self._name = name
        self._first = first
        self._failure = ""
        self._channel = channel
        self._role = role
        self._done = asyncio.Event()
        self._stop_seconds = STOP_SECONDS
        self._pending: asyncio.Queue[tuple[control.Message, int | None]] = asyncio.Queue()
        context = ProcessContext(data_dir, name, index, role, workers, self._listeners_changed, self._fail)
        if first:
            settle(data_dir / "run" / "metrics")
        self._metrics = SnapshotWriter(data_dir / "run" / "metrics", name)
        self.application = factory(context)
        self.serving = Serving(self.application)
        self.on_ready: Callable[[], None] = lambda: None

    async def run(self) -> None:
        """Start, serve until told to stop, stop. Raises StartError."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._done.set)
        if self._channel is None:
            loop.add_signal_handler(signal.SIGINT, self._done.set)
            for number in (signal.SIGHUP, signal.SIGUSR1):  # without a supervisor its signals come here
                loop.add_signal_handler(number, lambda: self._pending.put_nowait(({"op": "reload"}, None)))
            loop.add_signal_handler(signal.SIGUSR2, lambda: None)
        else:
            self._channel.setblocking(False)
            loop.add_reader(self._channel.fileno(), self._readable)
        if self._first:
            await self.application.prepare()
            self._tell({"op": "prepared"})
        await self.application.start()
        gc.collect()
        gc.freeze()  # what lives as long as the process need not be looked at again
        tasks = [asyncio.create_task(self._metrics.run()), asyncio.create_task(self._work())]
        if self._channel is not None:
            tasks.append(asyncio.create_task(self._heartbeat()))
        self._listeners_changed()
        if self._channel is None:
            await self._bind_own(first=True)
        self._tell({"op": "ready"})
        self.on_ready()
        await self._done.wait()
        await self.serving.stop(self._stop_seconds)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.application.stop()
        if self._failure:
            raise RuntimeError(self._failure)

    def _fail(self, reason: str) -> None:
        log.critical("process gives up", reason=reason)
        self._failure, self._stop_seconds = reason, 1.0
        self._done.set()

    def _readable(self) -> None:
        assert self._channel is not None
        while True:
            try:
                received = control.receive(self._channel)
            except BlockingIOError:
                return
            if received is None:  # the supervisor is dead: without it no limit holds and no restart happens
                asyncio.get_running_loop().remove_reader(self._channel.fileno())
                log.warning("the supervisor is gone, stopping")
                self._done.set()
                return
            if received[0]["op"] == "stop":
                self._stop_seconds = float(received[0]["seconds"])
                self._done.set()
            else:
                self._pending.put_nowait(received)

    async def _work(self) -> None:
        while True:
            message, fd = await self._pending.get()
            try:
                await self._obey(message, fd)
            except Exception as exc:  # the process goes on with what it has
                fault(log, "control message failed", exc, op=message["op"])

    async def _obey(self, message: control.Message, fd: int | None) -> None:
        operation = message["op"]
        if operation == "listen" and fd is not None:
            await self.serving.add(ListenerSpec(**message["listener"]), socket.socket(fileno=fd))
        elif operation == "unlisten":
            await self.serving.remove(message["id"])
        elif operation == "reload":
            reopen_from_environment(self._name)  # after a rotation
            await self.application.reload()
            self.serving.refresh()
            self._listeners_changed()
        elif operation == "changed":
            self.serving.refresh()
            await self._bind_own()

    def _listeners_changed(self) -> None:
        if self._channel is None:
            self._pending.put_nowait(({"op": "changed"}, None))
        elif self._role == "background":
            self._tell({"op": "listeners", "want": [spec.as_dict() for spec in self.application.listeners()]})
        else:
            self.serving.refresh()

    async def _bind_own(self, *, first: bool = False) -> None:
        if self._channel is not None:
            return
        wanted = {spec.id: spec for spec in self.application.listeners()}
        for identifier, spec in self.serving.specs().items():
            if wanted.get(identifier) != spec:
                await self.serving.remove(identifier)
        for identifier, spec in wanted.items():
            if identifier in self.serving.specs():
                continue
            try:
                await self.serving.add(spec, bind_or_explain(spec)[0])
            except StartError as exc:
                if first:
                    raise
                log.error(str(exc), listener=identifier)  # the others go on; the next change tries again

    def _tell(self, message: control.Message) -> None:
        if self._channel is not None:
            control.send(self._channel, message)

    async def _heartbeat(self) -> None:
        while True:
            self._tell({"op": "alive"})
            await asyncio.sleep(HEARTBEAT)


def prepare_process() -> None:
    """What every serving process does first."""
    bridge_standard_logging()
    tune_allocator()
    raise_open_files()
    gc.set_threshold(50_000, 20, 50)  # sessions make few cycles; the default walks the heap far too often


def serve_supervised(
    channel: socket.socket,
    factory: Callable[[ProcessContext], Application],
    data_dir: Path,
    name: str,
    index: int,
    role: str,
    *,
    workers: int,
    first: bool,
) -> int:
    """What a process under the supervisor does, until it is told to stop; the exit status.

    ``channel``: its end of the control channel; ``role``: worker or background; ``first``: it readies the node for the others."""
    name_process(f"mailstead {name}")
    reopen_from_environment(name)
    prepare_process()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if role == "background":
        with contextlib.suppress(OSError):
            os.nice(5)

    async def run() -> None:
        await Child(factory, channel, data_dir, name, index, role, workers, first).run()

    try:
        uvloop.run(run())
    except StartError as exc:
        channel.setblocking(True)
        control.send(channel, {"op": "fatal", "text": str(exc)})
        return 3
    except Exception as exc:
        fault(log, "process failed", exc)
        return 1
    return 0
