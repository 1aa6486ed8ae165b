"""The face on the wire: the thin part between the event loop's connection and the session."""

from __future__ import annotations

import asyncio

from mailstead.directory.model import DirectoryError
from mailstead.list_unsubscribe.pages import Answer, done, page, question, unknown
from mailstead.list_unsubscribe.services import ListUnsubscribeServices
from mailstead.list_unsubscribe.session import Request, Session
from mailstead.observe.log import fault
from mailstead.settings.database import SystemDatabaseError
from mailstead.transport.connection import Connection
from mailstead.transport.endpoint import Endpoint


class ListUnsubscribeConnection(Connection):
    """One HTTP connection."""

    log_module = "WEBMAIL"
    __slots__ = ("_server", "_session", "_task")

    def __init__(self, endpoint: Endpoint, server: ListUnsubscribeServer) -> None:
        super().__init__(endpoint)
        self._server = server
        self._session = Session()
        self._task: asyncio.Task[None] | None = None

    def started(self) -> None:
        """The client speaks first."""

    def received(self, data: bytes) -> None:
        """Octets from the client."""
        self._go_on(data)

    def _go_on(self, data: bytes) -> None:
        request, out = self._session.received(data)
        if out:
            self.send(out)
        if request is not None:
            self.hold()
            self._task = asyncio.get_running_loop().create_task(self._serve(request))
        elif self._session.closing:
            self.close()

    async def _serve(self, request: Request) -> None:
        try:
            answer = await self._server.answer(request, self)
        except Exception as error:
            reference = fault(self.log, "request failed", error, peer=self.peer[0])
            answer = page(500, "Error", f"An internal error, reference {reference}.")
        if self.closing:
            return
        self.send(self._session.answer(answer))
        if self._session.closing:
            self.close()
            return
        self.resume()
        self._go_on(b"")

    def over_limit(self, reason: str) -> None:
        """Refused before the first octet."""
        self.send(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nRetry-After: 60\r\nConnection: close\r\n\r\n")


class ListUnsubscribeServer:
    """Makes the connections of all listeners of a process, and answers their requests."""

    def __init__(self, services: ListUnsubscribeServices) -> None:
        self.services = services

    def connection(self, endpoint: Endpoint) -> Connection:
        """A new connection that arrived at `endpoint`."""
        return ListUnsubscribeConnection(endpoint, self)

    async def answer(self, request: Request, link: ListUnsubscribeConnection) -> Answer:
        """What a request gets."""
        lists = self.services.lists
        if request.method in ("GET", "HEAD"):
            found = lists.read_unsubscribe_token(request.token)
            return question(found[0].name, found[1]) if found is not None else unknown()
        if request.method != "POST":
            return page(405, "Not allowed", "This address takes GET and POST.", fields=(("Allow", "GET, HEAD, POST"),))
        if not request.one_click:
            return page(400, "Not understood", "The request lacks List-Unsubscribe=One-Click.")
        try:
            address = await lists.unsubscribe_with_token(request.token)
        except (DirectoryError, SystemDatabaseError) as error:
            link.log.error("not unsubscribed", reason=str(error))
            return page(503, "Not now", "Please try again later.", fields=(("Retry-After", "300"),))
        if address is None:
            return unknown()
        link.log.info("unsubscribed by link", peer=link.peer[0], member=address)
        return done(address)
