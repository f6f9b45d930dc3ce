"""HTTP by hand: every byte of a request is the test's own. Addresses are a path (unix) or (host, port)."""

import json
import pathlib
import socket
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "lib"))

import rawhttp  # noqa: E402

# what only a hang reaches
SECONDS = 60


class Answer(rawhttp.Answer):
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


class Conn(rawhttp.Patient):
    Answer = Answer
    seconds = SECONDS

    def body(self, a):
        """A hijacked stream is no body."""
        is_stream = "raw-stream" in (a.header("Content-Type") or "") and a.status < 400
        is_framed = a.header("Transfer-Encoding") or a.header("Content-Length") is not None
        if a.status and (is_framed or not is_stream):
            super().body(a)


def exchange(address, data, method=None, tls=None):
    """One request, one answer, one connection."""
    with Conn(address, tls) as conn:
        return conn.send(data).answer(method or data.split(b" ", 1)[0].decode(errors="replace"))


def converse(address, data, silence=1):
    """Several requests in one piece: whatever comes until the end of the stream, as text. Who waits for more is told after a
    silence that there is none: then all that it makes of these is made."""
    with Conn(address) as conn:
        conn.send(data)
        conn.sock.settimeout(silence)
        try:
            return conn.take_all().decode(errors="replace")
        except socket.timeout:
            pass
        try:
            conn.half_close()
            conn.sock.settimeout(SECONDS)
            return conn.take_all().decode(errors="replace")
        except OSError:
            return conn.buffer.decode(errors="replace") + "(and no end)"


def streams(data):
    """A multiplexed stream without its frames; anything else as it is."""
    out, at = b"", 0
    while at + 8 <= len(data) and data[at] in (0, 1, 2) and data[at + 1 : at + 4] == b"\0\0\0":
        size = int.from_bytes(data[at + 4 : at + 8], "big")
        out += data[at + 8 : at + 8 + size]
        at += 8 + size
    return out + data[at:] if at else data
