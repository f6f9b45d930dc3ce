"""A client for measuring: many downloads at once on one thread, with the time of the first byte and the digest."""

import hashlib
import json
import pathlib
import selectors
import socket
import ssl
import subprocess
import sys
import time
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

import origin as origins  # noqa: E402

from lib.subjects import free_ports  # noqa: E402


class Origin:
    """origin.py as a process of its own."""

    def __init__(self, tls=()):
        self.port, = free_ports(1)
        self.tls = ssl.create_default_context(cafile=pathlib.Path(tls[0]).parent / "ca.pem") if tls else None
        words = ["setpriv", "--pdeathsig", "KILL", sys.executable, HERE.parent / "origin.py", str(self.port)]
        self.process = subprocess.Popen(words + (["--tls", *map(str, tls)] if tls else []), stdin=subprocess.DEVNULL)
        deadline = time.monotonic() + 120
        while True:
            try:
                self.ask("/-/reset")
                return
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)

    def ask(self, path):
        scheme = "https" if self.tls else "http"
        with urllib.request.urlopen(f"{scheme}://127.0.0.1:{self.port}{path}", timeout=120, context=self.tls) as answer:
            return json.load(answer)

    def counts(self, path=None):
        """Of one path; None: the total."""
        counts = self.ask("/-/counts")
        if path is None:
            return counts["total"]
        return counts["paths"].get(path, {"requests": 0, "full": 0, "ranged": 0, "conditional": 0, "bytes": 0, "methods": {}})

    def reset(self):
        self.ask("/-/reset")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()


class Download:
    """One request on a connection of its own. After `run`: status, head (lower-case names), length, digest, complete
    (framed as it should be, to its end), first (seconds from the request to the first byte of the body), error."""

    def __init__(self, port, target, headers=(), method="GET", host="127.0.0.1", abort_after=None, pause=None):
        fields = {"Host": f"127.0.0.1:{port}", "Connection": "close", **dict(headers)}
        lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items()), "", ""]
        self.request = "\r\n".join(lines).encode()
        self.port, self.host, self.method, self.abort_after, self.pause = port, host, method, abort_after, pause
        self.status, self.head, self.raw = None, {}, b""
        self.first = self.total = self.error = None
        self.length, self.hash, self.framing, self.complete = 0, hashlib.sha256(), None, False
        self.kept = b""  # the start of the body
        self.fields = []

    @property
    def digest(self):
        return self.hash.hexdigest()

    def connect(self):
        self.socket = socket.create_connection((self.host, self.port), 10)
        if self.pause:  # little room, so that a slow client is one
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 << 10)
        self.socket.setblocking(False)
        self.begin = time.monotonic()
        self.socket.send(self.request)

    def readable(self, buffer):
        """Whether there is more to come."""
        try:
            count = self.socket.recv_into(buffer)
        except BlockingIOError:
            return True
        except OSError as error:
            self.error = str(error)
            return False
        if count == 0:
            self.ended()
            return False
        data = memoryview(buffer)[:count]
        if self.status is None or self.framing is None:
            self.raw += bytes(data)
            if not self.parse_head():
                return True
            data = memoryview(self.raw)
            if self.framing == "none":
                self.complete = True
                return False
        if len(data) and self.first is None:
            self.first = time.monotonic() - self.begin
        return self.body(data)

    def parse_head(self):
        while True:
            head, found, rest = self.raw.partition(b"\r\n\r\n")
            if not found:
                return False
            line, *fields = head.decode("latin-1").split("\r\n")
            self.status, self.raw = int(line.split(" ")[1]), rest
            if self.status >= 200:
                break
        self.fields = [tuple(part.strip() for part in field.split(":", 1)) for field in fields]
        self.head = {name.lower(): value for name, value in self.fields}
        framing = [name.lower() for name, _ in self.fields if name.lower() in ("content-length", "transfer-encoding")]
        if len(framing) > 1:
            self.error = f"framed more than once: {framing}"
        if self.method == "HEAD" or self.status in (204, 304):
            self.framing = "none"
        elif self.head.get("transfer-encoding", "").lower() == "chunked":
            self.framing, self.chunk, self.pending = "chunked", 0, b""
        elif "content-length" in self.head:
            self.framing, self.expected = "length", int(self.head["content-length"])
            self.complete = self.expected == 0
        else:
            self.framing = "close"
        return True

    def body(self, data):
        if self.framing == "chunked":
            return self.chunks(bytes(data))
        if self.framing == "length" and self.length + len(data) > self.expected:
            self.error = "more bytes than Content-Length says"
            return False
        self.take(data)
        if self.framing == "length" and self.length == self.expected:
            self.complete = True
            return False
        return True

    def chunks(self, data):
        data, at = self.pending + data, 0
        while True:
            if self.chunk:
                piece = data[at:at + self.chunk]
                self.take(piece)
                at += len(piece)
                self.chunk -= len(piece)
                if self.chunk or data[at:at + 2] == b"":
                    break
            line_end = data.find(b"\r\n", at if data[at:at + 2] != b"\r\n" else at + 2)
            if line_end < 0:
                break
            line = data[at:line_end].strip()
            try:
                self.chunk = int(line.split(b";")[0], 16)
            except ValueError:
                self.error = "what should be a chunk is none"
                return False
            at = line_end + 2
            if self.chunk == 0:
                self.complete = True
                return False
        self.pending = data[at:]
        return True

    def take(self, data):
        self.length += len(data)
        self.hash.update(data)
        if len(self.kept) < 4096:
            self.kept += bytes(data[:4096 - len(self.kept)])

    def ended(self):
        if self.framing == "close":
            self.complete = True
        elif not self.complete:
            self.error = self.error or "the connection ended before the answer did"

    def close(self):
        self.total = time.monotonic() - self.begin
        self.socket.close()


def run(downloads, timeout=300):
    """All at once; they begin in the order of the list."""
    selector, buffer = selectors.DefaultSelector(), bytearray(256 << 10)
    for one in downloads:
        one.connect()
        selector.register(one.socket, selectors.EVENT_READ, one)
    deadline = time.monotonic() + timeout

    def done(one):
        selector.unregister(one.socket)
        one.close()

    while selector.get_map():
        now = time.monotonic()
        for key in list(selector.get_map().values()):
            one = key.data
            if now > deadline:
                one.error = "timed out"
                done(one)
            elif one.abort_after is not None and now - one.begin >= one.abort_after:
                one.error = "left"
                done(one)
        for key, _ in selector.select(0.05):
            one = key.data
            if not one.readable(buffer):
                done(one)
    return downloads


def fetch(port, target, timeout=300, **options):
    return run([Download(port, target, **options)], timeout)[0]


def right(download, path, size, start=0, end=None):
    """Whether it is complete, and the very bytes of the object."""
    expected = hashlib.sha256()
    for piece in origins.body(path, start, size if end is None else end):
        expected.update(piece)
    return download.complete and not download.error and download.digest == expected.hexdigest()
