"""One HTTP/1.1 connection of the face (RFC 9112, RFC 8058): from octets to requests and answers; no I/O here.

Invariants
- Only GET, HEAD and POST; only POST changes anything, and only with the form RFC 8058 asks for.
- A request is bounded: target, header (h11), body (MAX_BODY), requests of a connection; beyond it is refused and closed.
- One request at a time: what comes behind it waits, unread, until it is answered.
- Cookies, credentials and the address's host play no part: the token alone counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import parse_qsl

import h11

from mailstead.list_unsubscribe.pages import Answer, page

MAX_BODY = 16 * 1024
MAX_TARGET = 4096
MAX_HEADER = 16 * 1024
MAX_REQUESTS = 100


@dataclass(frozen=True, slots=True)
class Request:
    """``token``: the last step of the path; ``one_click``: the body has the field that RFC 8058 asks for."""

    method: str
    token: str
    one_click: bool


class Session:
    """Feed it octets with ``received``; ``answer`` a request it gives; send what both give back."""

    def __init__(self) -> None:
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEADER)
        self._head: h11.Request | None = None
        self._body = bytearray()
        self._requests = 0
        self.closing = False

    def received(self, data: bytes) -> tuple[Request | None, bytes]:
        """(a whole request, octets to send). Empty ``data`` means: go on with what came behind the last one."""
        out = b""
        try:
            if data:
                self._http.receive_data(data)
            while True:
                event = self._http.next_event()
                if event is h11.NEED_DATA:
                    if self._http.they_are_waiting_for_100_continue and self._head is not None:
                        out += self._http.send(h11.InformationalResponse(status_code=100, headers=[])) or b""
                    return None, out
                if event is h11.PAUSED or isinstance(event, h11.ConnectionClosed):
                    self.closing = self.closing or isinstance(event, h11.ConnectionClosed)
                    return None, out
                if isinstance(event, h11.Request):
                    self._head, self._body = event, bytearray()
                    self._requests += 1
                    if len(event.target) > MAX_TARGET:
                        return None, out + self._refuse(page(414, "Too long", "The address is too long."))
                elif isinstance(event, h11.Data):
                    self._body += event.data
                    if len(self._body) > MAX_BODY:
                        return None, out + self._refuse(page(413, "Too large", "The request is too large."))
                elif isinstance(event, h11.EndOfMessage):
                    return self._whole(), out
        except h11.RemoteProtocolError as error:
            status = int(error.error_status_hint or 400)
            return None, out + self._refuse(page(status, "Not understood", "The request was not understood."))

    def _whole(self) -> Request:
        head = self._head
        assert head is not None
        path = head.target.partition(b"?")[0].decode("ascii", "replace")
        fields = parse_qsl(bytes(self._body).decode("utf-8", "replace"), max_num_fields=20) if self._body.count(b"&") < 20 else []
        one_click = any(name == "List-Unsubscribe" and value == "One-Click" for name, value in fields)
        return Request(head.method.decode("ascii", "replace"), path.rstrip("/").rpartition("/")[2], one_click or self._multipart())

    def _multipart(self) -> bool:
        """RFC 8058 section 3.1: the body may be multipart/form-data as well."""
        head = self._head
        assert head is not None
        kind = next((value for name, value in head.headers if name == b"content-type"), b"")
        if not kind.lower().startswith(b"multipart/form-data"):
            return False
        body = bytes(self._body)
        return b'name="List-Unsubscribe"' in body and b"\r\n\r\nOne-Click\r\n" in body

    def answer(self, answer: Answer) -> bytes:
        """The octets of an answer to the request at hand; ``closing`` tells whether it is the connection's last."""
        head = self._head
        keep = self._requests < MAX_REQUESTS and self._http.their_state is h11.DONE
        response = h11.Response(status_code=answer.status, headers=answer.header(close=not keep))
        out = self._http.send(response) or b""
        if head is None or head.method != b"HEAD":
            out += self._http.send(h11.Data(data=answer.body)) or b""
        out += self._http.send(h11.EndOfMessage()) or b""
        self._head = None
        if self._http.our_state is h11.DONE and self._http.their_state is h11.DONE:
            self._http.start_next_cycle()
        else:
            self.closing = True
        return out

    def _refuse(self, answer: Answer) -> bytes:
        """An answer to what is no good request, the last of its connection."""
        self.closing = True
        if self._http.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            return b""
        out = self._http.send(h11.Response(status_code=answer.status, headers=answer.header(close=True))) or b""
        out += self._http.send(h11.Data(data=answer.body)) or b""
        return out + (self._http.send(h11.EndOfMessage()) or b"")
