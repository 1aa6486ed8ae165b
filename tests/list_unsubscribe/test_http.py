"""One-click unsubscribing over HTTP, with real clients, and octets no client would send."""

from __future__ import annotations

import asyncio
import http.client
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailstead.list_unsubscribe.pages import page
from mailstead.list_unsubscribe.server import ListUnsubscribeServer
from mailstead.list_unsubscribe.services import ListUnsubscribeServices
from mailstead.list_unsubscribe.session import MAX_BODY, Session
from mailstead.transport.endpoint import Endpoint
from tests.delivery.lists.conftest import DOMAIN, World, world_at
from tests.smtp.harness import ADMIN

FORM = {"Content-Type": "application/x-www-form-urlencoded"}
ONE_CLICK = "List-Unsubscribe=One-Click"


class Web:
    """A listening face over lists."""

    def __init__(self, world: World, port: int) -> None:
        self.world = world
        self.port = port

    async def ask(self, method: str, path: str, body: str | None = None, headers: dict[str, str] | None = None) -> tuple[int, str]:
        def work() -> tuple[int, str]:
            client = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
            client.request(method, path, body, headers or (FORM if body is not None else {}))
            response = client.getresponse()
            return response.status, response.read().decode()

        return await asyncio.to_thread(work)

    async def path(self) -> str:
        """The path of the link in bob's copy."""
        await self.world.face.directory.settings.set("server", "listUnsubscribeUrl", "https://lists.example.test/leave", ADMIN)
        await self.world.make(["bob@far.test", f"carol@{DOMAIN}"])
        await self.world.sent()
        (bob,) = self.world.queued()
        return "/leave/" + str(bob.message["List-Unsubscribe"]).partition(">")[0].rpartition("/")[2]

    def members(self) -> list[str]:
        (found,) = self.world.face.directory.memberships(f"carol@{DOMAIN}")
        return [member.address for member in self.world.face.directory.members(found.id)]


@pytest.fixture
async def web(tmp_path: Path) -> AsyncIterator[Web]:
    async with world_at(tmp_path) as world:
        server = ListUnsubscribeServer(ListUnsubscribeServices(world.lists))
        endpoint = Endpoint("listUnsubscribe")
        loop = asyncio.get_running_loop()
        listener = await loop.create_server(lambda: server.connection(endpoint), "127.0.0.1", 0)
        yield Web(world, listener.sockets[0].getsockname()[1])
        listener.close()
        for connection in list(endpoint.connections):
            connection.abort()


async def test_one_click(web: Web) -> None:
    path = await web.path()
    status, text = await web.ask("POST", path, ONE_CLICK)
    assert (status, "bob@far.test" in text) == (200, True)
    assert web.members() == [f"carol@{DOMAIN}"]
    again = await web.ask("POST", path, ONE_CLICK)  # a provider that did not hear the answer asks once more
    assert again == (status, text)
    assert (await web.ask("GET", path))[0] == 404
    await web.world.idle()
    assert sum("Goodbye" in str(one.message["Subject"]) for one in web.world.queued()) == 1


async def test_multipart_form_data(web: Web) -> None:
    body = '--b\r\nContent-Disposition: form-data; name="List-Unsubscribe"\r\n\r\nOne-Click\r\n--b--\r\n'
    status, _ = await web.ask("POST", await web.path(), body, {"Content-Type": "multipart/form-data; boundary=b"})
    assert status == 200
    assert web.members() == [f"carol@{DOMAIN}"]


async def test_following_the_link_only_asks(web: Web) -> None:
    path = await web.path()
    for method in ("GET", "HEAD"):
        status, text = await web.ask(method, path)
        assert status == 200
        assert ("<form" in text) == (method == "GET")
    assert len(web.members()) == 2
    assert (await web.ask("POST", path, "x=y"))[0] == 400
    assert (await web.ask("DELETE", path))[0] == 405
    assert len(web.members()) == 2


@pytest.mark.parametrize("token", ["", "x", "A" * 3000, "%00%ff", "../../etc/passwd"])
async def test_wrong_links_say_nothing(web: Web, token: str) -> None:
    await web.path()
    for method, body in (("GET", None), ("POST", ONE_CLICK)):
        status, text = await web.ask(method, f"/leave/{token}", body)
        assert status == 404
        assert "@" not in text
    assert len(web.members()) == 2


async def test_limits_and_keep_alive(web: Web) -> None:
    assert (await web.ask("POST", "/leave/x", "y" * (MAX_BODY + 1)))[0] == 413
    assert (await web.ask("GET", "/" + "x" * 5000))[0] == 414
    reader, writer = await asyncio.open_connection("127.0.0.1", web.port)
    writer.write(b"GET /a HTTP/1.1\r\nHost: x\r\n\r\nGET /b HTTP/1.1\r\nHost: x\r\n\r\nGARBAGE\r\n\r\n")
    octets = await asyncio.wait_for(reader.read(), 60)
    assert octets.count(b"HTTP/1.1 404") == 2
    assert b"HTTP/1.1 400" in octets
    writer.close()


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.binary(max_size=60),
            st.sampled_from([b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc",
                             b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", b"5\r\nhello\r\n0\r\n\r\n",
                             b"\r\n", b"Expect: 100-continue\r\n"]),
        ),
        max_size=8,
    )
)  # fmt: skip
def test_no_octets_break_a_session(pieces: list[bytes]) -> None:
    session = Session()
    for piece in pieces:
        if session.closing:
            break
        request, _ = session.received(piece) if piece else (None, b"")
        for _ in range(20):
            if request is None or session.closing:
                break
            assert session.answer(page(200, "x", "y")).startswith(b"HTTP/1.1 200")
            if not session.closing:
                request, _ = session.received(b"")
