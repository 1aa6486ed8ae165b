"""What a process runs, seen from the machinery that keeps it alive.

Invariants: an application is started once and stopped once; it never binds a socket itself; a listener is known by
its id everywhere, and its endpoint is made anew when its settings change.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:  # the supervisor knows these values and must stay small
    from mailstead.transport.connection import Connection
    from mailstead.transport.endpoint import Endpoint


@dataclass(frozen=True, slots=True)
class ListenerSpec:
    """What the supervisor has to bind."""

    id: int
    service: str
    host: str
    port: int

    def as_dict(self) -> dict[str, object]:
        """For the control channel."""
        return asdict(self)


class StartError(Exception):
    """The application cannot start, and trying again would not help; the text is for the operator."""


@dataclass(frozen=True, slots=True)
class ProcessContext:
    """Who this process is. `role`: worker, background, or single (both in one process)."""

    data_dir: Path
    name: str
    index: int
    role: str
    workers: int
    changed: Callable[[], None]
    """To be called when the wanted listeners may have changed."""
    failed: Callable[[str], None]
    """To be called when this process must end and be replaced, with the reason."""


class Application(Protocol):
    """One process of the node. The constructor takes the `ProcessContext`."""

    async def prepare(self) -> None:
        """Called once per start of the node, before any of its processes starts. Raises StartError."""

    async def start(self) -> None:
        """Open everything and replay what is to be replayed. Raises StartError."""

    def listeners(self) -> Sequence[ListenerSpec]:
        """What shall be listened on now (asked in the background or single process)."""

    def endpoint(self, spec: ListenerSpec) -> tuple[Endpoint, Callable[[Endpoint], Connection]]:
        """The endpoint and the session factory of a listener (asked in workers). Raises LookupError: it is gone."""

    async def reload(self) -> None:
        """Read settings and certificates again; connections stay."""

    async def stop(self) -> None:
        """Flush and close; every connection is gone by now."""
