"""HTTP/2 by hand: frames, HPACK literals, one connection as client or server (RFC 9113, RFC 7541). Every byte can be the test's own."""

import socket

from .wire import SECONDS

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST, SETTINGS, PUSH, PING, GOAWAY, WINDOW, CONTINUATION = range(10)
END_STREAM, END_HEADERS, ACK = 1, 4, 1
WIDE = (1 << 31) - 1


def frame(kind, flags=0, stream=0, payload=b""):
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def integer(value, bits=7, first=0):
    """A number with a prefix (RFC 7541 §5.1)."""
    most = (1 << bits) - 1
    if value < most:
        return bytes([first | value])
    out, value = [first | most], value - most
    while value > 127:
        out, value = [*out, value & 127 | 128], value >> 7
    return bytes([*out, value])


def fields(pairs):
    """Literals that are never put into the table, without Huffman."""
    out = b""
    for name, value in pairs:
        name, value = (x if isinstance(x, bytes) else x.encode() for x in (name, value))
        out += b"\0" + integer(len(name)) + name + integer(len(value)) + value
    return out


# Of each symbol the length of its code, `A` for 0: the code itself is canonical (RFC 7541 appendix B).
LENGTHS = (
    "NX]]]]]]]Y_]]_]]]]]]]]_]]]]]]]]]GKKMNGILKKILIGGGFFFGGGGGGGHIPGMKNGHHHHHHHHHHHHHHHHHHHHHHIHINTNOGPFGFGFGGGFHHGGGFGHGFFGHH"
    "HHHPLON]UWUUWWWXWXXXXXYXYYWXYXXXXVWXWXXYWVUWWXXVXWWYVWXXVVWVXWXXUWWWXWWX[[UTWXWZ[[[\\\\[YZTV[\\\\[\\YVV[[]\\\\\\UYUVWVVXWWZZYY[X"
    "[\\[[\\\\\\\\\\]\\\\\\\\\\["
)
STATIC = {8: ":status 200", 9: ":status 204", 10: ":status 206", 11: ":status 304", 12: ":status 400", 13: ":status 404", 14: ":status 500"}


def huffman():
    known, code, before = {}, 0, 0
    for length, symbol in sorted((ord(c) - 65, n) for n, c in enumerate(LENGTHS)):
        code, before = code << length - before, length
        known[length, code] = symbol
        code += 1
    return known


CODES = huffman()


def unhuffed(data):
    out, length, code = bytearray(), 0, 0
    for byte in data:
        for bit in range(7, -1, -1):
            length, code = length + 1, code << 1 | byte >> bit & 1
            if (symbol := CODES.get((length, code))) is not None:
                out.append(symbol)
                length = code = 0
    return bytes(out)


def read_fields(block):
    """The fields of a block whose writer has no table to put them into (we allow none)."""
    at, out = 0, []

    def number(bits):
        nonlocal at
        most = (1 << bits) - 1
        value, at, shift = block[at] & most, at + 1, 0
        while value >= most and (shift == 0 or block[at - 1] & 128):
            value, at, shift = value + ((block[at] & 127) << shift), at + 1, shift + 7
        return value

    def text():
        nonlocal at
        packed, size = block[at] & 128, number(7)
        at += size
        return (unhuffed(block[at - size : at]) if packed else block[at - size : at]).decode(errors="replace")

    while at < len(block):
        first = block[at]
        if first & 128:
            name, _, value = STATIC.get(index := number(7), f"#{index} ").partition(" ")
            out.append((name, value))
        elif first & 64 or not first & 32:
            index = number(6 if first & 64 else 4)
            name = STATIC.get(index, f"#{index}").partition(" ")[0] if index else text()
            out.append((name, text()))
        else:
            number(5)
    return out


class Stream:
    def __init__(self):
        self.fields, self.data, self.ended, self.reset = [], b"", False, None

    def get(self, name):
        return next((v for k, v in self.fields if k == name), None)

    @property
    def done(self):
        return self.ended or self.reset is not None


class H2:
    """A connection over a socket; one thread reads it."""

    def __init__(self, sock, buffer=b"", server=False):
        self.sock, self.buffer, self.server = sock, buffer, server
        self.streams, self.next, self.goaway, self.closed = {}, 1, None, False
        self.block = None
        settings = frame(SETTINGS, 0, 0, b"\0\1\0\0\0\0" + b"\0\4" + WIDE.to_bytes(4, "big"))
        wide = frame(WINDOW, 0, 0, (WIDE - 65535).to_bytes(4, "big"))
        self.write((b"" if server else PREFACE) + settings + wide)

    def write(self, data):
        try:
            self.sock.sendall(data)
        except OSError:
            self.closed = True

    def stream(self, ident):
        return self.streams.setdefault(ident, Stream())

    def open(self, pairs, data=b"", end=True, ident=None):
        """HEADERS, then DATA where there is any."""
        ident = ident or self.next
        self.next = ident + 2
        last = END_STREAM if end and not data else 0
        self.write(frame(HEADERS, END_HEADERS | last, ident, fields(pairs)))
        self.stream(ident)
        if data:
            self.data(ident, data, end)
        return ident

    def data(self, ident, data, end=True):
        pieces = [data[at : at + 16384] for at in range(0, len(data), 16384)] or [b""]
        for n, piece in enumerate(pieces):
            self.write(frame(DATA, END_STREAM if end and n == len(pieces) - 1 else 0, ident, piece))

    def step(self, seconds=SECONDS):
        """One frame, or None at the end; TimeoutError when nothing comes."""
        try:
            self.sock.settimeout(seconds)
        except OSError:
            self.closed = True
            return None
        if self.server and not self.take(len(PREFACE)):
            return None
        self.server = False
        head = self.take(9)
        payload = head is not None and self.take(int.from_bytes(head[:3], "big"))
        if head is None or payload is None:
            self.closed = True
            return None
        kind, flags, ident = head[3], head[4], int.from_bytes(head[5:9], "big") & WIDE
        self.react(kind, flags, ident, payload)
        return kind, flags, ident, payload

    def take(self, size):
        while len(self.buffer) < size:
            try:
                piece = self.sock.recv(1 << 16)
            except TimeoutError:
                raise
            except OSError:
                piece = b""
            if not piece:
                return None
            self.buffer += piece
        out, self.buffer = self.buffer[:size], self.buffer[size:]
        return out

    def react(self, kind, flags, ident, payload):
        s = self.stream(ident) if ident else None
        if kind == SETTINGS and not flags & ACK:
            self.write(frame(SETTINGS, ACK))
        elif kind == PING and not flags & ACK:
            self.write(frame(PING, ACK, 0, payload))
        elif kind == GOAWAY:
            self.goaway = payload
        elif kind == RST:
            s.reset = int.from_bytes(payload[:4], "big")
        elif kind == DATA:
            s.data += payload[1 : len(payload) - payload[0]] if flags & 8 else payload
        elif kind in (HEADERS, CONTINUATION):
            if kind == HEADERS:
                payload = payload[1 : len(payload) - payload[0]] if flags & 8 else payload
                self.block = payload[5:] if flags & 32 else payload
            else:
                self.block += payload
            if flags & END_HEADERS:
                s.fields += read_fields(self.block)
        if kind in (DATA, HEADERS) and flags & END_STREAM:
            s.ended = True

    def wait(self, ident, seconds=SECONDS):
        """Until the stream is done; a stream that is not is one that hangs."""
        s = self.stream(ident)
        while not s.done and not self.closed:
            try:
                if self.step(seconds) is None:
                    break
            except TimeoutError:
                break
        return s

    def close(self):
        # a thread may be waiting in it
        try:
            self.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.sock.close()
