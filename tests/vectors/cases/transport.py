"""1-3, 20-28: connections, upgrades, and who is at the other end."""

import json
import os
import socket
import ssl

from lib.case import vector
from lib.wire import Conn, converse, exchange, request

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\x04\0\0\0\0\0"
PRIVILEGED = json.dumps({"Image": "busybox", "HostConfig": {"Privileged": True}})


def create(path="/containers/create", **more):
    return request("POST", path, PRIVILEGED, **more)


def privileged_here(c):
    """Is there a container with `Privileged` in the engine?"""
    ids = [x["Id"] for x in c.rig.admin("GET", "/containers/json?all=1").json()]
    return any(c.inspect(i)["HostConfig"]["Privileged"] for i in ids)


def pipeline(c, label, data, **more):
    """A piece of bytes with a second request hidden in it: has a privileged container been made?"""
    def send(target, state):
        target.last = data(state) if callable(data) else data
        c.heard = converse(target.address, target.last)
        return Heard(c.heard)
    c.probe(label, send, lambda answer, _: privileged_here(c), **more)


class Heard:
    """The raw answers of a connection, judged by what the engine has done: the first of them may well be good."""
    engines, status = False, 200

    def __init__(self, text):
        self.text = text

    def __str__(self):
        return repr(self.text[:300])


@vector(1, "HTTP/2 preface by prior knowledge")
def preface(c):
    # HEADERS of stream 1, END_STREAM and END_HEADERS: GET http /_ping, literals without Huffman
    fields = b"\x82\x86\x44\x06/_ping\x41\x06engine"
    ping = len(fields).to_bytes(3, "big") + b"\x01\x05\0\0\0\x01" + fields

    def send(target, _):
        target.last = PREFACE + ping
        with Conn(target.address) as conn:
            conn.send(target.last).half_close()
            data = conn.take_all()
            heard = Heard(repr(data))
            heard.answered = 1 in frame_types(data)
            return heard
    c.probe("an answer in HTTP/2", send, lambda answer, _: answer.answered, inert="engines before 29.2 speak no HTTP/2 to a preface", may_pass=True)


def frame_types(data):
    found, at = set(), 0
    while at + 9 <= len(data) and not data.startswith(b"HTTP/1"):
        found.add(data[at + 3])
        at += 9 + int.from_bytes(data[at : at + 3], "big")
    return found


@vector(2, "ALPN h2 over TLS")
def alpn(c):
    def chosen(address, certs, offer):
        context = ssl.create_default_context(cafile=certs / "ca.pem")
        context.check_hostname = False
        context.load_cert_chain(certs / "cert.pem", certs / "key.pem")
        context.set_alpn_protocols(offer)
        try:
            with socket.create_connection(address, timeout=10) as sock, context.wrap_socket(sock) as tls:
                return tls.selected_alpn_protocol()
        except ssl.SSLError:
            return "refused"
    for offer in (["h2"], ["h2", "http/1.1"]):
        direct = chosen((c.rig.address, 2376), c.rig.dir / "certs", offer)
        gated = chosen(c.rig.gates["tls"].address, c.rig.work / "certs", offer)
        c.expect(f"{offer} gives {gated}", direct != "h2" and gated != "h2", f"engine {direct}, gate {gated}")
    c.declare("engines before 29 choose http/1.1 too")


@vector(3, "opaque tunnels POST /grpc and POST /session")
def tunnels(c):
    for n, (path, version) in enumerate((("/grpc", ""), ("/session", ""), ("/grpc", None), ("/session", None))):
        for upgrade in ("h2c", "H2C"):
            headers = ["Connection: Upgrade", f"Upgrade: {upgrade}", f"X-Docker-Expose-Session-Uuid: v3{n}{upgrade}", "X-Docker-Expose-Session-Name: x"]

            def send(target, _, path=path, version=version, headers=headers):
                target.last = request("POST", target.path(path, version), headers=headers, keep=True)
                with Conn(target.address) as conn:
                    return conn.send(target.last).answer()
            c.probe(f"{path} {version} {upgrade}", send, lambda answer, _: answer.status == 101, maybe=upgrade == "H2C")


@vector(20, "a tunnel before the engine's 101")
def early_tunnel(c):
    up = ["Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA"]
    pipeline(c, "h2c upgrade of a ping", request("GET", "/_ping", headers=up, keep=True) + create())
    pipeline(c, "websocket upgrade of a ping", request("GET", "/_ping", headers=["Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="], keep=True) + create())
    pipeline(c, "CONNECT", b"CONNECT /_ping HTTP/1.1\r\nHost: engine\r\n\r\n" + create(), maybe=True)
    pipeline(c, "CONNECT host:port", b"CONNECT engine:80 HTTP/1.1\r\nHost: engine:80\r\n\r\n" + create(), maybe=True)
    pipeline(c, "upgrade of a create", request("POST", "/containers/create", {"Image": "busybox"}, headers=["Connection: Upgrade", "Upgrade: tcp"], keep=True) + create())


@vector(21, "hijack with 200 and no Upgrade")
def hijack_200(c):
    def setup():
        ident = c.make(start=True)
        made = c.rig.admin("POST", f"/containers/{ident}/exec", {"Cmd": ["true"], "AttachStdout": True}).json()["Id"]
        return {"id": ident, "exec": made}
    begin = {"Detach": False, "Tty": False}
    # who takes these for tunnels lets the second request through unread; the engine serves it
    pipeline(c, "start of an exec that is not there", request("POST", "/exec/" + "0" * 64 + "/start", begin, keep=True) + create())
    pipeline(c, "detached start", lambda s: request("POST", f"/exec/{s['exec']}/start", {"Detach": True}, keep=True) + create(), setup=setup)
    pipeline(c, "logs", lambda s: request("GET", f"/containers/{s['id']}/logs?stdout=1", keep=True) + create(), setup=setup)
    pipeline(c, "resize", lambda s: request("POST", f"/containers/{s['id']}/resize?h=1&w=1", keep=True) + create(), setup=setup)

    # stdin of an exec that looks like a request stays stdin, and like an answer, an answer to nobody else
    def send(target):
        ident = c.make(start=True)
        made = target.call("POST", f"/containers/{ident}/exec", {"Cmd": ["cat"], "AttachStdin": True, "AttachStdout": True})
        if made.status != 201:
            return made
        with Conn(target.address) as conn:
            target.last = request("POST", f"/exec/{made.json()['Id']}/start", begin, keep=True)
            head = conn.send(target.last).head()
            conn.send(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\npoisoned" + create())
            conn.half_close()
            data = conn.take_all()
        answers = {target.call("GET", "/_ping", version="").text for _ in range(10)}
        return head.status, b"poisoned" in data, privileged_here(c), answers
    c.works("stdin stays stdin", send, lambda got: got == (200, True, False, {"OK"}))


@vector(22, "bytes pipelined behind an upgrade")
def behind_upgrade(c):
    up = ["Connection: Upgrade", "Upgrade: tcp"]
    missing = "/exec/" + "0" * 64 + "/start"
    pipeline(c, "exec that is not there", request("POST", missing, {"Detach": False}, headers=up, keep=True) + create())

    def setup():
        ident = c.make(start=True)
        return {"exec": c.rig.admin("POST", f"/containers/{ident}/exec", {"Cmd": ["true"], "AttachStdout": True}).json()["Id"]}
    pipeline(c, "detached with an upgrade", lambda s: request("POST", f"/exec/{s['exec']}/start", {"Detach": True}, headers=up, keep=True) + create(), setup=setup)
    pipeline(c, "start with another kind of body", lambda s: request("POST", f"/exec/{s['exec']}/start", "{}", kind="text/plain", headers=up, keep=True) + create(), setup=setup)
    pipeline(c, "attach to nothing", request("POST", "/containers/nothing/attach?stream=1", headers=up, keep=True) + create(), maybe=True)


@vector(23, "half-close lost")
def half_close(c):
    def send(target):
        ident = c.make(start=True)
        made = target.call("POST", f"/containers/{ident}/exec", {"Cmd": ["sh", "-c", "wc -c; echo end"], "AttachStdin": True, "AttachStdout": True})
        if made.status != 201:
            return made
        with Conn(target.address) as conn:
            target.last = request("POST", f"/exec/{made.json()['Id']}/start", {"Detach": False}, headers=["Connection: Upgrade", "Upgrade: tcp"], keep=True)
            head = conn.send(target.last).head()
            conn.send(b"x" * 300_000)
            conn.half_close()
            return head.status, b"300000\n" in (data := conn.take_all()) and b"end" in data
    c.works("output after the end of stdin", send, lambda got: got == (101, True))


@vector(24, "hop-by-hop and identity headers")
def identity_headers(c):
    with Recorder(c.rig) as engine:
        sent = ["X-Forwarded-For: 10.0.0.1", "X-Forwarded-Proto: https", "Forwarded: for=10.0.0.1", "Authorization: Basic cm9vdDpyb290", "Proxy-Authorization: Basic x",
                "Cookie: a=b", "Keep-Alive: timeout=5", "TE: trailers", "X-Nominated: 1", "Connection: close, x-nominated", "Upgrade: h2c", "Proxy-Connection: keep-alive"]
        head = engine.sees(b"GET /v1.41/containers/json HTTP/1.1\r\nHost: evil.example\r\n" + "\r\n".join(sent).encode() + b"\r\n\r\n").lower()
        for name in ("x-forwarded", "forwarded:", "authorization", "cookie", "keep-alive:", "te:", "x-nominated", "upgrade", "proxy-", "evil.example"):
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
        c.call(f"form posted to /build?remote= ({via})", "POST", f"/build?remote=http://{canary.at}/x", "a=b", kind="application/x-www-form-urlencoded", headers=page, version="",
               setup=lambda: canary.hits, bites=hits, via=via)
    c.call("GET with an Origin", "GET", "/containers/json", headers=page, version="", bites=lambda a, _: a.status == 200, via="tcp")
    c.call("create with an Origin", "POST", "/containers/create", PRIVILEGED, headers=page, version="", bites=lambda a, _: a.status == 201, via="tcp")
    c.call("simple create, text/plain", "POST", "/containers/create", PRIVILEGED, kind="text/plain", headers=page, version="", bites=lambda a, _: a.status == 201, via="tcp", inert="the engine wants application/json here")
    c.call("websocket attach of a page", "GET", "/containers/{id}/attach/ws?stream=1&stdin=1", headers=page + WEBSOCKET, version="", bites=lambda a, _: a.status == 101, keep=True, via="tcp",
           setup=lambda: {"id": c.make(start=True, OpenStdin=True)})
    # by DNS rebinding a page is same-origin: its GET has no Origin, only the Host of the page
    c.probe("Host of a page", lambda t, _: t.raw(b"GET /containers/json HTTP/1.1\r\nHost: evil.example:2375\r\nConnection: close\r\n\r\n"), lambda a, _: a.status == 200, via="tcp")
    c.probe("create with the Host of a page", lambda t, _: t.raw(create().replace(b"Host: engine", b"Host: evil.example:2375")), lambda a, _: a.status == 201, via="tcp")


@vector(26, "connections that never end")
def slow(c):
    gate = c.rig.gates["conservative"]
    held = []
    for n in range(200):
        conn = Conn(gate.address)
        conn.send([b"", b"G", b"POST /containers/create HTTP/1.1\r\nHost: d\r\n", request("POST", "/containers/create", "x" * 99, keep=True)[:-90], request("GET", "/events", keep=True)][n % 5])
        held.append(conn)
    c.expect("200 of them stop nobody", gate.call("GET", "/_ping", version="").status == 200)
    for conn in held:
        conn.sock.close()
    c.declare("no elevation; the engine waits 5 min for a head")


@vector(27, "identity by source address")
def source_address(c):
    kinds = ("address", "source-ip", "ip", "peer")
    for kind in kinds:
        said = c.rig.check(f'[engine]\nurl = "unix:///x"\n[[listener]]\nname = "l"\nurl = "unix:///y"\nauth = ["a"]\n[auth.a]\nkind = "{kind}"\n')
        c.expect(f"no auth kind {kind}", "there is no authenticator" in said, said)
    c.notes = []
    c.declare("no kind of `auth` recognises callers by address")


@vector(28, "identity by uid: every container's root is uid 0")
def uid_zero(c):
    own = c.rig.gate_socket("conservative")
    c.create("the listener's socket as a bind", {"Binds": [f"{own}:/var/run/docker.sock"]}, bites=lambda i: own in i["HostConfig"]["Binds"][0])
    c.create("the listener's socket as a mount", {"Mounts": [{"Type": "bind", "Source": own, "Target": "/s"}]}, bites=lambda i: i["HostConfig"]["Mounts"][0]["Source"] == own)
    c.create("even where its folder may be bound", {"Binds": [f"{own}:/var/run/docker.sock"]}, bites=lambda i: own in i["HostConfig"]["Binds"][0], via="wide")


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
        self.sock.settimeout(10)
        text = f'[engine]\nurl = "unix://{self.path}"\n[[listener]]\nname = "recorded"\nurl = "unix://{self.rig.gate_socket("recorded")}"\npolicies = ["conservative"]\n'
        self.process = self.rig.serve("recorder", text)
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(5)
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
                    conn.settimeout(10)
                    while head := self.head(conn):
                        own = head.startswith(("GET /_ping", "HEAD /_ping", "GET /version"))
                        body = b'{"ApiVersion":"1.41","MinAPIVersion":"1.24"}' if own else b"[]"
                        conn.sendall(b"HTTP/1.1 200 OK\r\nApi-Version: 1.41\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + (b"" if head.startswith("HEAD") else body))
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
