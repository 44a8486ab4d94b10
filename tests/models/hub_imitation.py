"""A small HTTP server that answers as the Hugging Face hub does, for one repository, and misbehaves when told to."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class HubImitation:
    """`repository` is its name, `folder` has its files. `requests` are those it got."""

    def __init__(self, repository: str, folder: Path) -> None:
        self.repository = repository
        self.folder = folder
        self.extra_names: list[str] = []
        """Names that it lists without having the files."""
        self.weights_end_at = 0
        """Every download of the weights breaks off at this byte of the file."""
        self.silent = False
        """It takes connections and never answers."""
        self.requests: list[str] = []
        self.released = threading.Event()
        self.endpoint = ""

    @contextmanager
    def serve(self) -> Iterator[HubImitation]:
        hub = self

        class Handler(_Handler):
            imitation = hub

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        self.endpoint = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield self
        finally:
            self.released.set()
            server.shutdown()
            server.server_close()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    imitation: HubImitation

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        hub = self.imitation
        hub.requests.append(f"{self.command} {self.path} {self.headers.get('Range', '')}".strip())
        if hub.silent:
            hub.released.wait(30)
            self.close_connection = True
            return
        path = unquote(self.path.split("?")[0])
        api = f"/api/models/{hub.repository}/revision/"
        files = f"/{hub.repository}/resolve/{COMMIT}/"
        if path in (f"{api}main", f"{api}{COMMIT}"):
            self._answer_json(self._describe())
        elif path.startswith(api):
            self._answer_missing("RevisionNotFound")
        elif path.startswith(files) and (hub.folder / path.removeprefix(files)).is_file():
            self._answer_file(hub.folder / path.removeprefix(files))
        else:
            self._answer_missing("RepoNotFound")

    def _describe(self) -> dict[str, object]:
        hub = self.imitation
        files = [{"rfilename": path.name, "size": path.stat().st_size} for path in sorted(hub.folder.iterdir())]
        files += [{"rfilename": name, "size": 1} for name in hub.extra_names]
        return {"_id": "0" * 24, "id": hub.repository, "sha": COMMIT, "siblings": files, "cardData": {"license": "mit"}}

    def _answer_json(self, content: object) -> None:
        body = json.dumps(content).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _answer_missing(self, code: str) -> None:
        self.send_response(404)
        self.send_header("X-Error-Code", code)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _answer_file(self, path: Path) -> None:
        hub = self.imitation
        content = path.read_bytes()
        start = 0
        if given := self.headers.get("Range"):
            start = int(given.removeprefix("bytes=").split("-")[0])
        self.send_response(206 if start else 200)
        self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(len(content) - start))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.end_headers()
        if self.command == "HEAD":
            return
        if hub.weights_end_at and path.name == "model.safetensors":
            self.wfile.write(content[start : hub.weights_end_at])
            self.close_connection = True
            return
        self.wfile.write(content[start:])

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass
