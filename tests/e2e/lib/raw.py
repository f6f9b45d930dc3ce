"""HTTP by hand over the engine's socket, for what the usual libraries cannot or will not send."""

import json
import os
import socket
import time

SECONDS = 15


class Answer:
    def __init__(self, line, headers, body):
        self.line, self.headers, self.body = line, headers, body
        self.status = int(line.split(" ")[1]) if line.startswith("HTTP/") else 0

    def header(self, name):
        return next((v for k, v in self.headers if k.lower() == name.lower()), None)

    def json(self):
        return json.loads(self.body)

    def show(self, body=True):
        print("  <", self.line)
        for name, value in self.headers:
            if name.lower() != "date":
                print(f"  < {name}: {value}")
        if body:
            print("  <", repr(self.body.decode(errors="replace")))
        return self


class Conn:
    def __init__(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(SECONDS)
        self.sock.connect(os.environ["E2E_SOCK"])
        self.buffer = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.sock.close()

    def send(self, data):
        self.sock.sendall(data if isinstance(data, bytes) else data.encode())
        return self

    def half_close(self):
        self.sock.shutdown(socket.SHUT_WR)

    def fill(self):
        data = self.sock.recv(65536)
        self.buffer += data
        return bool(data)

    def take(self, size):
        while len(self.buffer) < size:
            if not self.fill():
                raise EOFError(f"end of stream after {self.buffer!r}")
        data, self.buffer = self.buffer[:size], self.buffer[size:]
        return data

    def take_line(self):
        while b"\n" not in self.buffer:
            if not self.fill():
                raise EOFError(f"end of stream after {self.buffer!r}")
        line, _, self.buffer = self.buffer.partition(b"\n")
        return line.rstrip(b"\r").decode()

    def take_all(self):
        """Everything up to the other side's end of stream."""
        while self.fill():
            pass
        data, self.buffer = self.buffer, b""
        return data

    def head(self):
        """A status line and headers; what follows stays where it is."""
        line, headers = self.take_line(), []
        while field := self.take_line():
            name, _, value = field.partition(":")
            headers.append((name, value.strip()))
        return Answer(line, headers, b"")

    def answer(self, method="GET"):
        """A whole answer, its body as its framing says."""
        a = self.head()
        if method == "HEAD" or a.status in (101, 204, 304) or 100 <= a.status < 200:
            return a
        if (a.header("Transfer-Encoding") or "").lower() == "chunked":
            while size := int(self.take_line().split(";")[0], 16):
                a.body += self.take(size)
                self.take_line()
            while self.take_line():
                pass
        elif a.header("Content-Length") is not None:
            a.body = self.take(int(a.header("Content-Length")))
        else:
            a.body = self.take_all()
        return a

    def ended(self, seconds):
        """Has the other side closed? Waits a little for it."""
        self.sock.settimeout(seconds)
        try:
            return self.sock.recv(1) == b""
        except socket.timeout:
            return False
        except ConnectionResetError:
            return True
        finally:
            self.sock.settimeout(SECONDS)


def call(method, path, body=None):
    """One ordinary call on its own connection."""
    data = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    kind = "Content-Type: application/json\r\n" if isinstance(body, dict) else ""
    with Conn() as c:
        c.send(f"{method} {path} HTTP/1.1\r\nHost: engine\r\n{kind}Content-Length: {len(data)}\r\nConnection: close\r\n\r\n".encode() + data)
        return c.answer(method)


def container(name, *command, **extra):
    """Creates a container; its id."""
    a = call("POST", f"/containers/create?name={name}", {"Image": "busybox", "Cmd": list(command), **extra})
    if a.status != 201:
        a.show()
    return a.json()["Id"]


def running(name, *command, **extra):
    ident = container(name, *command, **extra)
    call("POST", f"/containers/{name}/start")
    return ident


def execution(name, *command, **extra):
    settings = {"AttachStdin": True, "AttachStdout": True, "AttachStderr": True, "Cmd": list(command), **extra}
    return call("POST", f"/containers/{name}/exec", settings).json()["Id"]


def remove(*names):
    for name in names:
        call("DELETE", f"/containers/{name}?force=1&v=1")


def streams(data):
    """What a multiplexed stream carried, kind by kind: how it was cut and interleaved is chance."""
    out, at = {}, 0
    while at < len(data):
        kind, size = data[at], int.from_bytes(data[at + 4 : at + 8], "big")
        out[kind] = out.get(kind, b"") + data[at + 8 : at + 8 + size]
        at += 8 + size
    return dict(sorted(out.items()))


def title(text):
    print(f"-- {text}", flush=True)


def pause(seconds=0.15):
    time.sleep(seconds)
