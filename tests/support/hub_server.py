"""A model hub on this machine: the part of the real one's protocol that its own client needs, over real HTTP.

Two servers, as in reality: the hub answers the API and sends large files elsewhere with a redirect; the other one (the
"CDN") sends their bytes. Every byte of every answer's body is counted, and every request is kept.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"
LARGE_BYTES = 1024 * 1024
CHUNK_BYTES = 64 * 1024


@dataclass(frozen=True)
class Request:
    server: str
    method: str
    path: str
    headers: dict[str, str]


@dataclass
class HubServer:
    """What is there, how it answers, and what it was asked."""

    files: Path
    """`<owner>/<model>/<file>`; sparse files are welcome."""
    endpoint: str = ""
    cdn: str = ""
    requests: list[Request] = field(default_factory=list)
    bytes_served: int = 0
    knows_ranges: bool = True
    refusals: dict[str, tuple[int, dict[str, str]]] = field(default_factory=dict)
    """Part of a path -> status and headers with which it is refused."""
    breaks_after_bytes: dict[str, int] = field(default_factory=dict)
    """Part of a path -> after how many bytes of the body the connection is cut, once."""
    hold: threading.Event | None = None
    """Answers with content wait for it."""
    asked: threading.Event = field(default_factory=threading.Event)
    """Set when the first byte of content was asked for."""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def requests_to(self, server: str) -> list[Request]:
        with self.lock:
            return [request for request in self.requests if request.server == server]

    def count(self, size_bytes: int) -> None:
        with self.lock:
            self.bytes_served += size_bytes

    def info(self, repository: str) -> dict[str, Any]:
        folder = self.files / repository
        siblings = []
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            size = path.stat().st_size
            entry: dict[str, Any] = {"rfilename": path.relative_to(folder).as_posix(), "size": size, "blobId": "b" * 40}
            if size >= LARGE_BYTES:
                entry["lfs"] = {"sha256": f"{size:064x}", "size": size, "pointerSize": 135}
            siblings.append(entry)
        return {"_id": "1", "id": repository, "modelId": repository, "sha": COMMIT, "siblings": siblings, "tags": []}


@contextmanager
def running_hub(files: Path) -> Iterator[HubServer]:
    """A hub that serves the folder, and its CDN, until the block ends."""
    hub = HubServer(files)
    servers = []
    for role in ("hub", "cdn"):
        server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(hub, role))
        server.daemon_threads = False
        servers.append(server)
    hub.endpoint, hub.cdn = (f"http://127.0.0.1:{server.server_address[1]}" for server in servers)
    threads = [threading.Thread(target=server.serve_forever, args=(0.01,)) for server in servers]
    for thread in threads:
        thread.start()
    try:
        yield hub
    finally:
        if hub.hold is not None:
            hub.hold.set()
        for server, thread in zip(servers, threads, strict=True):
            server.shutdown()
            thread.join()
            server.server_close()


def _handler(hub: HubServer, role: str) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = 30

        def do_GET(self) -> None:
            self._answer()

        def do_HEAD(self) -> None:
            self._answer()

        def log_message(self, *_arguments: object) -> None:
            pass

        def _answer(self) -> None:
            path = unquote(urlsplit(self.path).path)
            with hub.lock:
                headers = {name.lower(): value for name, value in self.headers.items()}
                hub.requests.append(Request(role, self.command, path, headers))
            for part, (status, refusal) in hub.refusals.items():
                if part in path:
                    self._send(status, refusal, b'{"error": "no"}')
                    return
            if role == "cdn":
                self._send_file(hub.files / path.lstrip("/"), {})
            elif found := re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/revision/(.+))?", path):
                self._send_info(found[1])
            elif found := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
                self._resolve(found[1], found[3])
            else:
                self._send(404, {}, b"{}")

        def _send_info(self, repository: str) -> None:
            if not (hub.files / repository).is_dir():
                self._send(404, {"X-Error-Code": "RepoNotFound"}, b'{"error": "Repository not found"}')
                return
            body = json.dumps(hub.info(repository)).encode()
            self._send(200, {"Content-Type": "application/json"}, body)

        def _resolve(self, repository: str, name: str) -> None:
            file = hub.files / repository / name
            if not file.is_file():
                self._send(404, {"X-Error-Code": "EntryNotFound"}, b"{}")
                return
            size = file.stat().st_size
            headers = {"X-Repo-Commit": COMMIT, "ETag": f'"{size:040x}"'}
            if size < LARGE_BYTES:
                self._send_file(file, headers)
                return
            headers |= {"X-Linked-Size": str(size), "X-Linked-ETag": f'"{size:064x}"'}
            self._send(302, {**headers, "Location": f"{hub.cdn}/{repository}/{name}"}, b"")

        def _send_file(self, file: Path, headers: dict[str, str]) -> None:
            size = file.stat().st_size
            start, end, status = 0, size, 200
            wanted = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
            if wanted and hub.knows_ranges:
                start, end, status = int(wanted[1]), min(int(wanted[2]) + 1, size), 206
                headers = {**headers, "Content-Range": f"bytes {start}-{end - 1}/{size}"}
            self._begin(status, {**headers, "Content-Length": str(end - start)})
            if self.command == "HEAD":
                return
            hub.asked.set()
            if hub.hold is not None:
                hub.hold.wait(30)
            self._send_body(file, start, end)

        def _send_body(self, file: Path, start: int, end: int) -> None:
            cut = next((part for part in hub.breaks_after_bytes if part in self.path), None)
            if cut is not None:
                end = min(end, start + hub.breaks_after_bytes.pop(cut))
            with file.open("rb") as opened:
                opened.seek(start)
                left = end - start
                try:
                    while left > 0 and (chunk := opened.read(min(CHUNK_BYTES, left))):
                        self.wfile.write(chunk)
                        hub.count(len(chunk))
                        left -= len(chunk)
                except OSError:  # the other side has seen enough
                    self.close_connection = True

        def _send(self, status: int, headers: dict[str, str], body: bytes) -> None:
            self._begin(status, {**headers, "Content-Length": str(len(body))})
            if self.command != "HEAD":
                self.wfile.write(body)
                hub.count(len(body))

        def _begin(self, status: int, headers: dict[str, str]) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()

    return Handler
