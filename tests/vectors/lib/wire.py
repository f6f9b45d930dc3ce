"""HTTP by hand: every byte of a request is the test's own. Addresses are a path (unix) or (host, port)."""

import json
import socket

SECONDS = 20


class Answer:
    """What came back; status 0 when it was no HTTP answer at all."""

    def __init__(self, status=0, headers=(), body=b"", line=""):
        self.status, self.headers, self.body, self.line = status, list(headers), body, line

    def header(self, name):
        return next((v for k, v in self.headers if k.lower() == name.lower()), None)

    def json(self):
        return json.loads(self.body)

    @property
    def text(self):
        return self.body.decode(errors="replace")

    @property
    def engines(self):
        """Did the engine say this? What dockgate answers for itself carries no `Server`."""
        return (self.header("Server") or "").startswith("Docker/")

    def __str__(self):
        return f"{self.line or 'no answer'} | {self.text[:300].strip()}"


def request(method, path, body=None, *, headers=(), kind="application/json", chunked=False, keep=False):
    """The bytes of a request. `kind=None` leaves Content-Type out; `body` as dict, list, text or bytes."""
    if isinstance(body, (dict, list)):
        body = json.dumps(body)
    if isinstance(body, str):
        body = body.encode()
    lines = [f"{method} {path} HTTP/1.1", "Host: engine"]
    if body is not None and kind is not None:
        lines.append(f"Content-Type: {kind}")
    lines += headers
    if not keep:
        lines.append("Connection: close")
    data = body or b""
    if chunked:
        lines.append("Transfer-Encoding: chunked")
        data = (b"%x\r\n%s\r\n" % (len(data), data) if data else b"") + b"0\r\n\r\n"
    elif body is not None or method in ("POST", "PUT"):
        lines.append(f"Content-Length: {len(data)}")
    return "\r\n".join(lines).encode("utf-8", "surrogateescape") + b"\r\n\r\n" + data


class Conn:
    def __init__(self, address, tls=None):
        self.sock = socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET)
        self.sock.settimeout(SECONDS)
        self.sock.connect(address)
        if tls:
            self.sock = tls.wrap_socket(self.sock, server_hostname="localhost")
        self.buffer = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.sock.close()

    def send(self, data):
        try:
            self.sock.sendall(data)
        except OSError:
            pass  # refused early and closed: the answer may still be there
        return self

    def half_close(self):
        self.sock.shutdown(socket.SHUT_WR)

    def fill(self):
        try:
            data = self.sock.recv(1 << 16)
        except ConnectionResetError:
            return False
        self.buffer += data
        return bool(data)

    def take(self, size):
        while len(self.buffer) < size and self.fill():
            pass
        data, self.buffer = self.buffer[:size], self.buffer[size:]
        return data

    def take_line(self):
        while b"\n" not in self.buffer and self.fill():
            pass
        line, _, self.buffer = self.buffer.partition(b"\n")
        return line.rstrip(b"\r").decode(errors="replace")

    def take_all(self):
        while self.fill():
            pass
        data, self.buffer = self.buffer, b""
        return data

    def head(self):
        line = self.take_line()
        parts = line.split(" ")
        if not line.startswith("HTTP/") or len(parts) < 2 or not parts[1].isdigit():
            return Answer(line=line)
        answer = Answer(int(parts[1]), line=line)
        while field := self.take_line():
            name, _, value = field.partition(":")
            answer.headers.append((name, value.strip()))
        return answer

    def answer(self, method="GET"):
        a = self.head()
        while a.status == 100:
            a = self.head()
        if method == "HEAD" or a.status in (0, 101, 204, 304):
            return a
        if (a.header("Transfer-Encoding") or "").lower() == "chunked":
            while size := int(self.take_line().split(";")[0] or "0", 16):
                a.body += self.take(size)
                self.take_line()
            self.take_line()
        elif a.header("Content-Length") is not None:
            a.body = self.take(int(a.header("Content-Length")))
        elif "raw-stream" not in (a.header("Content-Type") or "") or a.status >= 400:
            a.body = self.take_all()
        return a


def exchange(address, data, method=None, tls=None):
    """One request, one answer, one connection."""
    with Conn(address, tls) as conn:
        return conn.send(data).answer(method or data.split(b" ", 1)[0].decode(errors="replace"))


def converse(address, data):
    """Several requests in one piece: whatever comes until the end of the stream or a long silence, as text."""
    with Conn(address) as conn:
        conn.send(data)
        conn.sock.settimeout(1)
        try:
            return conn.take_all().decode(errors="replace")
        except socket.timeout:
            return conn.buffer.decode(errors="replace") + "(and no end)"


def streams(data):
    """A multiplexed stream without its frames; anything else as it is."""
    out, at = b"", 0
    while at + 8 <= len(data) and data[at] in (0, 1, 2) and data[at + 1 : at + 4] == b"\0\0\0":
        size = int.from_bytes(data[at + 4 : at + 8], "big")
        out += data[at + 8 : at + 8 + size]
        at += 8 + size
    return out + data[at:] if at else data
