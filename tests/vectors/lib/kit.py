"""BuildKit's protocol by hand: gRPC calls behind `/grpc`, sessions behind `/session`, solves of graphs and Dockerfiles."""

import hashlib
import json
import os
import threading
import time
import urllib.parse

from .h2 import DATA, END_STREAM, H2
from .proto import Raw, get, msg, read
from .wire import SECONDS, Conn, request

CONTROL, BRIDGE = "/moby.buildkit.v1.Control/", "/moby.buildkit.v1.frontend.LLBBridge/"
UPGRADE = ["Connection: Upgrade", "Upgrade: h2c"]
STATUS = {2: 400, 3: 400, 5: 404, 6: 409, 7: 403, 8: 429, 12: 501, 16: 401}
BUSYBOX = "docker-image://docker.io/library/busybox:latest"


def unique(word="dgv"):
    return word + os.urandom(9).hex()


class Reply:
    """What a call was answered with, in the shape that cases judge: refused by dockgate, or by the source policy that it has
    put into the build, or else by the engine."""

    def __init__(self, stream=None, why=""):
        s = stream
        self.code = int(s.get("grpc-status") or -1) if s and s.get("grpc-status") else None
        self.http = s.get(":status") if s else None
        self.message = urllib.parse.unquote((s.get("grpc-message") if s else None) or why)
        self.data, self.reset = s.data if s else b"", s.reset if s else None
        self.hangs = bool(s) and not s.done and not why
        self.messages = unframed(self.data)
        if self.http and self.http != "200":
            self.status = 501 if self.http == "505" else int(self.http)
            self.message = self.message or self.data.decode(errors="replace")
        else:
            self.status = 200 if self.code == 0 else STATUS.get(self.code, 500)
        is_cut = s is not None and s.done and not s.fields or bool(why)
        if is_cut:
            self.status, self.message = 400, self.message or "dockgate: (the stream was reset)"
        by_policy = "denied by policy" in self.message or "evaluating the source policy" in self.message
        # in BuildKit's words; itself it says so with another code
        words = {5: ("no active session for ", "no such job ", "content sha256:"), 6: ("build ", "session ")}
        is_absent = self.message.startswith(words.get(self.code, ("dockgate: ",)))
        self.engines = not (is_cut or by_policy or is_absent or "dockgate: " in self.message)
        if by_policy and self.status >= 500:
            self.status = 403
        said = "dockgate: the engine (rule of the source policy)" if by_policy else self.message[self.message.find("dockgate: ") :]
        if self.http and self.http != "200":
            said = self.message
            self.engines = "dockgate: " not in said
            said = json.loads(said)["message"] if said.startswith("{") else said
        self.body = json.dumps({"message": said}).encode()

    @property
    def good(self):
        return self.code == 0

    @property
    def text(self):
        return self.data.decode(errors="replace")

    def json(self):
        return json.loads(self.body)

    def header(self, _):
        return None

    def __str__(self):
        how = f"reset {self.reset}" if self.reset is not None else "no end" if self.hangs else f"code {self.code}"
        return f"gRPC {how} http {self.http}: {self.message[:400]} {self.data[:120]!r}"


def framed(message, flag=0, length=None):
    return bytes([flag]) + (len(message) if length is None else length).to_bytes(4, "big") + message


def unframed(data):
    out, at = [], 0
    while at + 5 <= len(data):
        size = int.from_bytes(data[at + 1 : at + 5], "big")
        out.append(data[at + 5 : at + 5 + size])
        at += 5 + size
    return out


def head(path, metadata=(), kind="application/grpc", method="POST", te=True):
    more = [("te", "trailers")] if te else []
    return [(":method", method), (":scheme", "http"), (":path", path), (":authority", "localhost"), ("content-type", kind), *more, *metadata]


class Refused(Exception):
    """The connection was not upgraded."""

    def __init__(self, answer):
        super().__init__(str(answer))
        self.answer = answer


def upgraded(target, path, headers=(), body=None, early=b""):
    """A connection behind an upgrade; `early` is sent with the request."""
    target.last = target.signed(request("POST", path, body, headers=[*UPGRADE, *headers], keep=True))
    conn = Conn(target.address)
    answer = conn.send(target.last + early).answer()
    if answer.status != 101:
        conn.sock.close()
        raise Refused(answer)
    return conn


class Grpc:
    """A client behind `/grpc`."""

    def __init__(self, target):
        conn = upgraded(target, "/grpc")
        self.target, self.h2 = target, H2(conn.sock, conn.buffer)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.h2.close()

    def start(self, path, message=b"", metadata=(), raw=None, end=True, **more):
        """The stream of a call; `raw` is what its DATA hold instead of one message."""
        self.target.last = f"{path} {dict(metadata)}\r\n\r\n".encode() + (message if raw is None else raw)
        return self.h2.open(head(path, metadata, **more), framed(message) if raw is None else raw, end)

    def wait(self, ident, seconds=SECONDS):
        """`seconds` are for what the engine may leave open: the gate answers, however late."""
        seconds = seconds if self.target.direct else SECONDS
        return Reply(self.h2.wait(ident, seconds), "" if not self.h2.closed else f"the connection is gone: {self.h2.goaway!r}")

    def call(self, path, message=b"", metadata=(), seconds=SECONDS, **more):
        return self.wait(self.start(path, message, metadata, **more), seconds)


def call(target, path, message=b"", metadata=(), seconds=SECONDS, **more):
    """One call, one connection."""
    try:
        with Grpc(target) as grpc:
            return grpc.call(path, message, metadata, seconds, **more)
    except Refused as refused:
        return refused.answer


class Session:
    """A client's process: the engine asks, and each method that it asks for is written down. `answers` are by the end of the
    path: a function of the request's messages (and its fields) to messages, or a code of gRPC's."""

    def __init__(self, target, ident=None, answers=None, methods=(), headers=()):
        self.ident, self.asked = ident or unique(), []
        self.answers = {"Health/Check": lambda *_: [msg((1, 1))], **(answers or {})}
        methods = methods or ("/moby.filesync.v1.FileSync/DiffCopy", "/moby.buildkit.secrets.v1.Secrets/GetSecret", "/moby.filesync.v1.Auth/Credentials", "/moby.filesync.v1.FileSend/DiffCopy", "/moby.sshforward.v1.SSH/CheckAgent", "/moby.sshforward.v1.SSH/ForwardAgent")
        told = [f"X-Docker-Expose-Session-Grpc-Method: {method}" for method in methods]
        names = [f"X-Docker-Expose-Session-Uuid: {self.ident}", "X-Docker-Expose-Session-Name: dgv", *told, *headers]
        conn = upgraded(target, "/session", names)
        self.h2 = H2(conn.sock, conn.buffer, server=True)
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.h2.close()
        self.thread.join(5)

    def was_asked(self, what=""):
        """For more than whether it is alive."""
        return [path for path in self.asked if "Health" not in path and what in path]

    def run(self):
        begun = set()
        while True:
            try:
                got = self.h2.step(600)
            except (TimeoutError, ValueError, IndexError):
                return
            if got is None:
                return
            kind, flags, ident, _ = got
            s = self.h2.streams.get(ident)
            path = s and s.get(":path") or self.path(s)
            if not path:
                continue
            if ident not in begun:
                begun.add(ident)
                self.asked.append(path)
            answer = next((answer for end, answer in self.answers.items() if path.endswith(end)), 12)
            if isinstance(answer, int):
                if s.ended or kind != DATA:
                    self.end(ident, answer, opened=False)
            elif isinstance(answer, Files):
                answer.feed(self, ident, s)
            elif s.ended:
                self.say(ident, answer(unframed(s.data), s.fields))
                self.end(ident, 0)

    def path(self, s):
        """`:path` by an index of the static table is no path of gRPC's."""
        return next((v for k, v in s.fields if k in ("#4", "#5", ":path") and v.startswith("/")), None) if s else None

    def say(self, ident, messages):
        self.h2.write(self.opening(ident))
        for message in messages:
            self.h2.data(ident, framed(message), end=False)

    def opening(self, ident):
        from .h2 import END_HEADERS, HEADERS, fields, frame

        return frame(HEADERS, END_HEADERS, ident, fields([(":status", "200"), ("content-type", "application/grpc")]))

    def end(self, ident, code, opened=True):
        from .h2 import END_HEADERS, HEADERS, fields, frame

        if not opened:
            self.h2.write(self.opening(ident))
        self.h2.write(frame(HEADERS, END_HEADERS | END_STREAM, ident, fields([("grpc-status", str(code))])))


class Files:
    """`FileSync/DiffCopy` of a folder with these files (fsutil's protocol: first all names, then what is asked for)."""

    def __init__(self, links=None, **files):
        links = links or {}
        self.files = [(name, text.encode() if isinstance(text, str) else text) for name, text in sorted({**files, **dict.fromkeys(links, "")}.items())]
        self.links = links
        self.seen, self.opened = {}, set()

    def feed(self, session, ident, s):
        if ident not in self.opened:
            self.opened.add(ident)
            mode = lambda name: 1 << 27 | 0o777 if name in self.links else 0o644  # noqa: E731
            stats = [msg((2, msg((1, name), (2, mode(name)), (5, len(text)), (6, 1), (7, self.links.get(name))))) for name, text in self.files]
            session.say(ident, [*stats, b""])
        packets = unframed(s.data)
        for packet in packets[self.seen.get(ident, 0) :]:
            kind = get(packet, 1, 0)
            number = get(packet, 3, 0)
            if kind == 1 and number < len(self.files):  # REQ
                text = self.files[number][1]
                for piece in ([text] if text else []) + [b""]:
                    session.h2.data(ident, framed(msg((1, 2), (3, number), (4, piece))), end=False)
            elif kind == 3:  # FIN
                session.h2.data(ident, framed(msg((1, 3))), end=False)
                session.end(ident, 0)
        self.seen[ident] = len(packets)


def secret(text):
    return {"GetSecret": lambda *_: [msg((1, text))]}


# ---- graphs ----


class Graph:
    """LLB: operations in their order, each with its digest; `definition` ends in the last one."""

    def __init__(self):
        self.ops, self.digest, self.digests = [], None, []

    def add(self, *fields):
        op = msg(*fields)
        self.ops.append(op)
        self.digest = "sha256:" + hashlib.sha256(op).hexdigest()
        self.digests.append(self.digest)
        return self.digest

    def source(self, identifier, attrs=None):
        return self.add((3, msg((1, identifier), (2, attrs or {}))))

    def run(self, script, base, *, mounts=(), network=None, security=None, meta=(), more=()):
        """A shell in the image `base`; `mounts` are messages besides its root."""
        process = msg((1, ["/bin/sh", "-c", script]), (2, [f"PATH=/bin", f"N={unique()}"]), (3, "/"), *meta)
        root = msg((1, 0), (3, "/"), (4, 0))
        return self.add(
            (1, msg((1, base))),
            (2, msg((1, process), (2, [root, *mounts]), (3, network), (4, security), *more)),
        )

    def definition(self, *more):
        last = msg((1, msg((1, self.digest))))
        return msg((1, [*self.ops, last]), (2, {digest: b"" for digest in self.digests}), *more)


def shell(script, **more):
    graph = Graph()
    graph.run(script, graph.source(BUSYBOX), **more)
    return graph.definition()


def fetching(identifier, attrs=None):
    """A graph that makes the engine fetch this."""
    graph = Graph()
    graph.source(identifier, attrs)
    return graph.definition()


# ---- solves ----


def solve_message(ref=None, definition=None, *, session=None, frontend=None, attrs=None, entitlements=(), cache=None, inputs=None, policy=None, exporter=None, exporter_attrs=None, more=()):
    return msg(
        (1, ref or unique()),
        (2, definition),
        (3, exporter),
        (4, exporter_attrs or {}),
        (5, session),
        (6, frontend),
        (7, attrs or {}),
        (8, cache),
        (9, list(entitlements)),
        (10, inputs or {}),
        (12, policy),
        *more,
    )


def solve(target, definition=None, *, seconds=SECONDS, **more):
    return call(target, CONTROL + "Solve", solve_message(definition=definition, **more), seconds=seconds)


def dockerfile(target, text, *, attrs=None, answers=None, seconds=SECONDS, **more):
    """A build of a Dockerfile whose client is this session."""
    try:
        with Session(target, answers={"FileSync/DiffCopy": Files(Dockerfile=text, x="x\n"), **(answers or {})}) as session:
            asked = {"filename": "Dockerfile", "no-cache": "", **(attrs or {})}
            asked = {key: value for key, value in asked.items() if value is not None}
            return solve(target, session=session.ident, frontend="dockerfile.v0", attrs=asked, seconds=seconds, **more)
    except Refused as refused:
        return refused.answer


class Gateway:
    """A build whose client is its frontend, as buildx is: `LLBBridge`'s calls are of it as long as it has not returned."""

    def __init__(self, target, *, session=None, **more):
        self.grpc, self.ref = Grpc(target), unique()
        self.session = session or Session(target)
        message = solve_message(self.ref, session=self.session.ident, **more)
        self.solving = self.grpc.start(CONTROL + "Solve", message)

    def __enter__(self):
        self.refusal = None
        solving = self.grpc.h2.stream(self.solving)
        # until it is known to the engine, or will never be
        end = time.monotonic() + SECONDS
        while not self.call("Ping").good and time.monotonic() < end:
            if solving.done:
                self.refusal = self.grpc.wait(self.solving)
                break
            time.sleep(0.05)
        return self

    def __exit__(self, *_):
        if not self.refusal:
            last = self.grpc.target.last
            self.call("Return", msg((2, msg((1, 2), (2, "enough")))))
            self.grpc.target.last = last
        self.grpc.wait(self.solving, 5)
        self.grpc.h2.close()
        self.session.h2.close()

    @property
    def metadata(self):
        return [("buildkit-controlapi-buildid", self.ref)]

    def call(self, method, message=b"", **more):
        return self.refusal or self.grpc.call(BRIDGE + method, message, self.metadata, **more)

    def solved(self, definition):
        """The answer, and by what its result is called."""
        answer = self.call("Solve", msg((1, definition), (5, True), (6, True), (14, True)))
        result = get(answer.messages[0], 3) if answer.good else b""
        return answer, (get(get(result, 3), 1) or get(result, 1)).decode()


def bridged(target, method, message, **more):
    """One call of a build of this client's own."""
    try:
        with Gateway(target) as build:
            return build.call(method, message, **more)
    except Refused as refused:
        return refused.answer


__all__ = [name for name in dir() if not name.startswith("_")] + ["Raw", "read"]
