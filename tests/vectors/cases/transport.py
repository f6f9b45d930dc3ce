"""1-3, 20-23: connections, upgrades, tunnels."""

import json
import socket
import ssl

from lib.case import vector
from lib.wire import SECONDS, Conn, converse, request

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
        # what bites ends with the end of the stream; what does not, may leave the other side waiting for more
        return Heard(converse(target.address, target.last, SECONDS if target.direct and not more.get("maybe") else 1))

    c.probe(label, send, lambda answer, _: privileged_here(c), **more)


class Upgraded:
    """What comes behind an upgrade. What dockgate says there is its own, whatever the status."""

    engines = False

    def __init__(self, answer):
        self.answer, self.status, self.upgraded = answer, answer.status, answer.status == 101
        self.behind = b""
        self.body = answer.body

    def listen(self, conn, asks, seconds):
        conn.send(asks)
        conn.sock.settimeout(seconds)
        try:
            while piece := conn.sock.recv(65536):
                conn.buffer += piece
                if conn.buffer.startswith(b"PRI") or any(kind == DATA or (kind == HEADERS and flags & END_STREAM) for kind, flags in frames(conn.buffer)):
                    break
        except TimeoutError:
            pass
        self.behind = conn.buffer

    def __str__(self):
        return f"{self.answer} | {self.behind[:200]!r}"


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
            # `:status: 200` is one byte (RFC 7541, appendix A); a refusal has another
            heard.answered = 1 in frame_types(data) and b"\x01\x04\0\0\0\x01\x88" in data
            return heard

    c.probe(
        "an answer in HTTP/2",
        send,
        lambda answer, _: answer.answered,
        inert="engines before 29.2 speak no HTTP/2 to a preface",
        may_pass=True,
    )


def frame_types(data):
    return {kind for kind, _ in frames(data)}


def frames(data):
    """Type and flags of each HTTP/2 frame."""
    at = 0
    while at + 9 <= len(data) and not data.startswith(b"HTTP/1"):
        size = int.from_bytes(data[at : at + 3], "big")
        if at + 9 + size <= len(data):
            yield data[at + 3], data[at + 4]
        at += 9 + size


DATA, HEADERS, END_STREAM = 0, 1, 1


def grpc_call(method):
    """HEADERS and DATA of stream 1: a gRPC method with an empty message, literals without Huffman and without index."""

    def field(name, value):
        return b"\0" + bytes([len(name)]) + name + bytes([len(value)]) + value

    fields = b"\x83\x86" + field(b":path", method) + field(b":authority", b"engine")
    fields += field(b"content-type", b"application/grpc") + field(b"te", b"trailers")
    message = b"\0" + bytes(4)
    head = len(fields).to_bytes(3, "big") + b"\x01\x04\0\0\0\x01" + fields
    return head + len(message).to_bytes(3, "big") + b"\0\x01\0\0\0\x01" + message


@vector(2, "ALPN h2 over TLS")
def alpn(c):
    def chosen(address, certs, offer):
        context = ssl.create_default_context(cafile=certs / "ca.pem")
        context.check_hostname = False
        context.load_cert_chain(certs / "cert.pem", certs / "key.pem")
        context.set_alpn_protocols(offer)
        try:
            with socket.create_connection(address, timeout=SECONDS) as sock, context.wrap_socket(sock) as tls:
                return tls.selected_alpn_protocol()
        except ssl.SSLError:
            return "refused"

    for offer in (["h2"], ["h2", "http/1.1"]):
        direct = chosen((c.rig.address, 2376), c.rig.dir / "certs", offer)
        gated = chosen(c.rig.gates["tls"].address, c.rig.work / "certs", offer)
        # who offers nothing else is served HTTP/2, whose requests are judged (200 and on); no other client comes to speak it
        wanted = "http/1.1" if "http/1.1" in offer else "h2"
        c.expect(f"{offer} gives {gated}", direct != "h2" and gated == wanted, f"engine {direct}, gate {gated}")
    c.declare("engines before 29 choose http/1.1 too")


@vector(3, "opaque tunnels POST /grpc and POST /session")
def tunnels(c):
    """It bites when the engine's BuildKit answers a method that shows what others have built. The gate lets the upgrade in,
    looks at what is asked, and answers this one with status 7. Sessions are vectors of their own (223 and on)."""

    def bites(answer, _):
        return answer.upgraded and (DATA in frame_types(answer.behind) or answer.behind.startswith(b"PRI * HTTP/2.0"))

    for n, (path, version) in enumerate((("/grpc", ""), ("/grpc", None))):
        for upgrade in ("h2c", "H2C"):
            headers = [
                "Connection: Upgrade",
                f"Upgrade: {upgrade}",
                f"X-Docker-Expose-Session-Uuid: v3{n}{upgrade}",
                "X-Docker-Expose-Session-Name: x",
            ]

            def send(target, _, path=path, version=version, headers=headers):
                target.last = request("POST", target.path(path, version), headers=headers, keep=True)
                asks = PREFACE + grpc_call(b"/moby.buildkit.v1.Control/DiskUsage")
                with Conn(target.address) as conn:
                    heard = Upgraded(conn.send(target.last).answer())
                    if heard.upgraded:
                        # who does not speak in a session (the gate) says nothing for a while; everything else comes
                        heard.listen(conn, asks, SECONDS if target.direct or asks else 1)
                    return heard

            c.probe(f"{path} {version} {upgrade}", send, bites, maybe=upgrade == "H2C", may_pass=True)


@vector(20, "a tunnel before the engine's 101")
def early_tunnel(c):
    up = ["Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA"]
    pipeline(c, "h2c upgrade of a ping", request("GET", "/_ping", headers=up, keep=True) + create())
    pipeline(
        c,
        "websocket upgrade of a ping",
        request(
            "GET",
            "/_ping",
            headers=[
                "Connection: Upgrade",
                "Upgrade: websocket",
                "Sec-WebSocket-Version: 13",
                "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
            ],
            keep=True,
        )
        + create(),
    )
    pipeline(c, "CONNECT", b"CONNECT /_ping HTTP/1.1\r\nHost: engine\r\n\r\n" + create(), maybe=True)
    pipeline(c, "CONNECT host:port", b"CONNECT engine:80 HTTP/1.1\r\nHost: engine:80\r\n\r\n" + create(), maybe=True)
    pipeline(
        c,
        "upgrade of a create",
        request("POST", "/containers/create", {"Image": "busybox"}, headers=["Connection: Upgrade", "Upgrade: tcp"], keep=True) + create(),
    )


@vector(21, "hijack with 200 and no Upgrade")
def hijack_200(c):
    def setup():
        ident = c.make(start=True)
        made = c.rig.admin("POST", f"/containers/{ident}/exec", {"Cmd": ["true"], "AttachStdout": True}).json()["Id"]
        return {"id": ident, "exec": made}

    begin = {"Detach": False, "Tty": False}
    # who takes these for tunnels lets the second request through unread; the engine serves it
    pipeline(c, "start of an exec that is not there", request("POST", "/exec/" + "0" * 64 + "/start", begin, keep=True) + create())
    pipeline(
        c, "detached start", lambda s: request("POST", f"/exec/{s['exec']}/start", {"Detach": True}, keep=True) + create(), setup=setup
    )
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

    pipeline(
        c,
        "detached with an upgrade",
        lambda s: request("POST", f"/exec/{s['exec']}/start", {"Detach": True}, headers=up, keep=True) + create(),
        setup=setup,
    )
    pipeline(
        c,
        "start with another kind of body",
        lambda s: request("POST", f"/exec/{s['exec']}/start", "{}", kind="text/plain", headers=up, keep=True) + create(),
        setup=setup,
    )
    pipeline(c, "attach to nothing", request("POST", "/containers/nothing/attach?stream=1", headers=up, keep=True) + create(), maybe=True)


@vector(23, "half-close lost")
def half_close(c):
    def send(target):
        ident = c.make(start=True)
        made = target.call(
            "POST", f"/containers/{ident}/exec", {"Cmd": ["sh", "-c", "wc -c; echo end"], "AttachStdin": True, "AttachStdout": True}
        )
        if made.status != 201:
            return made
        with Conn(target.address) as conn:
            target.last = request(
                "POST", f"/exec/{made.json()['Id']}/start", {"Detach": False}, headers=["Connection: Upgrade", "Upgrade: tcp"], keep=True
            )
            head = conn.send(target.last).head()
            conn.send(b"x" * 300_000)
            conn.half_close()
            return head.status, b"300000\n" in (data := conn.take_all()) and b"end" in data

    c.works("output after the end of stdin", send, lambda got: got == (101, True))
