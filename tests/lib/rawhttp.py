"""HTTP by hand, for every test in Python: each byte of a request is the test's own.

An address is a path (unix) or (host, port). `Conn` takes nothing for granted and nothing lightly: what ends before it
is whole is an EOFError. `Patient` takes what comes, for requests that are refused while they are still being sent.
"""

import json
import socket

# what only a hang reaches
SECONDS = 120


class Answer:
    """What came back; status 0 when it was no HTTP answer at all."""

    def __init__(self, line="", headers=(), body=b""):
        self.line, self.headers, self.body = line, list(headers), body
        parts = line.split(" ")
        self.status = int(parts[1]) if line.startswith("HTTP/") and len(parts) > 1 and parts[1].isdigit() else 0

    def header(self, name):
        return next((v for k, v in self.headers if k.lower() == name.lower()), None)

    def json(self):
        return json.loads(self.body)

    @property
    def text(self):
        return self.body.decode(errors="replace")


class Conn:
    Answer = Answer
    seconds = SECONDS

    def __init__(self, address, tls=None, seconds=None):
        self.seconds = seconds or self.seconds
        self.sock = socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET)
        self.sock.settimeout(self.seconds)
        self.sock.connect(address)
        if tls:
            self.sock = tls.wrap_socket(self.sock, server_hostname="localhost")
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
        data = self.sock.recv(1 << 16)
        self.buffer += data
        return bool(data)

    def broken(self):
        """The other side has ended too early."""
        raise EOFError(f"end of stream after {self.buffer!r}")

    def take(self, size):
        while len(self.buffer) < size:
            if not self.fill():
                self.broken()
                break
        data, self.buffer = self.buffer[:size], self.buffer[size:]
        return data

    def take_line(self):
        while b"\n" not in self.buffer:
            if not self.fill():
                self.broken()
                break
        line, _, self.buffer = self.buffer.partition(b"\n")
        return line.rstrip(b"\r").decode(errors="replace")

    def take_all(self):
        """Everything up to the other side's end of stream."""
        while self.fill():
            pass
        data, self.buffer = self.buffer, b""
        return data

    def head(self):
        """A status line and headers; what follows stays where it is."""
        answer = self.Answer(self.take_line())
        while self.has_headers(answer) and (field := self.take_line()):
            name, _, value = field.partition(":")
            answer.headers.append((name, value.strip()))
        return answer

    def has_headers(self, answer):
        return True

    def answer(self, method="GET"):
        """A whole answer, its body as its framing says."""
        a = self.head()
        if method != "HEAD" and a.status not in (101, 204, 304) and not 100 <= a.status < 200:
            self.body(a)
        return a

    def body(self, a):
        if (a.header("Transfer-Encoding") or "").lower() == "chunked":
            while size := int(self.take_line().split(";")[0] or "0", 16):
                a.body += self.take(size)
                self.take_line()
            while self.take_line():
                pass
        elif a.header("Content-Length") is not None:
            a.body = self.take(int(a.header("Content-Length")))
        else:
            a.body = self.take_all()

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
            self.sock.settimeout(self.seconds)


class Patient(Conn):
    def send(self, data):
        try:
            return super().send(data)
        except OSError:
            return self  # refused early and closed: the answer may still be there

    def fill(self):
        try:
            return super().fill()
        except ConnectionResetError:
            return False

    def broken(self):
        pass

    def has_headers(self, answer):
        return answer.status != 0

    def answer(self, method="GET"):
        a = super().answer(method)
        while a.status == 100:
            a = super().answer(method)
        return a
