#!/usr/bin/env python3
"""An origin that does as the URL says, and counts what it was asked.

origin.py PORT [--tls CERT KEY]

Every path is an object; the query says how it is served (the query is part of what a cache keys by):
  size=16M         its length (K, M, G); the bytes follow from the path alone: `body(path, start, end)`
  rate=4M          bytes a second of each answer
  cc=max-age=60    Cache-Control (default max-age=3600; `none`: no such field); header=Name:value any further one
  etag=weak|none|change   default: a strong one; `change`: another with each request, and other bytes: those of PATH#N
  framing=chunked|close   default: Content-Length
  ranges=no        Range is ignored
  status=503       instead of an object; retry=2 adds Retry-After; times=N: only the first N requests of this path;
                   after=N: only those after the first N
and the lies:
  lie=long         Content-Length is 1,000 more than what comes before the end
  lie=short        1,000 bytes more come than Content-Length said
  lie=flip         one byte of the body is another one
  lie=badchunk     chunked, and in the middle what is no chunk
  lie=infinite     chunked, and no end
  lie=bomb         a head of 20,000 fields; lie=bigfield: a field of 8 MiB
  lie=slowhead     a byte of the head a second
  lie=range        the answer to a Range says other bytes than it has
  drop=N           the connection ends after N bytes of the body; stall=N: nothing more comes after N bytes;
                   all lies with times and after

/-/counts  JSON: by path {requests, full, ranged, conditional, bytes, methods}, and `total`
/-/reset   forgets them
"""

import asyncio
import hashlib
import json
import ssl
import sys
import urllib.parse

UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
PERIOD = 65521  # prime: no block of a copy is a shifted one
PIECE = 64 << 10
EPOCH = "Mon, 01 Jan 2024 00:00:00 GMT"


def number(text):
    return int(text[:-1]) * UNITS[text[-1]] if text[-1:] in UNITS else int(text)


_patterns = {}


def pattern(path):
    if path not in _patterns:
        _patterns[path] = hashlib.shake_256(path.encode()).digest(PERIOD) * (PIECE // PERIOD + 2)
    return _patterns[path]


def body(path, start, end):
    """The bytes from `start` to before `end`, in pieces."""
    repeated = pattern(path)
    while start < end:
        offset = start % PERIOD
        length = min(end - start, PIECE)
        yield repeated[offset:offset + length]
        start += length


def digest(path, size):
    total = hashlib.sha256()
    for piece in body(path, 0, size):
        total.update(piece)
    return total.hexdigest()


class Gone(Exception):
    """The connection is to end here."""


class Origin:
    def __init__(self):
        self.counts = {}
        self.seen = {}

    def count(self, path):
        empty = {"requests": 0, "full": 0, "ranged": 0, "conditional": 0, "bytes": 0, "methods": {}}
        return self.counts.setdefault(path, empty)

    async def connection(self, reader, writer):
        try:
            while await self.request(reader, writer):
                pass
        except (Gone, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ssl.SSLError):
            pass
        finally:
            writer.transport.abort() if writer.transport.get_write_buffer_size() else writer.close()

    async def request(self, reader, writer):
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        line, *fields = head[:-4].split("\r\n")
        method, target, _ = line.split(" ")
        headers = {}
        for field in fields:
            name, _, value = field.partition(":")
            headers.setdefault(name.lower(), value.strip())
        await drain_request(reader, headers)
        url = urllib.parse.urlsplit(target)
        if url.path.startswith("/-/"):
            return await self.control(url.path, writer)
        await Answer(self, writer, method, url, headers).send()
        return headers.get("connection", "").lower() != "close"

    async def control(self, path, writer):
        if path == "/-/reset":
            self.counts.clear()
            self.seen.clear()
        total = {"requests": sum(c["requests"] for c in self.counts.values()),
                 "bytes": sum(c["bytes"] for c in self.counts.values())}
        text = json.dumps({"paths": self.counts, "total": total}).encode()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nCache-Control: no-store\r\n"
                     b"Content-Length: %d\r\n\r\n" % len(text) + text)
        await writer.drain()
        return True


async def drain_request(reader, headers):
    if headers.get("transfer-encoding", "").lower() == "chunked":
        while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
            await reader.readexactly(size + 2)
        await reader.readuntil(b"\r\n")
    elif length := int(headers.get("content-length") or 0):
        await reader.readexactly(length)


class Answer:
    def __init__(self, origin, writer, method, url, headers):
        self.origin, self.writer, self.method, self.path, self.headers = origin, writer, method, url.path, headers
        self.options = dict(urllib.parse.parse_qsl(url.query))
        self.fields = urllib.parse.parse_qs(url.query).get("header", [])
        self.size = number(self.options.get("size", "1000"))
        self.counted = origin.count(self.path)
        self.counted["requests"] += 1
        self.counted["methods"][method] = self.counted["methods"].get(method, 0) + 1
        self.nth = origin.seen[self.path] = origin.seen.get(self.path, 0) + 1
        # whether the lies, the drop and the status still hold for this one
        self.bad = int(self.options.get("after", 0)) < self.nth <= int(self.options.get("times", 1 << 30))
        self.lie = self.options.get("lie") if self.bad else None
        self.content = f"{self.path}#{self.nth}" if self.options.get("etag") == "change" else self.path
        self.etag = {"none": None, "weak": 'W/"v1"', "change": f'"v{self.nth}"'}.get(self.options.get("etag"), '"v1"')

    async def send(self):
        options = self.options
        if "status" in options and self.bad:
            retry = [f"Retry-After: {options['retry']}"] if "retry" in options else []
            return await self.short(int(options["status"]), b"no object\n", retry)
        if self.lie in ("bomb", "bigfield", "slowhead"):
            return await self.strange_head()
        if self.headers.get("if-none-match") and self.etag and self.etag in self.headers["if-none-match"]:
            self.counted["conditional"] += 1
            return await self.short(304, b"", self.validators())
        start, end = self.wanted()
        self.counted["full" if (start, end) == (0, self.size) else "ranged"] += 1
        await self.object(start, end)

    def wanted(self):
        asked = self.headers.get("range", "")
        if not asked.startswith("bytes=") or "," in asked or self.options.get("ranges") == "no":
            return 0, self.size
        if self.headers.get("if-range", self.etag) != self.etag:
            return 0, self.size
        first, _, last = asked[6:].partition("-")
        if first == "":
            return max(0, self.size - int(last)), self.size
        return int(first), min(self.size, int(last) + 1 if last else self.size)

    def validators(self):
        control = self.options.get("cc", "max-age=3600")
        fields = [] if control == "none" else [f"Cache-Control: {control}"]
        if self.etag:
            fields.append(f"ETag: {self.etag}")
        return fields + [f"Last-Modified: {EPOCH}", "Date: " + now()] + self.fields

    async def short(self, status, text, fields):
        self.head(status, fields + ([] if status == 304 else [f"Content-Length: {len(text)}"]))
        self.writer.write(text if self.method != "HEAD" else b"")
        await self.writer.drain()

    def head(self, status, fields):
        self.writer.write("\r\n".join([f"HTTP/1.1 {status} X", *fields, "", ""]).encode("latin-1"))

    async def object(self, start, end):
        framing = "chunked" if self.lie in ("badchunk", "infinite") else self.options.get("framing", "length")
        fields = self.validators() + ["Content-Type: application/octet-stream"]
        if self.options.get("ranges") != "no":
            fields.append("Accept-Ranges: bytes")
        status = 200
        if (start, end) != (0, self.size):
            status = 206
            said = start + 1 if self.lie == "range" else start
            fields.append(f"Content-Range: bytes {said}-{end - 1}/{self.size}")
        length = end - start + {"long": 1000, "short": -1000}.get(self.lie, 0)
        fields.append({"length": f"Content-Length: {length}", "chunked": "Transfer-Encoding: chunked",
                       "close": "Connection: close"}[framing])
        self.head(status, fields)
        await self.writer.drain()
        if self.method != "HEAD":
            await self.bytes(start, end, framing)
        if framing == "close" or self.lie in ("long", "short"):
            raise Gone

    async def bytes(self, start, end, framing):
        loop = asyncio.get_running_loop()
        rate, begin, sent = number(self.options.get("rate", "0")), loop.time(), 0
        stop = next((number(self.options[name]) for name in ("drop", "stall") if name in self.options and self.bad), None)
        for piece in self.pieces(start, end):
            if stop is not None and sent + len(piece) > stop:
                piece = piece[:stop - sent]
            if framing == "chunked":
                self.writer.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            else:
                self.writer.write(piece)
            sent += len(piece)
            self.counted["bytes"] += len(piece)
            await self.writer.drain()
            if stop is not None and sent >= stop:
                if "stall" in self.options:
                    await asyncio.sleep(3600)
                await asyncio.sleep(0.05)  # what was written leaves first
                raise Gone
            if rate:
                await asyncio.sleep(max(0, begin + sent / rate - loop.time()))
        if framing == "chunked":
            self.writer.write(b"0\r\n\r\n")
            await self.writer.drain()

    def pieces(self, start, end):
        if self.lie == "infinite":
            while True:
                yield from body(self.content, 0, self.size)
        half = (start + end) // 2
        yield from body(self.content, start, half)
        if self.lie == "flip":
            piece = next(body(self.content, half, half + 1))
            yield bytes([piece[0] ^ 1])
            half += 1
        if self.lie == "badchunk":
            self.writer.write(b"this is no chunk\r\n")
            raise Gone
        yield from body(self.content, half, end)

    async def strange_head(self):
        self.counted["full"] += 1
        fields = self.validators()
        if self.lie == "bomb":
            fields += [f"X-Field-{n}: {'x' * 50}" for n in range(20000)]
        if self.lie == "bigfield":
            fields.append("X-Field: " + "x" * (8 << 20))
        text = "\r\n".join(["HTTP/1.1 200 OK", *fields, f"Content-Length: {self.size}", "", ""]).encode()
        if self.lie != "slowhead":
            self.writer.write(text)
            await self.writer.drain()
            return await self.bytes(0, self.size, "length")
        for byte in text:
            self.writer.write(bytes([byte]))
            await self.writer.drain()
            await asyncio.sleep(1)
        raise Gone


def now():
    import email.utils

    return email.utils.formatdate(usegmt=True)


async def serve(port, tls=None):
    context = None
    if tls:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(*tls)
    server = await asyncio.start_server(Origin().connection, "127.0.0.1", port, limit=1 << 20, backlog=1024, ssl=context)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), sys.argv[3:5] if sys.argv[2:3] == ["--tls"] else None))
