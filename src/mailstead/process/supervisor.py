"""The parent of all processes of a node.

Invariants:
- It holds every listening socket, one per worker, from the moment it is bound until the listener is removed: the
  death of a worker loses no pending connection.
- What a dead process held in the shared table is reclaimed before its successor starts.
- A process that cannot start for a reason that will not go away stops the node at its first start, with words.
- A process that gives no sign of life for `HUNG_SECONDS` is killed and replaced.
- It has loaded the mail code, once for all, and runs none of it: no event loop, no threads, no file of the store is open. So its
  forks are whole, share what was loaded, and serve after a fraction of the time that loading takes.

How: `poll` over the control channels and a pipe of signals. The background process reads the settings and says what to listen on;
sockets travel to the workers as descriptors.
"""

from __future__ import annotations

import gc
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mailstead.observe.log import configure_from_environment, get_logger, reopen_from_environment
from mailstead.process import child, control
from mailstead.process.application import ListenerSpec, StartError
from mailstead.process.binding import bind_or_explain
from mailstead.process.forked import Forked
from mailstead.process.launch import ANNOUNCEMENT, CORE_DUMPS, DEFAULT_APPLICATION
from mailstead.process.shared_table import SharedTable
from mailstead.process.system import (
    LEFT_SECONDS,
    drop_privileges,
    give_up_low_ports,
    lock_data_directory,
    name_process,
    notify,
    raise_open_files,
    watchdog_interval,
)

log = get_logger("SERVER")

FIRST_DELAY = 0.1
LONGEST_DELAY = 30.0
#: So many deaths of one process before the node has ever served end the attempt.
START_ATTEMPTS = 3
#: A process that lived this long starts again with the first delay.
HEALTHY_SECONDS = 60.0
HUNG_SECONDS = 60.0
#: A listener whose port is still in use (by a session socket of before, say) is tried again this often.
REBIND_SECONDS = 1.0
STOP_SECONDS = 15.0


@dataclass(slots=True)
class _Process:
    name: str
    index: int
    role: str
    running: Forked | None = None
    channel: socket.socket | None = None
    started: float = 0.0
    heard: float = 0.0
    ready: bool = False
    delay: float = FIRST_DELAY
    deaths: int = 0
    restart_at: float = 0.0
    problem: str = ""


@dataclass(slots=True)
class _Listener:
    spec: ListenerSpec
    sockets: list[socket.socket] = field(default_factory=list)


class Supervisor:
    """Runs `workers` workers and one background process on `data_dir` until told to stop."""

    def __init__(
        self,
        data_dir: Path,
        workers: int,
        *,
        application: str = DEFAULT_APPLICATION,
        on_ready: Callable[[], None] = lambda: None,
        stop_seconds: float = STOP_SECONDS,
    ) -> None:
        self._data_dir = data_dir
        self._factory = child.load_application(application)
        # Descriptors that no child may keep. The data directory's lock is none: while one of them lives there is a server.
        self._own: list[int] = []
        self._on_ready = on_ready
        self._stop_seconds = stop_seconds
        self._table = SharedTable.create(data_dir / "run" / "shared.table")
        self._processes = [_Process("b0", 0, "background")]
        self._processes += [_Process(f"w{n}", n + 1, "worker") for n in range(workers)]
        self._workers = self._processes[1:]
        self._listeners: dict[int, _Listener] = {}
        self._wanted: dict[int, ListenerSpec] = {}
        self._failed: dict[int, str] = {}
        self._bind_again = 0.0
        self._prepared = False  # the background process has made the node ready for its processes
        self._asked = False  # the background process has said what to listen on
        self._announced = False
        self._signals: list[int] = []

    def run(self) -> int:
        """Until SIGTERM or SIGINT; the exit status. Raises StartError when the first start fails."""
        reader, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._own += [reader, writer]
        self._freeze()
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGCHLD):
            signal.signal(number, lambda number, _frame: self._signals.append(number))
        try:
            self._spawn(self._processes[0])
            child.load_rest(self._factory)  # while the background process makes the node ready
            self._freeze()
            return self._loop(reader)
        finally:
            self._kill_all()
            self._close_listeners()

    @staticmethod
    def _freeze() -> None:
        """Pages of what is loaded stay shared with the children."""
        gc.collect()
        gc.freeze()

    def _loop(self, pipe: int) -> int:
        beat = watchdog_interval()
        next_beat = 0.0
        while True:
            channels = {p.channel.fileno(): p for p in self._processes if p.channel is not None}
            waiting = select.poll()  # select takes no descriptor above 1023: there may be more listening sockets
            for fd in (pipe, *channels):
                waiting.register(fd, select.POLLIN)
            readable = {fd for fd, _ in waiting.poll(self._timeout(beat) * 1000)}
            if pipe in readable:
                os.read(pipe, 4096)
            for fd in readable:
                if fd in channels:
                    self._read(channels[fd])
            signals, self._signals = self._signals, []
            if signal.SIGTERM in signals or signal.SIGINT in signals:
                return self._stop()
            if signal.SIGHUP in signals or signal.SIGUSR1 in signals:
                reopen_from_environment("main")  # after a rotation
                self._tell_all({"op": "reload"})
            if signal.SIGUSR2 in signals:
                self._report()
            now = time.monotonic()
            self._reap(now)
            for process in self._processes:
                if process.running is None and process.restart_at <= now and self._may_start(process):
                    self._spawn(process)
            if self._failed and now >= self._bind_again:
                self._bind_wanted()
            if beat and now >= next_beat:
                notify("WATCHDOG=1")
                next_beat = now + beat

    def _timeout(self, beat: float) -> float:
        now = time.monotonic()
        waits = [p.restart_at - now for p in self._processes if p.running is None and self._may_start(p)]
        return max(0.0, min([*waits, beat or 5.0, REBIND_SECONDS if self._failed else 5.0]))

    # ---- processes ---------------------------------------------------------------------------------------------

    def _may_start(self, process: _Process) -> bool:
        return self._prepared or process.role == "background"

    def _spawn(self, process: _Process) -> None:
        ours, theirs = control.pair()

        def run() -> int:
            ours.close()
            self._let_go()
            return child.serve_supervised(
                theirs, self._factory, self._data_dir, process.name, process.index, process.role,
                workers=len(self._workers), first=not self._prepared,
            )  # fmt: skip

        try:
            process.running = Forked(run)
        except OSError as exc:
            ours.close()
            if not self._announced:
                raise StartError(f"no further process can be started: {exc.strerror}") from exc
            log.error("no further process can be started", name=process.name, error=exc.strerror)
            process.restart_at = time.monotonic() + LONGEST_DELAY
            return
        finally:
            theirs.close()
        process.channel = ours
        process.started = process.heard = time.monotonic()
        process.ready, process.problem = False, ""
        if process.role == "worker":
            for listener in self._listeners.values():
                self._hand_over(process, listener)

    def _let_go(self) -> None:
        """In a child: close what is the supervisor's alone, and give up its one right."""
        self._close_listeners()
        for process in self._processes:
            if process.channel is not None:
                process.channel.close()
            if process.running is not None:
                process.running.let_go()
        self._table.close()
        for fd in self._own:
            os.close(fd)
        give_up_low_ports()

    def _reap(self, now: float) -> None:
        for process in self._processes:
            running = process.running
            if running is None:
                continue
            if running.poll() is None:
                if process.ready and now - process.heard > HUNG_SECONDS:
                    log.error("process gives no sign of life, killing it", name=process.name, pid=running.pid)
                    running.kill()
                    process.heard = now
                continue
            if process.channel is not None:
                self._read(process)  # its last words
                if process.channel is not None:
                    process.channel.close()
                    process.channel = None
            process.running = None
            taken = self._table.reclaim(process.index)
            if process.problem and not self._announced:
                raise StartError(process.problem)
            process.deaths += 1
            if not self._announced and process.deaths >= START_ATTEMPTS:
                raise StartError(f"process {process.name} does not start; the log says why")
            if now - process.started >= HEALTHY_SECONDS:
                process.delay = FIRST_DELAY
            process.restart_at = now + process.delay
            log.error(
                "process ended, starting it again",
                name=process.name, status=running.returncode, after=round(process.delay, 1), reclaimed=taken,
            )  # fmt: skip
            process.delay = min(process.delay * 2, LONGEST_DELAY)

    def _read(self, process: _Process) -> None:
        while process.channel is not None:
            try:
                received = control.receive(process.channel)
            except BlockingIOError:
                return
            if received is None:
                process.channel.close()
                process.channel = None
                return
            process.heard = time.monotonic()
            message = received[0]
            if message["op"] == "ready":
                process.ready = True
                self._check_ready()
            elif message["op"] == "prepared":
                self._prepared = True
            elif message["op"] == "fatal":
                process.problem = str(message["text"])
                log.critical(process.problem, name=process.name)
            elif message["op"] == "listeners":
                self._listen([ListenerSpec(**spec) for spec in message["want"]])

    def _check_ready(self) -> None:
        if not self._announced and self._asked and all(p.ready for p in self._processes):
            self._announced = True
            notify("READY=1\nSTATUS=Serving")
            log.info("ready", workers=len(self._workers), listeners=len(self._listeners))
            self._on_ready()

    # ---- listeners ---------------------------------------------------------------------------------------------

    def _listen(self, wanted: Sequence[ListenerSpec]) -> None:
        new = {spec.id: spec for spec in wanted}
        for identifier, listener in list(self._listeners.items()):
            if new.get(identifier) != listener.spec:
                for worker in self._workers:
                    if worker.channel is not None:
                        control.send(worker.channel, {"op": "unlisten", "id": identifier})
                for sock in listener.sockets:
                    sock.close()
                del self._listeners[identifier]
        self._wanted = new
        self._failed.clear()
        self._bind_wanted()
        self._asked = True
        self._check_ready()

    def _bind_wanted(self) -> None:
        self._bind_again = time.monotonic() + REBIND_SECONDS
        for identifier, spec in self._wanted.items():
            if identifier in self._listeners:
                continue
            try:
                listener = _Listener(spec, bind_or_explain(spec, len(self._workers)))
            except StartError as exc:
                if not self._announced:
                    raise
                if self._failed.get(identifier) != str(exc):  # tried again, but told once
                    self._failed[identifier] = str(exc)
                    log.error(str(exc), listener=identifier)
                continue
            self._failed.pop(identifier, None)
            self._listeners[identifier] = listener
            for worker in self._workers:
                self._hand_over(worker, listener)

    def _close_listeners(self) -> None:
        for listener in self._listeners.values():
            for sock in listener.sockets:
                sock.close()
        self._listeners.clear()

    def _hand_over(self, worker: _Process, listener: _Listener) -> None:
        if worker.channel is not None:
            sock = listener.sockets[worker.index - 1]
            control.send(worker.channel, {"op": "listen", "listener": listener.spec.as_dict()}, sock.fileno())

    # ---- the end -----------------------------------------------------------------------------------------------

    def _tell_all(self, message: control.Message) -> None:
        for process in self._processes:
            if process.channel is not None:
                control.send(process.channel, message)

    def _stop(self) -> int:
        notify("STOPPING=1")
        log.info("stopping")
        self._close_listeners()  # with the workers' own ends gone, new clients are refused instead of kept waiting
        self._tell_all({"op": "stop", "seconds": self._stop_seconds})
        deadline = time.monotonic() + self._stop_seconds + 5.0
        for process in self._processes:
            if process.running is not None:
                try:
                    process.running.wait(max(0.1, deadline - time.monotonic()))
                except TimeoutError:
                    log.error("process does not stop, killing it", name=process.name)
        clean = all(p.running is None or p.running.poll() == 0 for p in self._processes)
        log.info("stopped", clean=clean)
        return 0 if clean else 1

    def _kill_all(self) -> None:
        for process in self._processes:
            if process.running is not None and process.running.poll() is None:
                process.running.kill()
                process.running.wait()

    def _report(self) -> None:
        for process in self._processes:
            pid = process.running.pid if process.running is not None else 0
            log.info("process", name=process.name, pid=pid, ready=process.ready,
                     seconds=round(time.monotonic() - process.started))  # fmt: skip


def main(arguments: Sequence[str]) -> int:
    """Data directory, user, workers, application, and `CORE_DUMPS` where they are wanted: what `launch` hands over by exec.

    A program of its own, because what the command that was typed has loaded and opened is none of its children's business.
    """
    data_dir, user, workers, application = Path(arguments[0]), *arguments[1:4]
    announcement = os.environ.pop(ANNOUNCEMENT, "")
    configure_from_environment("main")
    name_process("mailstead main")
    raise_open_files()

    def ready() -> None:
        if announcement:
            print(announcement, flush=True)

    try:
        drop_privileges(user, data_dir, core_dumps=CORE_DUMPS in arguments[4:])
        lock_data_directory(data_dir, LEFT_SECONDS)
        return Supervisor(data_dir, int(workers), application=application, on_ready=ready).run()
    except StartError as exc:
        print(f"Error: {exc}", file=sys.stderr)
        if os.environ.get("MAILSTEAD_LOG_FILE"):
            print(f"The log is {os.environ['MAILSTEAD_LOG_FILE']}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
