"""Label Studio's webhooks as a hint that something may have changed; what has changed is then collected.

Label Studio sends an event while the annotator's request waits, for a second at most, and never again. So an
event is answered at once, may be missing, doubled, late or made up, and carries nothing that is believed.
The secret travels in a header, is new each time a receiver starts, and dies with it: a recorded event opens
nothing later, and one that is sent again now is one more hint among those of its interval.
"""

from __future__ import annotations

import hmac
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from goldloop.errors import ServingError
from goldloop.labeling.api import Api

ACTIONS = (
    "ANNOTATION_CREATED", "ANNOTATIONS_CREATED", "ANNOTATION_UPDATED", "ANNOTATIONS_DELETED", "TASKS_DELETED",
)  # fmt: skip
HEADER = "X-Goldloop-Secret"
_MOST_BYTES = 1 << 20
_PATH = "/goldloop-webhook"


class Receiver(ThreadingHTTPServer):
    """Listens for events, and says when there was one.

    Args:
        host: the address to listen on.
        port: 0 takes a free one.

    Raises:
        ServingError: the port is taken, or the address is not this machine's.
    """

    daemon_threads = True

    def __init__(self, host: str, port: int) -> None:
        self.secret = secrets.token_urlsafe(32)
        self.hinted = threading.Event()
        try:
            super().__init__((host, port), _Handler)
        except OSError as error:
            raise ServingError(
                "cannot listen there",
                where=f"{host}:{port}",
                found=error.strerror,
                remedy="Choose another port with --port, or 0 for a free one",
            ) from error

    @contextmanager
    def listening(self) -> Iterator[str]:
        """Accept events until the end; gives the address to send them to."""
        thread = threading.Thread(target=self.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://{self.server_address[0]!s}:{self.server_address[1]}{_PATH}"
        finally:
            self.shutdown()
            thread.join()
            self.server_close()


class _Handler(BaseHTTPRequestHandler):
    server: Receiver
    timeout = 10

    def log_message(self, *_arguments: Any) -> None:
        """Nothing: an address may hold what nobody should read."""

    def do_POST(self) -> None:
        """Take a hint."""
        given = self.headers.get(HEADER) or ""
        length = self.headers.get("Content-Length") or "0"
        if not hmac.compare_digest(given.encode(), self.server.secret.encode()):
            self._answer(403)
        elif self.path != _PATH or not length.isdigit() or int(length) > _MOST_BYTES:
            self._answer(400)
        else:
            self.rfile.read(int(length))
            self.server.hinted.set()
            self._answer(204)

    def _answer(self, status: int) -> None:
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()


@contextmanager
def registered(api: Api, project_id: int, address: str, secret: str) -> Iterator[None]:
    """Have events of a project sent to an address; those of a receiver that was killed no longer.

    Raises:
        LabelStudioError: Label Studio does not take the address.
    """
    place = "/api/webhooks/"
    for old in api.get(place, {"project": project_id}):
        if old["url"].endswith(_PATH):
            api.call("DELETE", f"{place}{old['id']}/", again=True)
    request = {
        "url": address,
        "project": project_id,
        "send_payload": False,
        "send_for_all_actions": False,
        "headers": {HEADER: secret},
        "actions": list(ACTIONS),
    }
    made = api.call("POST", place, json=request)
    try:
        yield
    finally:
        api.call("DELETE", f"{place}{made['id']}/", again=True)
