"""A real HTTP server that speaks OpenAI's chat completions, well or badly, as it is told."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Reply = tuple[int, dict[str, str], bytes]
Answer = Callable[[dict[str, Any], int], Reply]
"""The request and how many came before it -> status, headers, body."""


def says(words: str | None) -> Reply:
    """A completion with some words."""
    message = {"role": "assistant", "content": words}
    body = {
        "object": "chat.completion",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
    }
    return 200, {"Content-Type": "application/json"}, json.dumps(body).encode()


@dataclass
class Chat:
    """A server that runs."""

    url: str
    asked: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)


@contextmanager
def chat_server(answer: Answer) -> Iterator[Chat]:
    """Answers by a function until the end."""
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            request = json.loads(body)
            with lock:
                number = len(chat.asked)
                chat.asked.append(request)
                chat.headers.append({name.lower(): value for name, value in self.headers.items()})
            status, headers, content = (
                answer(request, number) if self.path == "/v1/chat/completions" else (404, {}, b"no such path")
            )
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    chat = Chat(f"http://127.0.0.1:{server.server_address[1]}/v1")
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield chat
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
