"""240-268: BuildKit by hand: tricks with protocol buffers, gRPC and HTTP/2, each around a request that is refused when it is said plainly."""

import json
import pathlib


from lib import h2 as frames
from lib.case import vector
from lib.h2 import CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, PING, PREFACE, PRIORITY, RST, SETTINGS, WINDOW, fields, frame, integer
from lib.kit import BUSYBOX, CONTROL, Gateway, Graph, Grpc, Refused, Reply, call, dockerfile, framed, head, shell, solve, solve_message, unique, upgraded
from lib.proto import Raw, field, msg, read, tag, varint
from lib.wire import SECONDS, Conn

from .kit_reach import HOST, kit, netns

SOLVE = CONTROL + "Solve"


def sent(c, label, message, **more):
    """A message by hand; `message(c)` is made anew for each half."""
    kit(c, label, lambda t: call(t, SOLVE, message()), **more)


def host(c, network=field(3, 1)):
    """The graph of a process whose network is said by these bytes."""
    graph = Graph()
    base = graph.source(BUSYBOX)
    process = msg((1, ["/bin/sh", "-c", netns(c)]), (2, ["PATH=/bin", f"N={unique()}"]), (3, "/"))
    graph.add((1, msg((1, base))), (2, msg((1, process), (2, msg((1, 0), (3, "/"), (4, 0))), (3, Raw(network)))))
    return graph.definition()


@vector(240, "protobuf: a field that is there twice")
def fields_twice(c):
    for label, network in (("NONE and then HOST", field(3, 2) + field(3, 1)), ("HOST and then NONE", field(3, 1) + field(3, 2)), ("UNSET and then HOST", field(3, 0) + field(3, 1))):
        sent(c, label, lambda n=network: solve_message(definition=host(c, n), entitlements=HOST), maybe=True)
    sent(c, "Session", lambda: solve_message(session="a", definition=host(c), entitlements=HOST, more=[(5, "b")]))
    sent(c, "Frontend", lambda: solve_message(frontend="dockerfile.v0", definition=host(c), entitlements=HOST, more=[(6, "")]))
    sent(c, "Ref", lambda: solve_message(ref="a" + unique(), definition=host(c), entitlements=HOST, more=[(1, unique())]))


@vector(241, "protobuf: messages that are merged")
def merged(c):
    def apart(first, second):
        """Two of an operation's `exec`, which protobuf makes one."""
        graph = Graph()
        base = graph.source(BUSYBOX)
        process = msg((1, ["/bin/sh", "-c", netns(c)]), (2, ["PATH=/bin", f"N={unique()}"]), (3, "/"))
        parts = {"process": msg((1, process), (2, msg((1, 0), (3, "/"), (4, 0)))), "network": msg((3, 1)), "none": msg((3, 2))}
        graph.add((1, msg((1, base))), (2, parts[first]), (2, parts[second]))
        return graph.definition()

    for first, second in (("process", "network"), ("network", "process")):
        sent(c, f"exec: {first}, {second}", lambda f=first, s=second: solve_message(definition=apart(f, s), entitlements=HOST), maybe=c.rig.engine == "20.10")
    sent(c, "Definition in two", lambda: split(host(c)))
    sent(c, "Cache in two", lambda: solve_message(definition=host(c), entitlements=HOST, cache=b"", more=[(8, b"")]))


def split(definition):
    """A `Solve` whose graph stands in two fields, one of its parts in each."""
    parts = read(definition)
    return msg((1, unique()), *((2, field(n, v)) for n, v in parts), (9, HOST))


@vector(242, "protobuf: fields that nobody knows")
def unknown_fields(c):
    for number, value in ((18, "x"), (99, 1), (536870911, "x"), (1000, b"")):
        sent(c, f"Solve {number}", lambda n=number, v=value: solve_message(definition=shell("true"), more=[(n, v)]))
    sent(c, "in an operation", lambda: solve_message(definition=host(c, field(3, 1) + field(77, "x")), entitlements=HOST))
    sent(c, "of a process", lambda: solve_message(definition=shell("true", more=[(50, 1)])))
    sent(c, "in a map's entry", lambda: solve_message(definition=shell("true"), more=[(7, msg((1, "filename"), (2, "x"), (3, "y")))]))


@vector(243, "protobuf: numbers that are written oddly")
def varints(c):
    for label, network in (
        ("longer than it needs to be", tag(3, 0) + varint(1, 5)),
        ("ten bytes", tag(3, 0) + varint(1, 10)),
        ("eleven bytes", tag(3, 0) + varint(1, 11)),
        ("a long tag", varint(3 << 3, 5) + b"\1"),
        ("a tag of 2^32", varint((1 << 35) | 3 << 3) + b"\1"),
        ("2^32+1", field(3, (1 << 32) + 1)),
        ("2^40+1", field(3, (1 << 40) + 1)),
        ("field 0", tag(0, 0) + b"\1" + field(3, 1)),
    ):
        sent(c, label, lambda n=network: solve_message(definition=host(c, n), entitlements=HOST), maybe=True)
    sent(c, "a length that is longer than it needs to be", lambda: solve_message(definition=None, entitlements=HOST, more=[(2, Raw(tag(2, 2) + varint(len(d := host(c)), 9) + d))]), maybe=True)


@vector(244, "protobuf: wrong wire types")
def wire_types(c):
    good = lambda: solve_message(definition=host(c), entitlements=HOST)  # noqa: E731
    for label, odd in (
        ("a group", tag(90, 3) + field(1, 1) + tag(90, 4)),
        ("a group that does not end", tag(90, 3)),
        ("the end of a group", tag(90, 4)),
        ("groups in groups", tag(90, 3) * 5000 + tag(90, 4) * 5000),
        ("fixed64 for a text", tag(5, 1) + b"12345678"),
        ("fixed32 for a message", tag(8, 5) + b"1234"),
        ("a varint for a text", tag(6, 0) + b"\1"),
        ("type 6", tag(11, 6) + b"x"),
        ("type 7", tag(11, 7) + b"x"),
    ):
        sent(c, label, lambda o=odd: good() + o, maybe=True)
    sent(c, "network as bytes", lambda: solve_message(definition=host(c, field(3, b"\1") + field(3, 1)), entitlements=HOST), maybe=True)
    sent(c, "network packed", lambda: solve_message(definition=host(c, field(3, b"\1\1")), entitlements=HOST), maybe=True)
    sent(c, "network as fixed32", lambda: solve_message(definition=host(c, tag(3, 5) + b"\1\0\0\0" + field(3, 1)), entitlements=HOST), maybe=True)


@vector(245, "protobuf: several of a oneof")
def one_of(c):
    def both(first, second):
        graph = Graph()
        base = graph.source(BUSYBOX)
        process = msg((1, ["/bin/sh", "-c", netns(c)]), (2, ["PATH=/bin", f"N={unique()}"]), (3, "/"))
        parts = {"exec": (2, msg((1, process), (2, msg((1, 0), (3, "/"), (4, 0))), (3, 1))), "file": (4, msg((2, msg((1, 0), (2, -1), (3, 0), (6, msg((1, "/x"), (2, 0o755)))))))}
        graph.add((1, msg((1, base))), parts[first], parts[second])
        return graph.definition()

    sent(c, "file, exec", lambda: solve_message(definition=both("file", "exec"), entitlements=HOST))
    sent(c, "exec, file", lambda: solve_message(definition=both("exec", "file"), entitlements=HOST))


@vector(246, "protobuf: a key that is in a map twice")
def keys_twice(c):
    for order in (["none", "host"], ["host", "none"]):
        entries = [(7, msg((1, "force-network-mode"), (2, mode))) for mode in order]
        kit(
            c,
            "-".join(order),
            lambda t, e=entries: dockerfile(t, f"FROM busybox\nRUN {netns(c)}\n", entitlements=HOST, more=e),
            maybe=True,
        )
    kit(c, "value before key", lambda t: dockerfile(t, f"FROM busybox\nRUN {netns(c)}\n", entitlements=HOST, more=[(7, msg((2, "host"), (1, "force-network-mode")))]))
    kit(c, "the value twice", lambda t: dockerfile(t, f"FROM busybox\nRUN {netns(c)}\n", entitlements=HOST, more=[(7, msg((1, "force-network-mode"), (2, "none"), (2, "host")))]))


@vector(247, "protobuf: lengths that lie")
def lengths(c):
    good = lambda: solve_message(definition=host(c), entitlements=HOST)  # noqa: E731
    for label, odd in (
        ("as they are", b""),
        ("beyond the end", tag(5, 2) + varint(1000) + b"x"),
        ("2^31", tag(5, 2) + varint(1 << 31)),
        ("2^63", tag(5, 2) + varint(1 << 63)),
        ("-1", tag(5, 2) + varint(-1)),
        ("a tag alone", tag(5, 2)),
        ("half a tag", b"\xff"),
        ("bytes behind", b"\0\0\0"),
        ("no UTF-8", field(5, b"\xff\xfe")),
    ):
        sent(c, label, lambda o=odd: good() + o, maybe=True)


@vector(248, "gRPC: several messages, and halves of them")
def messages(c):
    plain = lambda: framed(solve_message(definition=shell("true")))  # noqa: E731
    bad = lambda: framed(solve_message(definition=host(c), entitlements=HOST))  # noqa: E731
    for label, data in (
        ("bad", bad),
        ("bad and good", lambda: bad() + plain()),
        ("good and bad", lambda: plain() + bad()),
        ("an empty one first", lambda: framed(b"") + bad()),
        ("a byte behind", lambda: bad() + b"x"),
        ("half a head behind", lambda: bad() + b"\0\0\0"),
        ("a length that is longer", lambda: framed(m := solve_message(definition=host(c), entitlements=HOST), 0, len(m) + 4)),
        ("a length that is shorter", lambda: framed(m := solve_message(definition=host(c), entitlements=HOST), 0, len(m) - 4)),
        ("4 GiB", lambda: framed(b"x", 0, (1 << 32) - 1)),
        ("20 MiB", lambda: framed(solve_message(definition=host(c), entitlements=HOST, more=[(5, "x" * (20 << 20))]))),
        ("nothing", lambda: b""),
    ):
        kit(c, label, lambda t, d=data: call(t, SOLVE, raw=d(), seconds=12 if label != "bad" else SECONDS), maybe=label != "bad")


@vector(249, "gRPC: compressed messages")
def compressed(c):
    import gzip

    bad = lambda: solve_message(definition=host(c), entitlements=HOST)  # noqa: E731
    for label, data, metadata in (
        ("plain", lambda: framed(bad()), []),
        ("flag and coding", lambda: framed(gzip.compress(bad()), 1), [("grpc-encoding", "gzip")]),
        ("flag without coding", lambda: framed(bad(), 1), []),
        ("identity and flag", lambda: framed(bad(), 1), [("grpc-encoding", "identity")]),
        ("coding without flag", lambda: framed(bad()), [("grpc-encoding", "gzip")]),
        ("flag 2", lambda: framed(bad(), 2), []),
        ("flag 255", lambda: framed(gzip.compress(bad()), 255), [("grpc-encoding", "gzip")]),
        ("a bomb", lambda: framed(gzip.compress(b"\0" * (64 << 20)), 1), [("grpc-encoding", "gzip")]),
        ("content-encoding", lambda: gzip.compress(framed(bad())), [("content-encoding", "gzip")]),
    ):
        kit(c, label, lambda t, d=data, m=metadata: call(t, SOLVE, metadata=m, raw=d()), maybe=True)


@vector(250, "gRPC: paths that lead to a method otherwise")
def paths(c):
    bad = lambda: solve_message(definition=host(c), entitlements=HOST)  # noqa: E731
    for path in (
        SOLVE,
        SOLVE.lower(),
        SOLVE.upper(),
        "/" + SOLVE,
        SOLVE.replace("/Solve", "//Solve"),
        SOLVE + "/",
        SOLVE + "?",
        SOLVE + "?x=y",
        SOLVE + "#x",
        SOLVE.replace("Solve", "%53olve"),
        SOLVE.replace("/Solve", "%2fSolve"),
        SOLVE.replace("/Solve", "/x/../Solve"),
        SOLVE.replace("/Solve", "/./Solve"),
        SOLVE[1:],
        "http://localhost" + SOLVE,
        SOLVE + "\0",
        SOLVE + " ",
        SOLVE + "\t",
        "/v1.51" + SOLVE,
        "/grpc" + SOLVE,
        "*",
        "",
    ):
        kit(c, repr(path.replace(CONTROL, "…")), lambda t, p=path: call(t, p, bad()), maybe=path != SOLVE)


@vector(251, "gRPC: other content types and methods")
def kinds(c):
    bad = lambda: solve_message(definition=host(c), entitlements=HOST)  # noqa: E731
    for kind in (
        "application/grpc+proto",
        "application/grpc;x=y",
        "application/grpc+json",
        "application/grpc-web",
        "application/grpc-web+proto",
        "application/grpc-web-text",
        "APPLICATION/GRPC",
        "application/grpc ",
        " application/grpc",
        "application/grpc,text/plain",
        "application/grpcx",
        "application/json",
        "",
    ):
        kit(c, kind or "none", lambda t, k=kind: call(t, SOLVE, bad(), kind=k), maybe=True)
    for method in ("GET", "PUT", "post", "HEAD", "OPTIONS", "CONNECT", "PRI"):
        kit(c, method, lambda t, m=method: call(t, SOLVE, bad(), method=m), maybe=True)
    kit(c, "two content types", lambda t: call(t, SOLVE, bad(), metadata=[("content-type", "text/plain")]), maybe=True)
    kit(c, "no te", lambda t: call(t, SOLVE, bad(), te=False), maybe=True)
    c.bitten or c.declare("the engine takes none of them")


def by_hand(c, label, write, **more):
    """`write(h2, message)` sends a call in an odd way; its stream is 1."""

    def send(target, _):
        try:
            with Grpc(target) as grpc:
                target.last = f"{label}\r\n\r\n".encode()
                ident = write(grpc.h2, framed(solve_message(definition=host(c), entitlements=HOST))) or 1
                return grpc.wait(ident, 6)
        except Refused as refused:
            return refused.answer

    more.setdefault("maybe", True)
    c.probe(label, send, lambda a, _: getattr(a, "good", False), **more)


@vector(252, "HTTP/2: fields in capitals, and pseudo fields by the side")
def smuggled(c):
    good = head(SOLVE)

    def saying(pairs):
        return lambda h, m: h.open(pairs, m)

    for label, pairs in (
        ("plain", good),
        ("a path twice", [*good[:3], (":path", CONTROL + "ListWorkers"), *good[3:]]),
        ("a path twice, the other way", [*good[:2], (":path", CONTROL + "ListWorkers"), *good[2:]]),
        ("a method twice", [(":method", "GET"), *good]),
        ("a pseudo field behind", [*good[:2], *good[3:], good[2]]),
        ("an unknown pseudo field", [(":protocol", "websocket"), *good]),
        ("a response's pseudo field", [(":status", "200"), *good]),
        ("Content-Type", [*good[:4], ("Content-Type", "application/grpc"), good[5]]),
        (":PATH", [*good[:2], (":PATH", SOLVE), *good[3:]]),
        ("a colon", [*good, ("x:y", "z")]),
        ("a line feed", [*good, ("x", "a\r\nb: c")]),
        ("a zero", [*good, ("x", "a\0b")]),
        ("a name of nothing", [*good, ("", "x")]),
        ("a space in a name", [*good, ("x y", "z")]),
        ("connection", [*good, ("connection", "upgrade")]),
        ("transfer-encoding", [*good, ("transfer-encoding", "chunked")]),
        ("te: gzip", [*good[:5], ("te", "gzip")]),
        ("upgrade", [*good, ("upgrade", "h2c")]),
        ("a content-length that lies", [*good, ("content-length", "3")]),
        ("two content-lengths", [*good, ("content-length", "3"), ("content-length", "4")]),
        ("two hosts", [*good, ("host", "a"), ("host", "b")]),
        ("a user in :authority", [*good[:3], (":authority", "root@localhost"), *good[4:]]),
        ("no :scheme", [good[0], *good[2:]]),
        (":scheme of a file", [good[0], (":scheme", "file"), *good[2:]]),
        ("no :path", [*good[:2], *good[3:]]),
    ):
        by_hand(c, label, saying(pairs), maybe=label != "plain")


@vector(253, "HTTP/2: frames of a call in other orders")
def orders(c):
    block = fields(head(SOLVE))

    def headers(flags, payload=block, ident=1, kind=HEADERS):
        return frame(kind, flags, ident, payload)

    def writing(*make):
        def write(h, m):
            h.next = 3
            h.stream(1)
            for one in make:
                h.write(one(m) if callable(one) else one)
            return 1

        return write

    body = lambda m: frame(DATA, END_STREAM, 1, m)  # noqa: E731
    for label, parts in (
        ("in CONTINUATIONs", (headers(0, block[:10]), headers(0, block[10:20], kind=CONTINUATION), headers(END_HEADERS, block[20:], kind=CONTINUATION), body)),
        ("with empty CONTINUATIONs", (headers(0), *[headers(0, b"", kind=CONTINUATION)] * 3, headers(END_HEADERS, b"", kind=CONTINUATION), body)),
        ("another frame between", (headers(0, block[:10]), frame(PING, 0, 0, b"x" * 8), headers(END_HEADERS, block[10:], kind=CONTINUATION), body)),
        ("DATA first", (body, headers(END_HEADERS))),
        ("an even stream", (headers(END_HEADERS, ident=2), body)),
        ("stream 0", (headers(END_HEADERS, ident=0), body)),
        ("padded", (headers(END_HEADERS | 8, b"\5" + block + b"\0" * 5), lambda m: frame(DATA, END_STREAM | 8, 1, b"\3" + m + b"\0\0\0"))),
        ("padding beyond the end", (headers(END_HEADERS | 8, b"\xff" + block), body)),
        ("priority of itself", (headers(END_HEADERS | 32, b"\0\0\0\1\x10" + block), body)),
        ("priority", (frame(PRIORITY, 0, 1, b"\0\0\0\3\x10"), headers(END_HEADERS | 32, b"\0\0\0\0\x10" + block), body)),
        ("trailers", (headers(END_HEADERS), lambda m: frame(DATA, 0, 1, m), headers(END_HEADERS | END_STREAM, fields([("x", "y")])))),
        ("trailers with a path", (headers(END_HEADERS), lambda m: frame(DATA, 0, 1, m), headers(END_HEADERS | END_STREAM, fields([(":path", "/x")])))),
        ("DATA in single bytes", (headers(END_HEADERS), lambda m: b"".join(frame(DATA, 0, 1, bytes([b])) for b in m) + frame(DATA, END_STREAM, 1))),
        ("a frame that is unknown", (frame(200, 255, 0, b"x" * 100), headers(END_HEADERS), frame(201, 1, 1, b"y"), body)),
        ("a push of a client's", (frame(5, 4, 1, b"\0\0\0\2" + block), headers(END_HEADERS), body)),
        ("an indexed name", (headers(END_HEADERS, b"\x83\x86" + b"\x44" + integer(len(SOLVE)) + SOLVE.encode() + fields(head(SOLVE)[3:])), body)),
        ("an index that is none", (headers(END_HEADERS, b"\xff\xff\xff\xff\x0f" + block), body)),
        ("from the table", (headers(END_HEADERS | END_STREAM, b"\x83\x86\x44" + integer(len(SOLVE)) + SOLVE.encode() + fields(head(SOLVE)[3:]), ident=1), frame(HEADERS, END_HEADERS, 3, b"\x83\x86\xbe" + fields(head(SOLVE)[3:])), lambda m: frame(DATA, END_STREAM, 3, m))),
    ):
        by_hand(c, label, writing(*parts))


@vector(254, "HTTP/2: a preface in pieces, early, late")
def prefaces(c):
    bad = lambda: framed(solve_message(definition=host(c), entitlements=HOST))  # noqa: E731

    def talk(target, conn, pieces):
        h = frames.H2.__new__(frames.H2)
        h.sock, h.buffer, h.server, h.streams, h.next, h.goaway, h.closed, h.block = conn.sock, conn.buffer, False, {}, 3, None, False, None
        for piece in pieces:
            h.write(piece)
        try:
            return Reply(h.wait(1, 6 if target.direct and maybe else SECONDS), "" if not h.closed else "the connection is gone")
        finally:
            h.close()

    def opening():
        return PREFACE + frame(SETTINGS, 0, 0, b"\0\1\0\0\0\0") + frame(HEADERS, END_HEADERS, 1, fields(head(SOLVE))) + frame(DATA, END_STREAM, 1, bad())

    def sending(cut, early=0, body=None, headers=()):
        def send(target, _):
            data = opening()
            target.last = b"preface\r\n\r\n" + data[:200]
            try:
                conn = upgraded(target, "/grpc", headers, body, early=data[:early])
            except Refused as refused:
                return refused.answer
            rest = data[early:]
            pieces = [rest[at : at + cut] for at in range(0, len(rest), cut)] if cut else [rest]
            return talk(target, conn, [*pieces[:100], b"".join(pieces[100:])])

        return send

    for label, send, maybe in (
        ("in one piece", sending(0), False),
        ("byte by byte", sending(1), False),
        ("in pieces of 7", sending(7), False),
        ("before the 101", sending(0, early=10_000), True),
        ("half of it before the 101", sending(0, early=12), True),
        ("a body of the upgrade", sending(0, body=b"xyz"), True),
        ("the preface as a body", sending(0, body=PREFACE), True),
        ("Expect", sending(0, headers=["Expect: 100-continue"]), True),
        ("HTTP2-Settings", sending(0, headers=["HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA"]), True),
    ):
        c.probe(label, send, lambda a, _: getattr(a, "good", False), maybe=maybe)


@vector(255, "HTTP/2: REST in the middle of it")
def rest(c):
    def asking(method, path, body=b"", kind="application/json"):
        def send(target, _):
            with Grpc(target) as grpc:
                target.last = f"{method} {path}\r\n\r\n".encode() + body
                pairs = [(":method", method), (":scheme", "http"), (":path", path), (":authority", "localhost"), ("content-type", kind)]
                return grpc.wait(grpc.h2.open(pairs, body), 6)

        return send

    evil = json.dumps({"Image": "busybox", "HostConfig": {"Privileged": True}}).encode()
    why = "behind `/grpc` the engine speaks gRPC only"
    for method, path, body in (
        ("POST", "/containers/create", evil),
        ("POST", "/v1.41/containers/create?name=dgv255", evil),
        ("GET", "/info", b""),
        ("GET", "/containers/json", b""),
        ("POST", "/session", b""),
        ("POST", "/grpc", b""),
    ):
        c.probe(f"{method} {path}", asking(method, path, body), lambda a, _: "Id" in a.text or "Containers" in a.text, inert=why)
        c.probe(f"{method} {path} as gRPC", asking(method, path, framed(body), "application/grpc"), lambda a, _: "Id" in a.text or "Containers" in a.text, inert=why)

    def prior(target, _):
        with Conn(target.address) as conn:
            h = frames.H2(conn.sock)
            ident = h.open(head(SOLVE), framed(solve_message(definition=host(c), entitlements=HOST)))
            return Reply(h.wait(ident, 6), "" if not h.closed else f"the connection is gone {h.goaway!r}")

    c.probe("without an upgrade", prior, lambda a, _: getattr(a, "good", False), maybe=True)


def memory(c):
    process = next(p for p in c.rig.processes if p.poll() is None)
    status = pathlib.Path(f"/proc/{process.pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmRSS:")).split()[1]) >> 10


def flooding(c, label, write, most=48, seconds=15):
    """`write(h2)` sends as much as it may; the gate must end it or bear it, and serve others meanwhile."""
    gate = c.rig.gates["conservative"]
    before = memory(c)
    with Grpc(gate) as grpc:
        grpc.h2.sock.settimeout(seconds)
        try:
            write(grpc.h2)
        except (TimeoutError, OSError):
            pass
        grown = memory(c) - before
        answer = gate.call("GET", "/_ping", version="")
        others = call(gate, CONTROL + "ListWorkers")
    c.expect(f"{label}: {grown} MiB", grown < most, f"{grown} MiB")
    # (processes of the rig that other vectors end are none of this one's)
    if not (answer.status == 200 and others.good):
        c.fail(label, f"others are not served: {answer} {others}")


def times(count, data):
    """So often, as long as somebody listens."""

    def write(h):
        block, rest = data * 64, count
        while rest > 0 and not h.closed:
            h.write(block)
            rest -= 64

    return write


@vector(256, "HTTP/2: floods")
def floods(c):
    block = fields(head(CONTROL + "ListWorkers"))
    c.declare("what they cost the engine is the engine's")

    def continuation(h):
        h.write(frame(HEADERS, 0, 1, block))
        times(200_000, frame(CONTINUATION, 0, 1, b""))(h)

    def long(h):
        h.write(frame(HEADERS, 0, 1, block))
        times(10_000, frame(CONTINUATION, 0, 1, fields([("x", "y" * 1000)]) * 16))(h)

    def resets(h):
        for n in range(1, 60_001, 2):
            h.write(frame(HEADERS, END_HEADERS, n, block) + frame(RST, 0, n, b"\0\0\0\x08"))
            if h.closed:
                break

    def opened(h):
        for n in range(1, 4001, 2):
            h.write(frame(HEADERS, END_HEADERS, n, block))

    def waits(h):
        for n in range(1, 501, 2):
            h.write(frame(HEADERS, END_HEADERS, n, fields(head(SOLVE))) + frame(DATA, 0, n, b"\0\0\xff\xff\xff" + b"x" * 16000))

    table = b"\x3f\xe1\xff\xff\x07"
    for label, write in (
        ("CONTINUATION, empty", continuation),
        ("CONTINUATION, long", long),
        ("SETTINGS", times(200_000, frame(SETTINGS))),
        ("SETTINGS that change windows", times(50_000, frame(SETTINGS, 0, 0, b"\0\4\0\0\0\0") + frame(SETTINGS, 0, 0, b"\0\4\0\1\0\0"))),
        ("PING", times(200_000, frame(PING, 0, 0, b"dgvdgvdg"))),
        ("PRIORITY", times(200_000, frame(PRIORITY, 0, 5, b"\0\0\0\3\x10"))),
        ("WINDOW_UPDATE", times(200_000, frame(WINDOW, 0, 0, b"\0\0\0\1"))),
        ("empty DATA", lambda h: (h.write(frame(HEADERS, END_HEADERS, 1, fields(head(SOLVE)))), times(200_000, frame(DATA, 0, 1))(h))),
        ("rapid reset", resets),
        ("streams without an end", opened),
        ("messages without an end", waits),
        ("tables", times(1000, frame(HEADERS, END_HEADERS, 1, table + block))),
        ("a reset table", lambda h: [h.write(frame(HEADERS, END_HEADERS | END_STREAM, n, table + b"\x20" + block)) for n in range(1, 2001, 2)]),
        ("an index that grows", lambda h: h.write(frame(HEADERS, END_HEADERS, 1, b"\xff" * 16000))),
        ("a window too wide", lambda h: h.write(frame(WINDOW, 0, 0, b"\x7f\xff\xff\xff") * 2)),
        ("a frame too long", lambda h: h.write(b"\xff\xff\xff\0\0\0\0\0\1" + b"x" * 100_000)),
        ("unknown frames", times(200_000, frame(99, 0, 0, b"x" * 20))),
    ):
        flooding(c, label, write)


@vector(257, "messages with which the engine ends")
def nil(c):
    """Go reads what is absent as nil, and not every method looks before it reaches in; what is counted from below the first
    is out of a slice. Nothing recovers: they are sent to the gate only, for the engine is what the run stands on."""
    c.declare("shown by hand: engine 28.5.2 ends, and with it the run")
    gate = c.rig.gates["conservative"]
    c.judge("Content.Update of nothing", gate, call(gate, "/containerd.services.content.v1.Content/Update"), set(), False, False)
    with Gateway(gate) as build:
        answer = build.call("Return")
    c.judge("LLBBridge.Return of nothing", gate, answer, set(), False, False)

    def on_busybox(*op):
        graph = Graph()
        graph.add((1, msg((1, graph.source(BUSYBOX)))), *op)
        return graph.definition()

    process = (1, msg((1, "/bin/true"), (3, "/")))
    for label, definition in (
        ("a mount of input -5", on_busybox((2, msg(process, (2, msg((1, -5), (3, "/"), (4, 0))))))),
        ("a copy of input -3", on_busybox((4, msg((2, msg((1, -3), (2, -4), (3, -3), (4, b""))))))),
        ("a merge of input -7", on_busybox((6, msg((1, [msg((1, -7)), msg((1, -8))]))))),
        ("a difference of input -9", on_busybox((7, msg((1, msg((1, -9))), (2, msg((1, -9))))))),
    ):
        c.judge(label, gate, solve(gate, definition), set(), False, False)
    text = """FROM busybox AS a
RUN echo a > /a
FROM busybox
WORKDIR /w
COPY --chown=daemon:daemon x /x
COPY --link --from=a --chown=nobody /a /w/b
RUN cat /x /w/b
"""
    c.works("a build that merges and looks owners up", lambda t: dockerfile(t, text), lambda a: getattr(a, "good", False)) if c.rig.engine != "20.10" else None
    nested = msg((1, b""), (2, {"x": b""}))
    given = shell("true") + msg((3, msg((2, msg((1, "f"), (3, nested))))))
    for label, inputs in (("an input without an end", msg((1, b""), (2, {"x": b""}))), ("one in a source map", given)):
        c.judge(label, gate, dockerfile(gate, "FROM busybox\nCOPY x /x\n", inputs={"context": inputs}), set(), False, False)
    c.expect("the engine is there", c.rig.direct.call("GET", "/_ping", version="").status == 200)
