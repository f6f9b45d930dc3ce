#!/usr/bin/env python3
"""The ways dockgate's cache is used: forward proxy, a chain, offline, https origins, tenants, a shared folder, commands.

modes.py quick|all [NAME]...
"""

import contextlib
import pathlib
import subprocess
import sys
import time

sys.dont_write_bytecode = True
HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "lib")]

from lib import subjects  # noqa: E402
from lib.case import Wrong, case, expect, script, stored  # noqa: E402
from lib.measure import Download, Origin, fetch, right, run  # noqa: E402
from rawhttp import Conn  # noqa: E402

MIB = 1 << 20


def forward(rig, name, more="", domains='"*:*"'):
    """A gate without origins of its own: it asks whom it is told to."""
    ports = subjects.free_ports(2)
    folder = rig.folder / name
    folder.mkdir()
    toml = f"""
[admin]
listen = ["unix://{folder}/admin.sock"]
[cache.{name}]
listen = ["http://127.0.0.1:{ports[0]}", "https://127.0.0.1:{ports[1]}"]
dir = "{folder}/store"
size = "1GB"
free = "10MB"
domains = [{domains}]
allow_private = ["127.0.0.0/8"]
tls = {{ cert = "{folder}/cert.pem", key = "{folder}/key.pem" }}
{more}
"""
    return rig.gate(toml=toml.replace("PORT0", str(ports[0])), ports=ports, folder=folder)


def whole(got, path, size):
    if got.status != 200 or not right(got, path, size):
        raise Wrong(f"{path}: status {got.status}, {got.length} of {size} bytes, {got.error}, {got.kept[:200]}")


@case("a forward proxy: absolute form, from the store the second time")
def forward_proxy(rig):
    with forward(rig, "forward", "forward = true") as gate:
        origin = f"127.0.0.1:{rig.origin.port}"
        for _ in range(2):
            got = fetch(gate.http, f"http://{origin}/forward/a?size=200K", headers={"Host": origin})
            whole(got, "/forward/a", 200 << 10)
        expect(rig.origin.counts("/forward/a")["requests"], 1, "origin requests")
        lying = fetch(gate.http, f"http://{origin}/forward/b", headers={"Host": "another.example"})
        if lying.status not in (200, 400, 421):
            raise Wrong(f"a Host that is not the target's: status {lying.status}")
    with forward(rig, "usual", "forward = true", domains='"*"') as gate:
        expect(fetch(gate.http, f"http://{origin}/forward/c", headers={"Host": origin}).status, 403, "a port that nobody named")
        answer = tunnel(gate.http, origin)
        if " 403 " not in answer:
            raise Wrong(f"a tunnel to a port that nobody named: {answer}")
    with forward(rig, "tunnels", "forward = true", domains=f'"127.0.0.1:{rig.origin.port}"') as gate:
        expect(tunnel(gate.http, origin), "HTTP/1.1 200 X", "the first line through CONNECT")


def tunnel(port, origin):
    """The status line behind a CONNECT, or that of its refusal."""
    with Conn(("127.0.0.1", port), seconds=10) as connection:
        answer = connection.send(f"CONNECT {origin} HTTP/1.1\r\nHost: {origin}\r\n\r\n").head()
        if answer.status != 200:
            return answer.line
        return connection.send(f"GET /tunnel HTTP/1.1\r\nHost: {origin}\r\n\r\n").head().line


@case("no forward proxy unless the configuration says so")
def no_open_proxy(rig):
    with rig.gate() as gate:
        origin = f"127.0.0.1:{rig.origin.port}"
        got = fetch(gate.http, f"http://{origin}/open/a", headers={"Host": origin})
        if got.status is None or got.status < 400:
            raise Wrong(f"absolute form: status {got.status}")
        answer = tunnel(gate.http, origin)
        if " 200 " in answer:
            raise Wrong(f"CONNECT: {answer}")
        expect(rig.origin.counts("/open/a")["requests"], 0, "origin requests")


@case("a chain: the first one asks the second one, and each keeps a copy")
def chain(rig):
    with forward(rig, "second", "forward = true") as second:
        with forward(rig, "first", f'next_hop = "http://127.0.0.1:{second.http}"') as first:
            host = {"Host": f"127.0.0.1:{rig.origin.port}"}
            for _ in range(2):
                whole(fetch(first.http, "/chain/a?size=300K", headers=host), "/chain/a", 300 << 10)
            whole(fetch(second.http, f"http://{host['Host']}/chain/a?size=300K", headers=host), "/chain/a", 300 << 10)
            expect(rig.origin.counts("/chain/a")["requests"], 1, "origin requests")


@case("a loop ends with an error at once")
def loop(rig):
    with forward(rig, "loop", 'forward = true\nnext_hop = "http://127.0.0.1:PORT0"') as gate:
        got = fetch(gate.http, "/loop/a", headers={"Host": "127.0.0.1:9"}, timeout=120)
        if got.status not in (502, 508):
            raise Wrong(f"status {got.status}, {got.error}")


@case("offline: what is stored is served, stale or not, and for all else there is a 504")
def offline(rig):
    ports = subjects.free_ports(2)
    folder = rig.folder / "offline"
    common = {"ports": ports, "folder": folder}
    with rig.gate(**common) as gate:
        whole(fetch(gate.http, "/offline/a?size=100K"), "/offline/a", 100 << 10)
        whole(fetch(gate.http, "/offline/stale?size=100K&cc=max-age=0"), "/offline/stale", 100 << 10)
        stored(gate, "/offline/a?size=100K")
    before = rig.origin.counts()["requests"]
    with rig.gate(more="offline = true", **common) as gate:
        whole(fetch(gate.http, "/offline/a?size=100K"), "/offline/a", 100 << 10)
        whole(fetch(gate.http, "/offline/stale?size=100K&cc=max-age=0"), "/offline/stale", 100 << 10)
        expect(fetch(gate.http, "/offline/b").status, 504, "status of what is not stored")
    expect(rig.origin.counts()["requests"], before, "origin requests")


@case("an https origin is asked only with a certificate that is trusted")
def https_origin(rig):
    folder = rig.folder / "https-origin"
    folder.mkdir()
    subjects.certificate(folder)
    with Origin(tls=(folder / "cert.pem", folder / "key.pem")) as origin:
        to = f'origins = {{ "a.example" = "https://localhost:{origin.port}" }}'
        for name, ca, expected in (("trusted", f'upstream_ca = "{folder}/ca.pem"', 200), ("untrusted", "", 502)):
            with forward(rig, name, f"{to}\n{ca}") as gate:
                got = fetch(gate.http, "/https/a?size=100K", headers={"Host": "a.example"})
                expect(got.status, expected, f"status, {name}")
                if expected == 200:
                    whole(got, "/https/a", 100 << 10)


@case("what was asked for with credentials is nobody else's")
def partitions(rig):
    path, query = "/private/a", "?size=1000&cc=max-age=600"
    for fields in ({"Authorization": "Bearer one"}, {"Authorization": "Bearer two"}, {"Cookie": "session=one"}, {}):
        before = rig.origin.counts(path)["requests"]
        whole(rig.get(path + query, headers=fields), path, 1000)
        expect(rig.origin.counts(path)["requests"], before + 1, f"origin requests, first with {fields}")
        whole(rig.get(path + query, headers=fields), path, 1000)
        expect(rig.origin.counts(path)["requests"], before + 1, f"origin requests, again with {fields}")


INNER = "GET /smuggled HTTP/1.1\r\nHost: HOST\r\n\r\n"
SMUGGLED = {
    "length and chunks": "POST /outer HTTP/1.1\r\nHost: HOST\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + INNER,
    "chunks and length": "POST /outer HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding: chunked\r\nContent-Length: LENGTH\r\n\r\n0\r\n\r\n" + INNER,
    "two lengths": "POST /outer HTTP/1.1\r\nHost: HOST\r\nContent-Length: 0\r\nContent-Length: LENGTH\r\n\r\n" + INNER,
    "a list of lengths": "POST /outer HTTP/1.1\r\nHost: HOST\r\nContent-Length: 0, LENGTH\r\n\r\n" + INNER,
    "a signed length": "POST /outer HTTP/1.1\r\nHost: HOST\r\nContent-Length: +0\r\n\r\n" + INNER,
    "an unknown coding": "POST /outer HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + INNER,
    "two codings": "POST /outer HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n" + INNER,
    "a space before the colon": "POST /outer HTTP/1.1\r\nHost: HOST\r\nContent-Length : LENGTH\r\n\r\n" + INNER,
    "a folded line": "POST /outer HTTP/1.1\r\nHost: HOST\r\nX: y\r\n Content-Length: LENGTH\r\n\r\n" + INNER,
    "a NUL": "POST /outer HTTP/1.1\r\nHost: HOST\r\nX: y\0Content-Length: LENGTH\r\n\r\n" + INNER,
    "a bare CR": "POST /outer HTTP/1.1\r\nHost: HOST\r\nX: y\rTransfer-Encoding: chunked\r\n\r\n" + INNER,
    "a chunk size that overflows": "POST /outer HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding: chunked\r\n\r\n10000000000000000\r\n" + INNER,
    "a chunk with a bare LF": "POST /outer HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding: chunked\r\n\r\n0\n\n" + INNER,
    "HTTP/1.0 with chunks": "POST /outer HTTP/1.0\r\nHost: HOST\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + INNER,
    "two hosts": "GET /smuggled HTTP/1.1\r\nHost: HOST\r\nHost: other.example\r\n\r\n",
    "no host": "GET /smuggled HTTP/1.1\r\n\r\n",
    "a target of another host": "GET http://other.example/smuggled HTTP/1.1\r\nHost: HOST\r\n\r\n",
    "a user in the host": "GET /smuggled HTTP/1.1\r\nHost: user@HOST\r\n\r\n",
    "a line break in the target": "GET /smuggled\rX HTTP/1.1\r\nHost: HOST\r\n\r\n",
}


@case("requests that two readers would split differently reach no origin as two")
def smuggling(rig):
    gate = rig.usual()
    host = f"127.0.0.1:{gate.http}"

    def reaches(text):
        text = text.replace("HOST", host).replace("LENGTH", str(len(INNER.replace("HOST", host))))
        before = rig.origin.counts("/smuggled")["requests"]
        with Conn(("127.0.0.1", gate.http), seconds=3) as connection, contextlib.suppress(OSError):
            connection.send(text.encode("latin-1")).half_close()
            connection.take_all()
        return rig.origin.counts("/smuggled")["requests"] > before

    expect([name for name, text in SMUGGLED.items() if reaches(text)], [], "reached the origin")
    # so is one that is only pipelined: the method of this case sees what arrives
    expect(reaches("POST /outer HTTP/1.1\r\nHost: HOST\r\nContent-Length: 4\r\n\r\nbody" + INNER), True, "a request behind another")
    whole(rig.get("/after/smuggling?size=1000"), "/after/smuggling", 1000)


@case("paths that a file system or an origin would read differently are refused")
def strange_paths(rig):
    served = []
    for path in ("/a/../b", "/a/./b", "/..", "/a/%2e%2e/b", "/a/.%2E/b", "/a%2f..%2fb", "/a%5cb", "/a%00b"):
        got = rig.get(path)
        if got.status is None or got.status < 400:
            served.append((path, got.status))
    expect(served, [], "served")


@case("two processes share a folder: one origin request for both, and each finds what the other one stored")
def shared_folder(rig):
    store = rig.folder / "shared-store"
    with rig.gate(store=store) as one, rig.gate(store=store) as two:
        path, query = "/shared/a", "?size=4M&rate=4M"
        # their hosts must be the same for the key to be
        host = {"Host": f"127.0.0.1:{one.http}"}
        two.stop()
        text = (one.dir / "dockgate.toml").read_text().replace(f"{one.dir}/", f"{two.dir}/")
        for port, other in ((one.http, two.http), (one.https, two.https)):
            text = text.replace(f'://127.0.0.1:{port}"', f'://127.0.0.1:{other}"', 1)
        # a port that nothing here listens on is asked for by a forward proxy only
        (two.dir / "dockgate.toml").write_text(f"{text}\nforward = true\n")
        two.run()
        downloads = run([Download(gate.http, path + query, headers=host) for gate in (one, two) for _ in range(5)])
        expect(sum(right(got, path, 4 * MIB) for got in downloads), 10, "complete and right")
        expect(rig.origin.counts(path)["requests"], 1, "origin requests")
        whole(fetch(one.http, "/shared/b?size=50K", headers=host), "/shared/b", 50 << 10)
        whole(fetch(two.http, "/shared/b?size=50K", headers=host), "/shared/b", 50 << 10)
        expect(rig.origin.counts("/shared/b")["requests"], 1, "origin requests for the second object")


@case("a restart forgets nothing, and SIGTERM ends it cleanly")
def restart(rig):
    gate = rig.gate()
    try:
        for number in range(20):
            whole(fetch(gate.http, f"/restart/{number}?size=50K"), f"/restart/{number}", 50 << 10)
            stored(gate, f"/restart/{number}?size=50K")
        expect(gate.stop(), 0, "status after SIGTERM")
        gate.run()
        for number in range(20):
            whole(fetch(gate.http, f"/restart/{number}?size=50K"), f"/restart/{number}", 50 << 10)
            expect(rig.origin.counts(f"/restart/{number}")["requests"], 1, "origin requests")
    finally:
        gate.stop()


@case("`cache ls`, `purge` and `stats` say and do what happened")
def commands(rig):
    with rig.gate() as gate:
        for _ in range(2):
            for name in ("a", "b"):
                whole(fetch(gate.http, f"/commands/{name}?size=10K"), f"/commands/{name}", 10 << 10)
        deadline = time.monotonic() + 120
        while (sums := gate.statistics())["bytes_stored"] < 20480 and time.monotonic() < deadline:
            time.sleep(0.02)  # what is on its way to the disk counts when it is there
        found = tuple(sums[name] for name in ("bytes_sent", "bytes_saved", "bytes_fetched", "bytes_stored", "origin_requests"))
        expect(found, (40960, 20480, 20480, 20480, 2), "bytes sent, saved, fetched and stored, origin requests")
        expect({name: count for name, count in sums["requests"].items() if count}, {"hit": 2, "miss": 2}, "requests")
        status, text = gate.cache("ls")
        expect(status, 0, f"status of ls: {text}")
        for name in ("/commands/a", "/commands/b"):
            if name not in text:
                raise Wrong(f"`cache ls` does not name {name}:\n{text}")
        status, text = gate.cache("purge", f"http://127.0.0.1:{gate.http}/commands/a?size=10K")
        expect(status, 0, f"status of purge: {text}")
        for name, requests in (("a", 2), ("b", 1)):
            whole(fetch(gate.http, f"/commands/{name}?size=10K"), f"/commands/{name}", 10 << 10)
            expect(rig.origin.counts(f"/commands/{name}")["requests"], requests, f"origin requests for {name}")


@case("curl: http and https, and a download that is resumed")
def curl(rig):
    with rig.gate() as gate:
        for url in (f"http://localhost:{gate.http}", f"https://localhost:{gate.https}"):
            out = rig.folder / "curl.out"
            words = ["curl", "-sS", "--fail", "--cacert", gate.dir / "ca.pem", "-o", out, f"{url}/curl/a?size=3M"]
            subprocess.run(words, check=True, timeout=300)
            data = out.read_bytes()
            out.write_bytes(data[: 1 << 20])
            subprocess.run([*words[:-1], "-C", "-", words[-1]], check=True, timeout=300)
            expect(out.read_bytes() == data and len(data) == 3 * MIB, True, f"the resumed file is the whole one ({url})")


if __name__ == "__main__":
    script(__doc__)
