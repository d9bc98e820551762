"""As much of the Hub's HTTP interface as publishing and fetching needs, on the loopback interface.

It keeps what it is sent: commits as path -> content, objects of Git LFS by SHA-256, tags. So the real client
runs against it, and a test sees what travelled.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import unquote, urlsplit

_LFS = (".parquet", ".arrow")


class HubServer:
    """Its state; `url` is where it listens."""

    def __init__(self) -> None:
        self.url = ""
        self.created: list[dict[str, Any]] = []
        self.commits: list[dict[str, bytes]] = [{}]
        self.objects: dict[str, bytes] = {}
        self.tags: dict[str, int] = {}

    def revision(self, name: str) -> int:
        if name == "main":
            return len(self.commits) - 1
        if name in self.tags:
            return self.tags[name]
        return int(name, 16) if re.fullmatch(r"[0-9a-f]{40}", name) else -1

    def answer(self, method: str, path: str, body: bytes) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and content."""
        for pattern, act in _ROUTES:
            found = re.fullmatch(pattern, f"{method} {path}")
            if found:
                return act(self, *map(unquote, found.groups()), body)
        return 404, {}, b"{}"

    def create(self, body: bytes) -> Any:
        told = json.loads(body)
        self.created.append(told)
        return _json({"url": f"{self.url}/datasets/{told.get('organization', 'me')}/{told['name']}"})

    def tree(self, _repository: str, revision: str, _body: bytes) -> Any:
        if self.revision(revision) < 0:
            return 404, {"X-Error-Code": "RevisionNotFound"}, b"{}"
        return _json([self._entry(*each) for each in self.commits[self.revision(revision)].items()])

    def _entry(self, path: str, content: bytes) -> dict[str, Any]:
        entry = {"type": "file", "path": path, "size": len(content), "oid": "0" * 40}
        if path.endswith(_LFS):
            entry["lfs"] = {
                "oid": hashlib.sha256(content).hexdigest(),
                "size": len(content),
                "pointerSize": 1,
            }
        return entry

    def preupload(self, _repository: str, _revision: str, body: bytes) -> Any:
        files = [each["path"] for each in json.loads(body)["files"]]
        modes = {path: "lfs" if path.endswith(_LFS) else "regular" for path in files}
        return _json(
            {
                "files": [
                    {"path": path, "uploadMode": mode, "shouldIgnore": False} for path, mode in modes.items()
                ]
            }
        )

    def batch(self, _repository: str, body: bytes) -> Any:
        objects = []
        for each in json.loads(body)["objects"]:
            if each["oid"] not in self.objects:
                upload = {"href": f"{self.url}/upload/{each['oid']}", "header": {}}
                each = {**each, "actions": {"upload": upload}}
            objects.append(each)
        return _json({"transfer": "basic", "objects": objects})

    def upload(self, oid: str, body: bytes) -> Any:
        assert hashlib.sha256(body).hexdigest() == oid
        self.objects[oid] = body
        return 200, {}, b""

    def commit(self, _repository: str, _revision: str, body: bytes) -> Any:
        files = dict(self.commits[-1])
        for line in map(json.loads, body.splitlines()):
            told = line["value"]
            if line["key"] == "file":
                files[told["path"]] = base64.b64decode(told["content"])
            elif line["key"] == "lfsFile":
                files[told["path"]] = self.objects[told["oid"]]
            elif line["key"] == "deletedFile":
                del files[told["path"]]
        self.commits.append(files)
        oid = f"{len(self.commits) - 1:040x}"
        return _json({"commitUrl": f"{self.url}/datasets/me/x/commit/{oid}", "commitOid": oid})

    def tag(self, _repository: str, revision: str, body: bytes) -> Any:
        name = json.loads(body)["tag"]
        if name in self.tags:
            return 409, {}, b"{}"
        self.tags[name] = self.revision(revision)
        return _json({})

    def refs(self, _repository: str, _body: bytes) -> Any:
        tags = [
            {"name": name, "ref": f"refs/tags/{name}", "targetCommit": f"{place:040x}"}
            for name, place in self.tags.items()
        ]
        return _json({"branches": [], "tags": tags, "converts": []})

    def resolve(self, _repository: str, revision: str, path: str, _body: bytes) -> Any:
        place = self.revision(revision)
        if place < 0 or path not in self.commits[place]:
            return 404, {"X-Error-Code": "EntryNotFound"}, b""
        content = self.commits[place][path]
        oid = hashlib.sha256(content).hexdigest()
        return 200, {"ETag": f'"{oid}"', "X-Repo-Commit": f"{place:040x}"}, content

    def fine(self, _body: bytes) -> Any:
        return _json({"errors": [], "warnings": []})


def _json(value: Any) -> tuple[int, dict[str, str], bytes]:
    return 200, {"Content-Type": "application/json"}, json.dumps(value).encode()


_REPOSITORY = r"([\w.-]+/[\w.-]+?)"
_ROUTES: list[tuple[str, Any]] = [
    (r"POST /api/repos/create", HubServer.create),
    (r"POST /api/validate-yaml", HubServer.fine),
    (rf"GET /api/datasets/{_REPOSITORY}/tree/([^/]+)", HubServer.tree),
    (rf"GET /api/datasets/{_REPOSITORY}/refs", HubServer.refs),
    (rf"POST /api/datasets/{_REPOSITORY}/preupload/([^/]+)", HubServer.preupload),
    (rf"POST /api/datasets/{_REPOSITORY}/commit/([^/]+)", HubServer.commit),
    (rf"POST /api/datasets/{_REPOSITORY}/tag/([^/]+)", HubServer.tag),
    (rf"POST /datasets/{_REPOSITORY}\.git/info/lfs/objects/batch", HubServer.batch),
    (r"PUT /upload/([0-9a-f]+)", HubServer.upload),
    (rf"(?:GET|HEAD) /datasets/{_REPOSITORY}/resolve/([^/]+)/(.+)", HubServer.resolve),
]


@contextmanager
def serving() -> Iterator[HubServer]:
    """A Hub that listens for as long as this lasts."""
    hub = HubServer()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _do(self) -> None:
            if "chunked" in self.headers.get("Transfer-Encoding", ""):
                body = b""
                while size := int(self.rfile.readline(), 16):
                    body += self.rfile.read(size)
                    self.rfile.readline()
                self.rfile.readline()
            else:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            status, headers, content = hub.answer(self.command, urlsplit(self.path).path, body)
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(content))}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

        do_GET = do_HEAD = do_POST = do_PUT = _do  # noqa: N815

        def log_message(self, *_arguments: Any) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
