"""24-28: what a call tells of its sender, and who may hold a connection."""

import os
import socket

from lib.case import vector
from lib.wire import SECONDS, Conn, request

from .transport import PRIVILEGED, create


@vector(24, "hop-by-hop and identity headers")
def identity_headers(c):
    with Recorder(c.rig) as engine:
        sent = [
            "X-Forwarded-For: 10.0.0.1",
            "X-Forwarded-Proto: https",
            "Forwarded: for=10.0.0.1",
            "Authorization: Basic cm9vdDpyb290",
            "Proxy-Authorization: Basic x",
            "Cookie: a=b",
            "Keep-Alive: timeout=5",
            "TE: trailers",
            "X-Nominated: 1",
            "Connection: close, x-nominated",
            "Upgrade: h2c",
            "Proxy-Connection: keep-alive",
        ]
        head = engine.sees(
            b"GET /v1.41/containers/json HTTP/1.1\r\nHost: evil.example\r\n" + "\r\n".join(sent).encode() + b"\r\n\r\n"
        ).lower()
        for name in (
            "x-forwarded",
            "forwarded:",
            "authorization",
            "cookie",
            "keep-alive:",
            "te:",
            "x-nominated",
            "upgrade",
            "proxy-",
            "evil.example",
        ):
            c.expect(f"no {name}", f"\n{name}" not in head and name not in head.split("\n", 1)[1], head)
        c.notes = ["none of 12 such headers reaches the engine"] if not c.failures else []
    c.declare("the engine itself gives nothing on them")


@vector(25, "browsers and DNS rebinding on TCP")
def browsers(c):
    canary = c.rig.canary
    page = ["Origin: http://evil.example"]

    def hits(answer, before):
        return canary.hits > before

    for via in ("tcp", "conservative"):
        c.call(
            f"form posted to /build?remote= ({via})",
            "POST",
            f"/build?remote=http://{canary.at}/x",
            "a=b",
            kind="application/x-www-form-urlencoded",
            headers=page,
            version="",
            setup=lambda: canary.hits,
            bites=hits,
            via=via,
        )
    c.call("GET with an Origin", "GET", "/containers/json", headers=page, version="", bites=lambda a, _: a.status == 200, via="tcp")
    c.call(
        "create with an Origin",
        "POST",
        "/containers/create",
        PRIVILEGED,
        headers=page,
        version="",
        bites=lambda a, _: a.status == 201,
        via="tcp",
    )
    c.call(
        "simple create, text/plain",
        "POST",
        "/containers/create",
        PRIVILEGED,
        kind="text/plain",
        headers=page,
        version="",
        bites=lambda a, _: a.status == 201,
        via="tcp",
        inert="the engine wants application/json here",
    )
    c.call(
        "websocket attach of a page",
        "GET",
        "/containers/{id}/attach/ws?stream=1&stdin=1",
        headers=page + WEBSOCKET,
        version="",
        bites=lambda a, _: a.status == 101,
        keep=True,
        via="tcp",
        setup=lambda: {"id": c.make(start=True, OpenStdin=True)},
    )
    # by DNS rebinding a page is same-origin: its GET has no Origin, only the Host of the page and what browsers always say
    for label, header in (("Accept-Language", "Accept-Language: en"), ("Sec-Fetch-Mode", "Sec-Fetch-Mode: cors")):
        data = f"GET /containers/json HTTP/1.1\r\nHost: evil.example:2375\r\n{header}\r\nConnection: close\r\n\r\n".encode()
        c.probe(f"Host of a page, {label}", lambda t, _, data=data: t.raw(data), lambda a, _: a.status == 200, via="tcp")
    c.probe(
        "create with the Host of a page",
        lambda t, _: t.raw(create().replace(b"Host: engine", b"Host: evil.example:2375")),
        lambda a, _: a.status == 201,
        via="tcp",
    )


@vector(26, "connections that never end")
def slow(c):
    gate = c.rig.gates["conservative"]
    held = []
    for n in range(200):
        conn = Conn(gate.address)
        conn.send(
            [
                b"",
                b"G",
                b"POST /containers/create HTTP/1.1\r\nHost: d\r\n",
                request("POST", "/containers/create", "x" * 99, keep=True)[:-90],
                request("GET", "/events", keep=True),
            ][n % 5]
        )
        held.append(conn)
    c.expect("200 of them stop nobody", gate.call("GET", "/_ping", version="").status == 200)
    for conn in held:
        conn.sock.close()
    c.declare("no elevation; the engine waits 5 min for a head")


@vector(27, "identity by source address")
def source_address(c):
    kinds = ("address", "source-ip", "ip", "peer")
    for kind in kinds:
        said = c.rig.check(
            f'[engine]\nurl = "unix:///x"\n[[listener]]\nname = "l"\nurl = "unix:///y"\nauth = ["a"]\n[auth.a]\nkind = "{kind}"\n'
        )
        c.expect(f"no auth kind {kind}", "there is no authenticator" in said, said)
    c.notes = []
    c.declare("no kind of `auth` recognises callers by address")


@vector(28, "identity by uid: every container's root is uid 0")
def uid_zero(c):
    own = c.rig.gate_socket("conservative")
    c.create(
        "the listener's socket as a bind", {"Binds": [f"{own}:/var/run/docker.sock"]}, bites=lambda i: own in i["HostConfig"]["Binds"][0]
    )
    c.create(
        "the listener's socket as a mount",
        {"Mounts": [{"Type": "bind", "Source": own, "Target": "/s"}]},
        bites=lambda i: i["HostConfig"]["Mounts"][0]["Source"] == own,
    )
    c.create(
        "even where its folder may be bound",
        {"Binds": [f"{own}:/var/run/docker.sock"]},
        bites=lambda i: own in i["HostConfig"]["Binds"][0],
        via="wide",
    )


WEBSOCKET = ["Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="]


class Recorder:
    """A gate of its own before an engine that writes down what it gets."""

    def __init__(self, rig):
        self.rig = rig
        self.path, self.gate = str(rig.work / "recorder.sock"), "recorded"
        self.sock = socket.socket(socket.AF_UNIX)

    def __enter__(self):
        self.sock.bind(self.path)
        self.sock.listen()
        self.sock.settimeout(SECONDS)
        text = f'[engine]\nurl = "unix://{self.path}"\n[[listener]]\nname = "recorded"\nurl = "unix://{self.rig.gate_socket("recorded")}"\npolicies = ["conservative"]\n'
        self.process = self.rig.serve("recorder", text)
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(SECONDS)
        self.rig.processes.remove(self.process)
        self.sock.close()
        os.unlink(self.path)

    def sees(self, data):
        """The head of the request for `data` as the engine gets it; a gate's own questions are answered."""
        client = Conn(self.rig.gates["recorded"].address)
        client.send(data)
        try:
            while True:
                conn, _ = self.sock.accept()
                with conn:
                    conn.settimeout(SECONDS)
                    while head := self.head(conn):
                        own = head.startswith(("GET /_ping", "HEAD /_ping", "GET /version"))
                        body = b'{"ApiVersion":"1.41","MinAPIVersion":"1.24"}' if own else b"[]"
                        conn.sendall(
                            b"HTTP/1.1 200 OK\r\nApi-Version: 1.41\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
                            % len(body)
                            + (b"" if head.startswith("HEAD") else body)
                        )
                        if not own:
                            return head
        finally:
            client.sock.close()

    @staticmethod
    def head(conn):
        data = b""
        while b"\r\n\r\n" not in data:
            got = conn.recv(1)
            if not got:
                return ""
            data += got
        return data.decode()
