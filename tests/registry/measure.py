#!/usr/bin/env python3
"""How fast, each beside docker-registry itself in the same run: ratios, and no verdict.

    measure.py [MIB]              size of the blob; default 1024
    measure.py timing [SAMPLES]   whether what is cached, but not the caller's, can be told from what nobody has by time

- warm pull: one client, a blob that both have: dockgate over docker-registry (above 1: dockgate is faster)
- push: one client, in one PUT: through dockgate over direct
- herd: 50 clients at once on a blob that nobody has, of an upstream that sends 64 MiB/s: GETs there, and the first
  bytes' worst time after the upstream's first byte
- memory: what dockgate has grown by over all of it
- first pull after a start: the same as the warm pull, while it is looked at again

`timing` asks in turns, in random order, for a blob that is stored and for one that is not, where the caller gets 404 or 401
for both. `slower` is how often, of two answers, the one for the stored blob took longer: 0.5 tells nothing.
"""

import bisect
import hashlib
import os
import random
import socket
import statistics
import sys
import tempfile
import threading
import time

import issuer
from rig import Rig, digest_of

PIECE = 1 << 20


def rss(pid):
    with open(f"/proc/{pid}/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS")) / 1024


def pull(server, target):
    """Seconds for a whole body, and to its first byte."""
    began, first, left = time.monotonic(), None, None
    with socket.create_connection(("127.0.0.1", server.port)) as one:
        one.sendall(f"GET {target} HTTP/1.1\r\nHost: {server.host}\r\nConnection: close\r\n\r\n".encode())
        buffer = bytearray(PIECE)
        head = b""
        while b"\r\n\r\n" not in head:
            head += one.recv(65536)
        head, _, rest = head.partition(b"\r\n\r\n")
        assert b" 200 " in head.split(b"\r\n")[0], head
        first = time.monotonic() - began if rest else None
        length = next(int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length"))
        left = length - len(rest)
        while left:
            count = one.recv_into(buffer)
            first = first or time.monotonic() - began
            assert count, "it broke off"
            left -= count
    return time.monotonic() - began, first


def push(server, name, body, digest):
    begun = server.ask("POST", f"/v2/{name}/blobs/uploads/")
    location = begun.fields["location"]
    location = location[location.index("/v2/"):]
    joint = "&" if "?" in location else "?"
    began = time.monotonic()
    done = server.ask("PUT", f"{location}{joint}digest={digest}", body, {"Content-Type": "application/octet-stream"})
    assert done.status == 201, done.body
    return time.monotonic() - began


def best(measure, times=3):
    return min(measure() for _ in range(times))


def compare(what, server, one, other, count, token=""):
    """Asks for both in turns on one connection each; prints what they took."""
    times = {one: [], other: []}
    with socket.create_connection(("127.0.0.1", server.port)) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        statuses = set()
        for number in range(count + 20):
            for target in random.sample([one, other], 2):
                asked = f"GET {target} HTTP/1.1\r\nHost: {server.host}\r\n{token}\r\n".encode()
                began = time.perf_counter()
                client.sendall(asked)
                got = b""
                while b"\r\n\r\n" not in got:
                    got += client.recv(65536)
                took = time.perf_counter() - began
                head, _, rest = got.partition(b"\r\n\r\n")
                statuses.add(head.split()[1].decode())
                length = next(int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length"))
                while len(rest) < length:
                    rest += client.recv(65536)
                if number >= 20:
                    times[target].append(took * 1e6)
    line = []
    for name, target in (("stored", one), ("absent", other)):
        tenth, *_, ninth = statistics.quantiles(times[target], n=10)
        line.append(f"{name} {statistics.median(times[target]):.0f} us ({tenth:.0f} to {ninth:.0f})")
    ordered = sorted(times[other])
    slower = sum(bisect.bisect_left(ordered, took) for took in times[one]) / len(times[one]) / len(ordered)
    print(f"{what}: {', '.join(line)}, slower {slower:.3f}, statuses {sorted(statuses)}")


def timing(count):
    with tempfile.TemporaryDirectory(prefix="dgm.", dir=os.environ.get("TMPDIR")) as folder, Rig(folder) as rig:
        absent = "sha256:" + hashlib.sha256(b"absent").hexdigest()
        plain = rig.registry()
        body = os.urandom(5 << 20)
        layer = digest_of(body)
        plain.push("a/has", "v1", [body])
        plain.push("b/not", "v1", [b"other"])
        gate = rig.gate({"/": plain.url}, negative_ttl="0s", access_ttl="1h")
        gate.pull("a/has", "v1")
        gate.pull("b/not", "v1")
        compare("of a repository without it", gate, f"/v2/b/not/blobs/{layer}", f"/v2/b/not/blobs/{absent}", count)
        gate = rig.gate({"/": plain.url}, access_ttl="1h")
        gate.pull("a/has", "v1")
        gate.pull("b/not", "v1")
        compare("the same, remembered", gate, f"/v2/b/not/blobs/{layer}", f"/v2/b/not/blobs/{absent}", count)
        with issuer.Issuer(rig.place("issuer"), {"ann": "a", "eve": "e"}, {"private/": ["ann"]}) as tokens:
            upstream = rig.registry(auth={"token": tokens.config})
            one = {"url": upstream.url, "credentials": {"kind": "client"}, "realm": tokens.url}
            gate = rig.gate({"/": one}, negative_ttl="0s")
            gate.push("private/app", "v1", [body], login=("ann", "a"))
            gate.pull("private/app", "v1", login=("ann", "a"))
            eve = "Authorization: Basic ZXZlOmU=\r\n"
            targets = [f"/v2/private/app/blobs/{digest}" for digest in (layer, absent)]
            compare("of a repository that is closed to the caller", gate, *targets, count, eve)


def main():
    if sys.argv[1:2] == ["timing"]:
        return timing(int(sys.argv[2]) if len(sys.argv) > 2 else 2000)
    size = int(sys.argv[1] if len(sys.argv) > 1 else 1024) << 20
    body = os.urandom(PIECE) * (size // PIECE)
    digest = digest_of(body)
    # below the project: /tmp may be in memory, and then too small
    with tempfile.TemporaryDirectory(prefix="dgm.", dir=os.environ.get("TMPDIR")) as folder, Rig(folder) as rig:
        upstream = rig.registry()
        gate = rig.gate({"/": upstream.url}, access_ttl="1h")
        before = rss(gate.process.pid)
        direct = best(lambda: push(upstream, "direct/x", body, digest), 2)
        through = best(lambda: push(gate, "through/x", body, digest), 2)
        print(f"push of {size >> 20} MiB: {size / PIECE / direct:.0f} MiB/s direct, {direct / through:.2f} of it through dockgate")
        target = f"/v2/through/x/blobs/{digest}"
        pull(gate, target)
        theirs = best(lambda: pull(upstream, target)[0])
        ours = best(lambda: pull(gate, target)[0])
        print(f"warm pull: {size / PIECE / theirs:.0f} MiB/s by docker-registry, {theirs / ours:.2f} times that by dockgate")
        grown = rss(gate.process.pid)
        gate.kill()
        gate.start()
        pull(gate, f"/v2/through/x/blobs/{gate.upload('through/x', b'x')}")
        first = pull(gate, target)[0]
        print(f"first pull after a start: {size / PIECE / first:.0f} MiB/s, {theirs / first:.2f} times docker-registry")
        print(f"memory: {before:.0f} MB at first, {grown:.0f} MB behind it")
        herd(rig, body, digest)


def herd(rig, body, digest):
    sent = {}

    def answer(handler):
        if handler.path == "/v2/":
            return handler.say(200, b"{}")
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        if handler.command == "HEAD":
            return None
        sent["first"] = time.monotonic()
        view = memoryview(body)
        for at in range(0, len(body), PIECE):
            handler.wfile.write(view[at : at + PIECE])
            time.sleep(1 / 64)
        return None

    upstream = rig.handmade(answer)
    gate = rig.gate({"/": upstream.url})
    firsts, wrong = [], []

    def one(number):
        with socket.create_connection(("127.0.0.1", gate.port)) as client:
            client.sendall(f"GET /v2/a/b/blobs/{digest} HTTP/1.1\r\nHost: {gate.host}\r\nConnection: close\r\n\r\n".encode())
            head = b""
            while b"\r\n\r\n" not in head:
                head += client.recv(65536)
            rest = head.partition(b"\r\n\r\n")[2]
            rest = rest or client.recv(65536)
            firsts.append(time.monotonic())
            # (all of them would keep this program's own thread from the upstream's part)
            hashed, count, buffer = hashlib.sha256(rest), len(rest), bytearray(PIECE)
            while got := client.recv_into(buffer):
                count += got
                if number < 2:
                    hashed.update(memoryview(buffer)[:got])
            if count != len(body) or (number < 2 and "sha256:" + hashed.hexdigest() != digest):
                wrong.append(number)

    threads = [threading.Thread(target=one, args=(number,)) for number in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    gets = [one for one in upstream.asked if one[0] == "GET" and "blobs" in one[1]]
    worst = (max(firsts) - sent["first"]) * 1000
    print(f"herd of 50 on {len(body) >> 20} MiB: {len(gets)} GET, worst first byte {worst:.0f} ms, {len(wrong)} wrong")
    print(f"memory of that dockgate: {rss(gate.process.pid):.0f} MB")


if __name__ == "__main__":
    main()
