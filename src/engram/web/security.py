"""Who may ask, and how much may be sent? Stands before everything else that answers a request."""

from __future__ import annotations

import asyncio
import json
import secrets
from dataclasses import dataclass
from typing import Any

HOSTS = ("127.0.0.1", "localhost", "[::1]")
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}  # the browser itself sees to it that nothing is fetched from elsewhere

Messages = Any  # what ASGI passes around


@dataclass(frozen=True)
class Guard:
    """An ASGI application before another one: it lets through what comes from this machine, with the token, and small.

    A request whose Host is not this machine is refused (403), and so is one from another page (Origin); below /api/,
    one without the token (401); a body of more than `most` bytes (413), or one that is not whole after `patience`
    seconds (408). What belongs to the page alone, its text and its scripts, needs no token: it says nothing.

    Browsers send Host and Origin as they are, so that a page from elsewhere can neither ask here by a name that it
    points to this machine, nor read what is said.
    """

    app: Any
    token: str
    most: int = 256 * 1024
    patience: float = 30.0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """One request."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":
            return  # there are no web sockets here

        async def guarded(message: Messages) -> None:
            if message["type"] == "http.response.start":
                said = message.get("headers", [])
                there = {name for name, _ in said}
                own = [(k.lower().encode(), v.encode()) for k, v in HEADERS.items()]
                message = {**message, "headers": [*said, *(pair for pair in own if pair[0] not in there)]}
            await send(message)

        if refusal := refused(scope, self.token):
            await _refuse(guarded, *refusal)
            return
        try:
            body = await asyncio.wait_for(self._body(receive), self.patience) if _has_body(scope) else b""
        except TimeoutError:
            await _refuse(guarded, 408, f"The request was not whole after {self.patience:.0f} seconds.")
            return
        except _Gone:
            return
        if body is None:
            await _refuse(guarded, 413, f"More than {self.most:,} bytes were sent.")
        else:
            await self.app(scope, _again(body, receive), guarded)

    async def _body(self, receive: Any) -> bytes | None:
        """All of it; None if it is too much. Raises _Gone."""
        parts, size = [], 0
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise _Gone
            parts.append(message.get("body", b""))
            size += len(parts[-1])
            if size > self.most:
                return None
            if not message.get("more_body", False):
                return b"".join(parts)


class _Gone(Exception):
    """The other side left before its request was whole."""


def refused(scope: Any, token: str) -> tuple[int, str] | None:
    """Why is this request not let through: a status and words? None: it is.

    >>> refused({"path": "/", "headers": [(b"host", b"example.org")]}, "secret")[0]
    403
    """
    headers = {k.decode("latin-1").lower(): v.decode("latin-1") for k, v in scope["headers"]}
    host = headers.get("host", "")
    if _name(host) not in HOSTS:
        return 403, "This server answers to 127.0.0.1 and localhost only."
    origin = headers.get("origin")
    if origin is not None and origin != f"http://{host}":
        return 403, "This server answers its own page only."
    given = headers.get("x-engram-token", "")
    if scope["path"].startswith("/api") and not secrets.compare_digest(given.encode(), token.encode()):
        return 401, "The header X-Engram-Token is missing or not this server's: open the address that it printed."
    return None


def _name(host: str) -> str:
    """A host without its port."""
    name, _, port = host.rpartition(":")
    return name if name and port.isdigit() else host


def _has_body(scope: Any) -> bool:
    return scope["method"] not in ("GET", "HEAD", "OPTIONS")


def _again(body: bytes, receive: Any) -> Any:
    """The body, as if it came just now; then whatever comes."""
    given = False

    async def again() -> Messages:
        nonlocal given
        if not given:
            given = True
            return {"type": "http.request", "body": body, "more_body": False}
        return await receive()

    return again


async def _refuse(send: Any, status: int, message: str) -> None:
    body = json.dumps({"message": message}).encode()
    kind = [(b"content-type", b"application/json"), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": status, "headers": kind})
    await send({"type": "http.response.body", "body": body})
