#!/usr/bin/env python3
"""Slow and lying origins behind dockgate: no client ever completes a wrong body, and nothing wrong is stored.

liars.py quick|all [NAME]...
"""

import hashlib
import http.client
import pathlib
import re
import socket
import ssl
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

from lib.case import Wrong, case, expect, script, stored  # noqa: E402
from lib.measure import Download, fetch, right, run  # noqa: E402

import origin as origins  # noqa: E402

MIB = 1 << 20


def never_completes(rig, path, query, times=2):
    """Asked twice: each time the body does not complete, and each time the origin is asked (nothing was stored)."""
    for number in range(1, times + 1):
        before = rig.origin.counts(path)["requests"]
        got = rig.get(path + query)
        if got.status == 200 and got.complete:
            raise Wrong(f"request {number}: a body of {got.length} bytes was completed")
        if rig.origin.counts(path)["requests"] == before:
            raise Wrong(f"request {number} was answered without the origin: {got.status}, {got.head}")
    works(rig)


def works(rig):
    """The gate and its connections to this origin are as before."""
    rig.after = getattr(rig, "after", 0) + 1
    path = f"/after/{rig.after}"
    got = rig.get(f"{path}?size=100K")
    if got.status != 200 or not right(got, path, 100 << 10):
        raise Wrong(f"an honest object afterwards: {got.status}, {got.error or got.kept[:200]}")


# ---- lengths and framing ----


@case("an answer shorter than its Content-Length is not completed and not stored")
def wrong_length_long(rig):
    never_completes(rig, "/lie/long", "?size=300K&lie=long")


@case("bytes behind the Content-Length are never taken for the next answer")
def wrong_length_short(rig):
    got = rig.get("/lie/short?size=300K&lie=short")
    if got.complete:
        expect(got.length, 300 * 1024 - 1000, "length of what was completed")
    for _ in range(5):
        works(rig)


@case("a body that ends in the middle of its chunks is not completed and not stored")
def truncated_chunked(rig):
    never_completes(rig, "/lie/truncated-chunked", "?size=300K&framing=chunked&drop=100K&etag=none")


@case("a body that ends before its Content-Length, and cannot be resumed, is not completed and not stored")
def truncated_length(rig):
    never_completes(rig, "/lie/truncated-length", "?size=300K&drop=100K&etag=none&ranges=no")


@case("what is no chunk is not completed and not stored")
def bad_chunk(rig):
    never_completes(rig, "/lie/badchunk", "?size=300K&lie=badchunk")


@case("a large answer without a length is served whole, and the second time from the store")
def honest_chunked(rig):
    for _ in range(2):
        got = rig.get("/honest/chunked?size=5M&framing=chunked")
        expect(right(got, "/honest/chunked", 5 * MIB), True, f"complete and right ({got.status}, {got.error})")
    expect(rig.origin.counts("/honest/chunked")["requests"], 1, "origin requests")


# ---- digests ----


@case("a body that is not what its path says by digest is not completed and not stored")
def wrong_digest(rig):
    path = by_hash(hashlib.sha256(b"something else").hexdigest())
    never_completes(rig, path, "?size=300K")


@case("a body that is what its path says is stored")
def right_digest(rig):
    # the bytes follow from the path, so they can have no path that names their digest: an empty object can
    path = by_hash(hashlib.sha256(b"").hexdigest())
    for _ in range(2):
        got = rig.get(path + "?size=0")
        expect((got.status, got.complete, got.length), (200, True, 0), "status, complete, length")
    expect(rig.origin.counts(path)["requests"], 1, "origin requests")


def by_hash(digest):
    return f"/debian/dists/stable/main/binary-amd64/by-hash/SHA256/{digest}"


# ---- drops in the middle ----


@case("a drop in the middle is resumed by a range, and the client sees nothing of it")
def drop_is_resumed(rig):
    got = rig.get("/drop/strong?size=4M&drop=1M&times=1")
    expect(right(got, "/drop/strong", 4 * MIB), True, f"complete and right ({got.status}, {got.error})")
    counts = rig.origin.counts("/drop/strong")
    expect((counts["requests"], counts["full"], counts["ranged"]), (2, 1, 1), "requests, whole, ranged")
    if counts["bytes"] > 4 * MIB:
        raise Wrong(f"the origin sent {counts['bytes']} bytes for {4 * MIB}")


@case("three drops in a row are resumed too, or the body is not completed; it is never wrong")
def drops_in_a_row(rig):
    got = rig.get("/drop/thrice?size=4M&drop=1M&times=3")
    if got.complete and not right(got, "/drop/thrice", 4 * MIB):
        raise Wrong("a wrong body was completed")


@case("what was resumed from another version is never completed")
def drop_and_another_version(rig):
    path = "/drop/changed"
    got = rig.get(f"{path}?size=4M&drop=1M&times=1&etag=change")
    versions = [origins.digest(f"{path}#{n}", 4 * MIB) for n in range(1, 9)]
    if got.complete and got.digest not in versions:
        raise Wrong("a body of two versions was completed")
    works(rig)


@case("a drop is not resumed on a weak validator")
def drop_and_a_weak_validator(rig):
    got = rig.get("/drop/weak?size=4M&drop=1M&times=1&etag=weak")
    expect(rig.origin.counts("/drop/weak")["ranged"], 0, "ranges asked")
    if got.complete and not right(got, "/drop/weak", 4 * MIB):
        raise Wrong("a wrong body was completed")


@case("an origin that answers the resumption with other bytes than asked does not get them in")
def drop_and_a_lying_range(rig):
    got = rig.get("/drop/range?size=4M&drop=1M&times=1&lie=range")
    if got.complete and not right(got, "/drop/range", 4 * MIB):
        raise Wrong("a wrong body was completed")
    shifted = rig.get("/drop/shifted?size=4M&drop=1M&times=9&lie=range")
    if shifted.complete:
        raise Wrong("a body whose resumption said another range was completed")
    works(rig)


# ---- heads ----


@case("a head of 20,000 fields is a 502, and the gate goes on")
def header_bomb(rig):
    before = rig.usual().resident()
    got = rig.get("/lie/bomb?lie=bomb")
    expect(got.status, 502, "status")
    works(rig)
    return f"resident {before:.1f} MB, then {rig.usual().resident():.1f} MB"


@case("a field of 8 MiB is a 502, and the gate goes on")
def header_field_bomb(rig):
    got = rig.get("/lie/bigfield?lie=bigfield")
    expect(got.status, 502, "status")
    works(rig)


@case("a head that comes byte by byte keeps nobody else waiting")
def slow_loris_head(rig):
    slow = Download(rig.usual().http, "/lie/slowhead?lie=slowhead")
    slow.connect()
    for _ in range(3):
        works(rig)
    slow.close()


@case("a head that never ends is given up with a 504", tier="all")
def slow_loris_head_is_given_up(rig):
    got = rig.get("/lie/slowhead-long?lie=slowhead", timeout=1200)
    expect(got.status, 504, f"status ({got.error})")


@case("a body that stops coming keeps nobody else waiting, and is not completed")
def stalled_body(rig):
    slow = Download(rig.usual().http, "/lie/stall?size=1M&stall=100K", abort_after=2)
    run([slow])
    expect((slow.complete, slow.error), (False, "left"), "complete, error")
    works(rig)


# ---- bodies without an end ----


@case("a body without an end is bounded, and not fetched on for nobody")
def infinite(rig):
    path = "/lie/infinite"
    with rig.gate(size="64MB") as gate:
        run([Download(gate.http, f"{path}?lie=infinite&size=1M&rate=64M&cc=max-age=60", abort_after=1)])
        last = -1
        for _ in range(600):
            sent = rig.origin.counts(path)["bytes"]
            if sent == last:
                break
            if sent > 1 << 30:
                raise Wrong(f"{sent} bytes were fetched, and no end, of a body that nobody reads into a cache of 64 MB")
            last = sent
            time.sleep(0.5)
        expect(fetch(gate.http, "/after/infinite?size=100K").status, 200, "status of another object")
        held = sum(file.stat().st_size for file in gate.store.rglob("*") if file.is_file())
        if held > 64e6:
            raise Wrong(f"the cache of 64 MB holds {held} bytes")
        return f"{sent >> 20} MiB were fetched"


# ---- statuses ----


@case("429 with Retry-After: the origin is left alone until then")
def too_many_requests(rig):
    with rig.gate() as gate:
        path = "/status/429"
        first = fetch(gate.http, f"{path}?status=429&retry=5&times=1")
        again = fetch(gate.http, f"{path}?status=429&retry=5&times=1")
        for got in (first, again):
            if got.status not in (429, 503):
                raise Wrong(f"status {got.status}, expected 429 or 503")
            if "retry-after" not in got.head:
                raise Wrong(f"no Retry-After in {got.head}")
        expect(rig.origin.counts(path)["requests"], 1, "requests before the time has come")
        deadline = time.monotonic() + 120
        while (got := fetch(gate.http, f"{path}?status=429&retry=5&times=1")).status != 200:
            if time.monotonic() > deadline:
                raise Wrong(f"still status {got.status}")
            time.sleep(0.3)
        expect(rig.origin.counts(path)["requests"], 2, "requests in all")


@case("an error of the origin is passed on and not stored")
def server_error(rig):
    path = "/status/500"
    for status in (500, 200):
        got = rig.get(f"{path}?status=500&times=1&cc=none")
        expect(got.status, status, "status")


@case("stale-if-error: what is stored answers for an origin that fails")
def stale_if_error(rig):
    path, query = "/status/stale", "?status=503&after=1&cc=max-age=1,stale-if-error=600"
    expect(rig.get(path + query).status, 200, "status at first")
    time.sleep(2.1)
    got = rig.get(path + query)
    expect((got.status, right(got, path, 1000)), (200, True), "status and body when the origin fails")
    if rig.origin.counts(path)["requests"] < 2:
        raise Wrong("the origin was not asked")


@case("stale-while-revalidate: one request in the background, however many ask")
def stale_while_revalidate(rig):
    path, query = "/status/swr", "?cc=max-age=3,stale-while-revalidate=600&size=1000"
    rig.get(path + query)
    time.sleep(4.1)
    for got in run([Download(rig.usual().http, path + query) for _ in range(20)]):
        expect(right(got, path, 1000), True, "right")
    deadline = time.monotonic() + 120
    while not (counts := rig.origin.counts(path))["conditional"] and time.monotonic() < deadline:
        time.sleep(0.02)
    # those that came after the revalidation was done may have found it fresh; none asked a second time
    expect((counts["requests"], counts["conditional"]), (2, 1), "origin requests, conditional ones")


# ---- what may not be shared ----


@case("an answer that is stale when it comes, or `no-cache`, is asked for anew by who comes later")
def stale_on_arrival(rig):
    for control in ("max-age=0", "no-cache"):
        for number in range(15):
            path = f"/stale/{control}/{number}"
            for requests in (1, 2, 3):
                got = rig.get(f"{path}?size=20K&cc={control}")
                expect(right(got, path, 20 << 10), True, "right")
                counts = rig.origin.counts(path)
                expect(counts["requests"], requests, f"origin requests ({control}, {got.head.get('cache-status')})")


@case("clients that ask at once for what nobody may store get an answer each of their own")
def nothing_private_is_shared(rig):
    for control in ("private", "no-store", "private,max-age=60"):
        path = f"/unshared/{control}"
        target = f"{path}?size=200K&rate=400K&cc={control}"
        for got in run([Download(rig.usual().http, target) for _ in range(8)]):
            expect(right(got, path, 200 << 10), True, f"complete and right ({got.status}, {got.error})")
        expect(rig.origin.counts(path)["requests"], 8, f"origin requests ({control})")


@case("clients that ask at once with different credentials get an answer each of their own")
def nobody_joins_with_other_credentials(rig):
    for field in ("Authorization", "Cookie"):
        path = f"/unshared/{field}"
        target = f"{path}?size=200K&rate=400K&cc=max-age=60"
        for got in run([Download(rig.usual().http, target, headers={field: f"Basic {n}"}) for n in range(8)]):
            expect(right(got, path, 200 << 10), True, f"complete and right ({got.status}, {got.error})")
        expect(rig.origin.counts(path)["requests"], 8, f"origin requests ({field})")


# ---- clients ----


@case("a client that does not read slows nobody: others get the whole from one request")
def slow_client(rig):
    path, query = "/slow/client", "?size=16M&rate=16M"
    slow = Download(rig.usual().http, path + query, pause=True)
    slow.connect()
    got = rig.get(path + query)
    expect(right(got, path, 16 * MIB), True, f"complete and right ({got.error})")
    expect(rig.origin.counts(path)["requests"], 1, "origin requests")
    slow.close()


@case("clients that read nothing of what is not stored cost little and keep nobody from the host")
def idle_readers(rig):
    # In KiB. What each answer holds is some 48, most of it the connection to the origin. With HTTP/2 each client has a
    # connection of its own here, of 34 when it is idle: the crate h2 reads and writes with 28 KiB of buffers.
    for kind, most in (("http", 64), ("https", 64), ("h2", 92)):
        with rig.gate() as gate:
            expect(fetch(gate.http, f"/idle/{kind}/first?size=1K").status, 200, "status")
            before = gate.resident()
            clients = [idle_reader(gate, kind, f"/idle/{kind}?size=16M&cc=no-store") for _ in range(300)]
            for client in clients:
                client.recv(1)
            expect(fetch(gate.http, f"/idle/{kind}/other?size=1K").status, 200, "status of another one meanwhile")
            each = settled(lambda: (gate.resident() - before) * 1e6 / 1024 / len(clients))
            print(f"     {kind}: {each:.0f} KiB each")
            if each > most:
                raise Wrong(f"{kind}: a client costs {each:.0f} KiB, and may {most}")
            for client in clients:
                client.close()


def idle_reader(gate, kind, target):
    """A client that asks and reads nothing."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    port = gate.http if kind == "http" else gate.https
    client.connect(("127.0.0.1", port))
    if kind != "http":
        trust = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        trust.check_hostname, trust.verify_mode = False, ssl.CERT_NONE
        if kind == "h2":
            trust.set_alpn_protocols(["h2"])
        client = trust.wrap_socket(client)
    if kind != "h2":
        client.sendall(f"GET {target} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())
        return client
    # literal fields without Huffman (RFC 7541 6.2.2); SETTINGS and HEADERS of stream 1 with their ends
    fields = {":method": "GET", ":scheme": "https", ":path": target, ":authority": f"127.0.0.1:{port}"}
    block = b"".join(b"\0" + bytes([len(text)]) + text.encode() if text is name else bytes([len(text)]) + text.encode()
                     for name, value in fields.items() for text in (name, value))
    client.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
                   + len(block).to_bytes(3, "big") + bytes([1, 5, 0, 0, 0, 1]) + block)
    return client


def settled(measure):
    """What is measured when it does not grow any more."""
    last = measure()
    while True:
        time.sleep(0.5)
        now = measure()
        if now <= last:
            return now
        last = now


@case("one connection, many requests of all kinds: each answer is framed once and right")
def kept_connection(rig):
    gate = rig.usual()
    trust = ssl.create_default_context(cafile=gate.dir / "ca.pem")
    for connection in (http.client.HTTPConnection("localhost", gate.http, timeout=120),
                       http.client.HTTPSConnection("localhost", gate.https, timeout=120, context=trust)):
        for number in range(60):
            path = f"/kept/{number % 3}"
            size = (100, 10_240, 300_000)[number % 3]
            method = "HEAD" if number % 5 == 4 else "GET"
            fields = {"Range": "bytes=10-19"} if number % 7 == 6 else {"If-None-Match": '"v1"'} if number % 11 == 10 else {}
            connection.request(method, f"{path}?size={size}", headers=fields)
            answer = connection.getresponse()
            body = answer.read()
            framing = [name.lower() for name, _ in answer.getheaders() if name.lower() in ("content-length", "transfer-encoding")]
            expect(len(framing), 0 if answer.status == 304 else 1, f"fields of framing, request {number}")
            start, end = (10, 20) if answer.status == 206 else (0, size)
            wanted = b"" if method == "HEAD" or answer.status == 304 else b"".join(origins.body(path, start, end))
            expect(body == wanted, True, f"body of request {number} ({method}, {fields}, status {answer.status})")


@case("ranges, several ranges, If-Range and HEAD come from the stored copy")
def from_the_stored_copy(rig):
    path, query = "/stored/copy", "?size=1M"
    etag = rig.get(path + query).head["etag"]
    stored(rig.usual(), path + query)
    one = rig.get(path + query, headers={"Range": "bytes=-10"})
    expect((one.status, right(one, path, MIB, MIB - 10)), (206, True), "the last ten bytes")
    many = rig.get(path + query, headers={"Range": "bytes=0-9,100-109,-5"})
    expect(many.status, 206, "status of several ranges")
    parts = re.findall(rb"(?i)content-range: bytes (\d+)-(\d+)/1048576\r\n", many.kept)
    expect([tuple(map(int, part)) for part in parts], [(0, 9), (100, 109), (MIB - 5, MIB - 1)], "the parts")
    for first, last in ((0, 9), (100, 109), (MIB - 5, MIB - 1)):
        if b"".join(origins.body(path, first, last + 1)) not in many.kept:
            raise Wrong(f"the bytes {first} to {last} are not in the answer")
    same = rig.get(path + query, headers={"Range": "bytes=5-6", "If-Range": etag})
    expect((same.status, same.length), (206, 2), "If-Range with the validator")
    other = rig.get(path + query, headers={"Range": "bytes=5-6", "If-Range": '"other"'})
    expect((other.status, right(other, path, MIB)), (200, True), "If-Range with another one")
    beyond = rig.get(path + query, headers={"Range": "bytes=1048576-"})
    expect((beyond.status, beyond.head.get("content-range")), (416, "bytes */1048576"), "a range beyond the end")
    head = rig.get(path + query, method="HEAD")
    expect((head.status, head.head.get("content-length")), (200, str(MIB)), "HEAD")
    unchanged = rig.get(path + query, headers={"If-None-Match": etag})
    expect(unchanged.status, 304, "If-None-Match")
    expect(rig.origin.counts(path)["requests"], 1, "origin requests")


@case("what is complete at a client can be found at once")
def found_at_once(rig):
    for number in range(20):
        path = f"/at/once/{number}"
        expect(rig.get(f"{path}?size=200K").complete, True, "complete")
        last = rig.get(f"{path}?size=200K", headers={"Range": "bytes=-10"})
        expect((last.status, last.length), (206, 10), "status and length of the last ten bytes")
        expect(rig.origin.counts(path)["requests"], 1, f"origin requests ({last.head.get('cache-status')})")


if __name__ == "__main__":
    script(__doc__)
