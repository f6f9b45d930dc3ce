#!/usr/bin/env python3
"""Records the requests of a real client for the corpus: a proxy on a unix socket.

    record.py LISTEN ENGINE FOLDER      until SIGTERM or Ctrl-C

Every request that passes becomes FOLDER/<operation>.http, as it came: head and body, one file for the
first request of each kind (method, path without ids, names of query parameters, with or without
`Upgrade`). What is only true of one machine is replaced by something of the same length (ids, session
ids) or scrubbed from the User-Agent. Bodies beyond 32 KiB are left out; so is what follows an upgrade.

How the present corpus was made: see README.md beside this file.
"""
import hashlib
import os
import re
import signal
import socket
import sys
import threading

MOST_BODY = 32 * 1024
HEX = re.compile(rb"\b[0-9a-f]{64}\b")
TAKES_OVER = re.compile(rb"/attach($|\?|/ws)|/exec/[^/]+/start|/session$|/grpc$")


def stand_in(found):
    """Another id of the same length, the same for the same id."""
    digest = hashlib.sha256(b"corpus" + found).hexdigest().encode()
    return digest[: len(found)]


def scrub(request):
    head, body = request.split(b"\r\n\r\n", 1)
    lines = []
    for line in head.split(b"\r\n"):
        name = line.split(b":")[0].lower()
        if name == b"user-agent":
            line = re.sub(rb"Linux/[^ ]+", b"Linux/6.1.0", line)
        if name in (b"x-docker-expose-session-uuid", b"x-docker-expose-session-sharedkey"):
            line = line.split(b":")[0] + b": " + stand_in(line)[:25]
        line = re.sub(rb"(session=|buildid=)([0-9a-z]+)", lambda m: m[1] + stand_in(m[2]), line)
        line = re.sub(rb"(/exec/)([0-9a-f]{64})", lambda m: m[1] + stand_in(m[2]), line)
        lines.append(HEX.sub(lambda m: stand_in(m[0]), line))
    return b"\r\n".join(lines) + b"\r\n\r\n" + HEX.sub(lambda m: stand_in(m[0]), body)


def kind(head, body):
    """A file name that two requests of one kind share."""
    marks = {b'"Privileged":true': b"privileged", b'"Binds":["/': b"host-bind", b'"Tty":true': b"tty"}
    found = [mark for sign, mark in marks.items() if sign in body.replace(b": ", b":")]
    method, target = head.split(b" ", 2)[:2]
    path, _, query = target.partition(b"?")
    path = re.sub(rb"^/v1\.\d+", b"", path)
    path = re.sub(rb"[0-9a-f]{64}|[0-9a-f]{12}", b"ID", path)
    names = sorted({pair.split(b"=")[0] for pair in query.split(b"&") if pair})
    upgrade = [b"upgrade"] if b"\r\nupgrade:" in head.lower() else []
    parts = [method.lower(), *re.findall(rb"[A-Za-z0-9_.:-]+", path), *names[:4], *upgrade, *found]
    return b"-".join(parts).decode().replace(":", "_")[:80]


def cut(stream):
    """The requests of one connection; ends at the first that takes it over."""
    while True:
        stream = stream.lstrip(b"\r\n")
        end = stream.find(b"\r\n\r\n")
        if end < 0:
            return
        head, rest = stream[: end + 4], stream[end + 4 :]
        length = re.search(rb"\r\ncontent-length: *(\d+)", head, re.I)
        if re.search(rb"\r\ntransfer-encoding: *chunked", head, re.I):
            size = rest.find(b"0\r\n\r\n") + 5 if rest.startswith(b"0") else rest.find(b"\r\n0\r\n\r\n") + 7
            if size < 7 and not rest.startswith(b"0"):
                return
        else:
            size = int(length[1]) if length else 0
        if len(rest) < size:
            return
        yield head, rest[:size]
        stream = rest[size:]
        if TAKES_OVER.search(head.split(b" ", 2)[1]):
            return


def keep(folder, stream):
    for head, body in cut(stream):
        path = os.path.join(folder, kind(head, body) + ".http")
        if len(body) <= MOST_BODY and not os.path.exists(path):
            with open(path, "wb") as file:
                file.write(scrub(head + body))


def copy(source, target, seen=None):
    try:
        while block := source.recv(65536):
            if seen is not None and len(seen) < 4 << 20:
                seen.extend(block)
            target.sendall(block)
    except OSError:
        pass
    try:
        target.shutdown(socket.SHUT_WR)
    except OSError:
        pass


def serve(client, engine_path, folder):
    engine = socket.socket(socket.AF_UNIX)
    engine.connect(engine_path)
    seen = bytearray()
    back = threading.Thread(target=copy, args=(engine, client), daemon=True)
    back.start()
    copy(client, engine, seen)
    keep(folder, bytes(seen))
    back.join()
    client.close()
    engine.close()


def main():
    listen, engine, folder = sys.argv[1:]
    os.makedirs(folder, exist_ok=True)
    if os.path.exists(listen):
        os.unlink(listen)
    door = socket.socket(socket.AF_UNIX)
    door.bind(listen)
    door.listen(64)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    while True:
        client, _ = door.accept()
        threading.Thread(target=serve, args=(client, engine, folder), daemon=True).start()


if __name__ == "__main__":
    main()
