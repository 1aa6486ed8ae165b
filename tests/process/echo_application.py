"""An application without mail: an echo listener per line of `listeners` in the data directory."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from mailstead.process.admission import FlowControl, Level, Limits
from mailstead.process.application import ListenerSpec, ProcessContext, StartError
from mailstead.process.shared_table import SharedTable
from mailstead.settings.access import AccessRules
from mailstead.transport.connection import Connection
from mailstead.transport.endpoint import Endpoint


class Echo(Connection):
    """Says who it is, repeats, obeys `die`, `slow SECONDS`, and `slow until` a file `over` is in the data directory."""

    def started(self) -> None:
        self.send(b"%s %d\r\n" % (os.environ.get("GREETING", "hello").encode(), os.getpid()))

    def received(self, data: bytes) -> None:
        if data.startswith(b"die"):
            os.kill(os.getpid(), signal.SIGKILL)
        if data.startswith(b"slow"):
            self.hold()
            self.send(b"wait\r\n")
            self.task = asyncio.ensure_future(self._slow(data[4:].strip()))
            return
        self.send(data)

    async def _slow(self, how: bytes) -> None:
        if how == b"until":
            while not Path(sys.argv[1], "over").exists():  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        else:
            await asyncio.sleep(float(how or 0.5))
        self.send(b"done\r\n")
        self.resume()

    def over_limit(self, reason: str) -> None:
        self.send(b"421 " + reason.encode() + b"\r\n")

    def shutting_down(self) -> None:
        if self._held:
            self.task.add_done_callback(lambda _task: self.shutting_down())
            return
        self.send(b"bye\r\n")
        self.close()


class EchoApplication:
    """See process.application.Application."""

    loaded_by = 0

    @classmethod
    def load(cls) -> None:
        """See child.load_rest."""
        cls.loaded_by = os.getpid()

    def __init__(self, context: ProcessContext) -> None:
        self.context = context
        if self.loaded_by == os.getppid():
            (context.data_dir / f"loaded-{context.name}").touch()
        self.table: SharedTable | None = None

    async def prepare(self) -> None:
        (self.context.data_dir / f"prepared-{self.context.name}").touch(exist_ok=False)

    async def start(self) -> None:
        if (self.context.data_dir / "damaged").exists():
            raise StartError("the data directory is damaged")
        if (self.context.data_dir / "broken").exists():
            raise RuntimeError("a fault of ours")
        path = self.context.data_dir / "run" / "shared.table"
        if self.context.role == "single":
            SharedTable.create(path).close()
        self.table = SharedTable(path, self.context.index)
        self.task = asyncio.ensure_future(self._watch(self._configured()))

    async def _watch(self, before: dict[str, object]) -> None:
        while True:
            await asyncio.sleep(0.05)
            now = self._configured()
            if now != before:
                before = now
                self.context.changed()

    def _configured(self) -> dict[str, object]:
        found: dict[str, object] = json.loads((self.context.data_dir / "echo.json").read_text())
        return found

    def listeners(self) -> Sequence[ListenerSpec]:
        return [ListenerSpec(**spec) for spec in self._configured()["listeners"]]  # type: ignore[attr-defined]

    def endpoint(self, spec: ListenerSpec) -> tuple[Endpoint, Callable[[Endpoint], Connection]]:
        assert self.table is not None
        limits = Limits(**self._configured().get("limits", {}))  # type: ignore[arg-type]
        admission = FlowControl(self.table, [Level(f"listener {spec.id}", AccessRules(()), limits)])
        return Endpoint("echo", spec.host, spec.port, admission=admission), Echo

    async def reload(self) -> None:
        os.environ["GREETING"] = "reloaded"

    async def stop(self) -> None:
        self.task.cancel()
        (self.context.data_dir / f"stopped-{self.context.name}").touch()
