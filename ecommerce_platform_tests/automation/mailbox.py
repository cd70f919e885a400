"""Somebody to tell: a real SMTP server and a real HTTP endpoint on this machine, and what they got."""

from __future__ import annotations

import email
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.policy import default
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from unittest.mock import patch

from aiosmtpd.controller import Controller


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@dataclass
class Mailbox:
    """Mails that arrived. `open` and `close` are the server's; it keeps its port."""

    port: int = field(default_factory=free_port)
    mails: list[EmailMessage] = field(default_factory=list)
    controller: Controller | None = None

    @property
    def url(self) -> str:
        return f"mailto://127.0.0.1:{self.port}?from=shop@example.com&to=ops@example.com&mode=insecure"

    @property
    def subjects(self) -> list[str]:
        return [str(mail["Subject"]) for mail in self.mails]

    def part(self, kind: str, number: int = -1) -> str:
        """The plain or HTML part of a mail."""
        found = self.mails[number].get_body((kind,))
        assert found is not None
        return str(found.get_content())

    def open(self) -> Mailbox:
        mails = self.mails

        class Handler:
            async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
                mails.append(email.message_from_bytes(envelope.content, policy=default))  # type: ignore[arg-type]
                return "250 OK"

        self.controller = Controller(Handler(), hostname="127.0.0.1", port=self.port)
        self.controller.start()
        return self

    def close(self) -> None:
        if self.controller is not None:
            self.controller.stop()
            self.controller = None


@contextmanager
def mailbox() -> Iterator[Mailbox]:
    box = Mailbox().open()
    try:
        # Who sends a mail asks the name server for its own name, which takes seconds where there is none.
        with patch("socket.getfqdn", return_value="localhost"):
            yield box
    finally:
        box.close()


@dataclass
class Hook:
    """Requests that arrived. `answers` are the status codes to come; afterwards 200."""

    port: int
    requests: list[dict[str, Any]] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"json://robot:pa55w0rd@127.0.0.1:{self.port}/hooks/t0ken?+X-Key=k3y9"

    @property
    def subjects(self) -> list[str]:
        return [request["title"] for request in self.requests]


@contextmanager
def hook() -> Iterator[Hook]:
    found = Hook(0)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            status = found.answers.pop(0) if found.answers else 200
            if status == 200:
                found.requests.append(body)
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield found
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
