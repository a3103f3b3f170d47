"""An HTTP server for one reader on this machine: a fixed table of paths, nothing from the disk by name.

Only GET and HEAD; only under the names of this machine's loopback, so that a foreign web page whose name was made to
point here (DNS rebinding) reads nothing; a path is one of the table, byte for byte, so nothing is to be climbed out of.
"""

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

HOST = "127.0.0.1"
LONGEST_TARGET = 8_192
"""Bytes of path and query together."""
IDLE_SECONDS = 15
PLAIN, JSON, PAGE = "text/plain; charset=utf-8", "application/json", "text/html; charset=utf-8"
NOTHING = "default-src 'none'; sandbox; frame-ancestors 'none'"
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
    "Connection": "close",
}


@dataclass(frozen=True)
class Answer:
    body: bytes
    kind: str = PAGE
    policy: str = NOTHING
    status: HTTPStatus = HTTPStatus.OK


Route = Callable[[str], Answer]
"""The query string, undecoded -> the answer."""


def refusal(status: HTTPStatus, text: str) -> Answer:
    """One line of plain text, which quotes nothing that was asked."""
    return Answer(f"{text}\n".encode(), PLAIN, NOTHING, status)


class Server(ThreadingHTTPServer):
    """Bound to loopback. Raises OSError where the port cannot be had."""

    daemon_threads = True
    # Else a second server on the port would start, and one of the two would be asked by chance.
    allow_reuse_port = False

    def __init__(self, port: int, routes: Mapping[str, Route]) -> None:
        self.routes = routes
        super().__init__((HOST, port), _Handler)
        self.names = {f"{name}:{self.server_port}" for name in (HOST, "localhost", "[::1]")}
        if self.server_port == 80:
            self.names |= {name.removesuffix(":80") for name in self.names}

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.server_port}/"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A reader that goes away in the middle is no event; anything else is a bug, and told as one."""
        if not isinstance(sys.exc_info()[1], ConnectionError | TimeoutError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "siliang", ""
    timeout = IDLE_SECONDS

    def do_GET(self) -> None:
        self._send(self._answer())

    do_HEAD = do_GET

    def _answer(self) -> Answer:
        hosts = self.headers.get_all("Host", [])
        if len(hosts) != 1 or hosts[0].lower() not in self.server.names:
            return refusal(HTTPStatus.MISDIRECTED_REQUEST, "This server answers under the names of loopback only.")
        if self.headers.get("Sec-Fetch-Site") == "cross-site" and self.headers.get("Sec-Fetch-Mode") != "navigate":
            return refusal(HTTPStatus.FORBIDDEN, "Another site's page may not read this.")
        if len(self.path) > LONGEST_TARGET:
            return refusal(HTTPStatus.REQUEST_URI_TOO_LONG, "The query is too long.")
        # The line as it was sent: http.server itself makes // at its beginning one.
        target = self.requestline.split(" ")[1]
        path, _, query = target.partition("?")
        route = self.server.routes.get(path)
        return refusal(HTTPStatus.NOT_FOUND, "There is no such page here.") if route is None else route(query)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """What http.server refuses by itself, with our headers and without its page."""
        status = HTTPStatus(code)
        if status == HTTPStatus.NOT_IMPLEMENTED:
            status = HTTPStatus.METHOD_NOT_ALLOWED
        self._send(refusal(status, status.phrase))

    def _send(self, answer: Answer) -> None:
        self.close_connection = True
        if self.request_version == "HTTP/0.9":  # also what is no HTTP at all: it gets a status line like all others
            self.request_version = "HTTP/1.0"
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.kind)
        self.send_header("Content-Length", str(len(answer.body)))
        self.send_header("Content-Security-Policy", answer.policy)
        for name, value in HEADERS.items():
            self.send_header(name, value)
        if answer.status == HTTPStatus.METHOD_NOT_ALLOWED:
            self.send_header("Allow", "GET, HEAD")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: what was asked belongs to the reader."""
