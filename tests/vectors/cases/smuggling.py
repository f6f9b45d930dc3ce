"""13-19: bodies and framing that an inspector does not see as the engine does."""

import concurrent.futures
import gzip
import io
import json
import os
import tarfile

from lib.case import has, vector
from lib.wire import converse, request

PRIVILEGED = {"Image": "busybox", "HostConfig": {"Privileged": True}}
BODY = json.dumps(PRIVILEGED).encode()
is_privileged = has("HostConfig.Privileged", True)


def chunks(*pieces, extension=b"", trailers=b""):
    return b"".join(b"%x%s\r\n%s\r\n" % (len(p), extension, p) for p in pieces) + b"0\r\n" + trailers + b"\r\n"


def head(*lines, path="/containers/create"):
    return (
        b"POST %s HTTP/1.1\r\nHost: engine\r\n" % path.encode()
        + b"".join(l + b"\r\n" for l in lines)
        + b"Content-Type: application/json\r\nConnection: close\r\n\r\n"
    )


def raw(c, label, data, **more):
    c.probe(label, lambda t, _: t.raw(data), lambda a, _: a.status == 201, **more)


@vector(13, "chunked bodies")
def chunked(c):
    c.create("one chunk", raw=BODY, chunked=True, bites=is_privileged)
    raw(c, "chunks of one byte", head(b"Transfer-Encoding: chunked") + chunks(*(bytes([b]) for b in BODY)))
    raw(c, "extensions", head(b"Transfer-Encoding: chunked") + chunks(BODY, extension=b";a=b"))
    raw(c, "trailers", head(b"Transfer-Encoding: chunked", b"Trailer: X-A") + chunks(BODY, trailers=b"X-A: 1\r\n"))
    raw(c, "case of the coding", head(b"transfer-encoding: CHUNKED") + chunks(BODY))
    raw(c, "cut after HostConfig's key", head(b"Transfer-Encoding: chunked") + chunks(BODY[:30], BODY[30:]))
    raw(c, "HTTP/1.0 with a length", (head(b"Content-Length: %d" % len(BODY)) + BODY).replace(b"HTTP/1.1", b"HTTP/1.0", 1))
    raw(c, "expect 100-continue", head(b"Expect: 100-continue", b"Content-Length: %d" % len(BODY)) + BODY)
    raw(c, "exec", request("POST", "/containers/create?name=x13", BODY, chunked=True))


@vector(14, "bodies above an inspector's limit")
def large(c):
    for size in (1 << 20, 2 << 20, 4 << 20, 5 << 20, 9 << 20):
        label = f"{size >> 20} MiB"
        c.create(f"{label} of blanks before", raw=b" " * size + BODY, bites=is_privileged)
        c.create(f"{label} of blanks inside", raw=BODY.replace(b'"HostConfig"', b" " * size + b'"HostConfig"'), bites=is_privileged)
    env = json.dumps({"Image": "busybox", "Env": ["A=" + "x" * (5 << 20)], "HostConfig": {"Privileged": True}}).encode()
    c.create("5 MiB of env before", raw=env, bites=is_privileged)
    c.create("5 MiB chunked", raw=b" " * (5 << 20) + BODY, chunked=True, bites=is_privileged)
    c.create(
        "key twice, 5 MiB apart",
        raw=b'{"Image":"busybox","HostConfig":{},' + b" " * (5 << 20) + b'"HostConfig":{"Privileged":true}}',
        bites=is_privileged,
    )


@vector(15, "unparseable bodies")
def unparseable(c):
    for label, data in (
        ("garbage behind", BODY + b"garbage"),
        ("a brace behind", BODY + b"}"),
        ("a bracket behind", BODY + b"]"),
        ("brace and garbage", BODY + b"} garbage"),
        ("a second document", BODY + b"{}"),
        ("NUL behind", BODY + b"\0"),
        ("cut", BODY[:-1]),
        ("comment", b"/**/" + BODY),
        ("single quotes", BODY.replace(b'"', b"'")),
        ("invalid UTF-8", BODY.replace(b'"busybox"', b'"busybox","Domainname":"\xff"')),
        ("lone surrogate", BODY.replace(b'"busybox"', b'"busybox","Domainname":"\\ud800"')),
        ("control character", BODY.replace(b'"busybox"', b'"busybox","Domainname":"\t"')),
    ):
        c.create(label, raw=data, bites=is_privileged, maybe=True)

    def own():
        return {"id": c.make(start=True)}

    for tail in ("garbage", "}", "]"):
        c.call(
            f"exec with {tail}",
            "POST",
            "/containers/{id}/exec",
            '{"Cmd":["true"],"Privileged":true}' + tail,
            setup=own,
            bites=lambda a, _: a.status == 201,
            maybe=True,
        )
        c.call(
            f"volume with {tail}",
            "POST",
            "/volumes/create",
            '{"Name":"v15","DriverOpts":{"type":"none","o":"bind","device":"/"}}' + tail,
            bites=lambda *_: c.inspect("v15", "volumes"),
            maybe=True,
        )
    c.call(
        "update with garbage",
        "POST",
        "/containers/{id}/update",
        '{"RestartPolicy":{"Name":"always"}}}',
        setup=own,
        bites=lambda _, s: c.inspect(s["id"])["HostConfig"]["RestartPolicy"]["Name"] == "always",
        maybe=True,
    )
    c.create("plain, for the proof", raw=BODY, bites=is_privileged)


@vector(16, "content types")
def content_types(c):
    for kind in (
        "application/json; charset=utf-8",
        "APPLICATION/JSON",
        "application/json;",
        "application/json ; a=b",
        " application/json",
        'application/json; a="b,c"',
    ):
        c.create(kind, raw=BODY, kind=kind, bites=is_privileged, maybe=kind.endswith(";"))
    for kind in (
        None,
        "",
        "text/plain",
        "application/x-www-form-urlencoded",
        "text/json",
        "application/json+x",
        "multipart/form-data; boundary=x",
        "application/vnd.docker.raw-stream",
    ):
        c.create(str(kind), raw=BODY, kind=kind, bites=is_privileged, maybe=True)
    raw(
        c,
        "two, JSON first",
        head(b"Content-Length: %d" % len(BODY)).replace(b"application/json", b"application/json\r\nContent-Type: text/plain") + BODY,
    )
    raw(
        c,
        "two, JSON last",
        head(b"Content-Length: %d" % len(BODY)).replace(b"application/json", b"text/plain\r\nContent-Type: application/json") + BODY,
        maybe=True,
    )
    c.create("Content-Encoding gzip", raw=BODY, headers=["Content-Encoding: gzip"], bites=is_privileged)
    c.create("Content-Encoding gzip, really", raw=gzip.compress(BODY), headers=["Content-Encoding: gzip"], bites=is_privileged, maybe=True)


def tar(**files):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as t:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            t.addfile(info, io.BytesIO(data))
    return out.getvalue()


@vector(17, "a tar under another content type")
def hidden_tar(c):
    context = tar(Dockerfile=b"FROM busybox\nRUN readlink /proc/self/ns/net\n")
    host = host_netns(c)
    for kind in (
        "multipart/form-data",
        "multipart/form-data; boundary=",
        "application/json",
        "text/plain",
        "application/octet-stream",
        None,
    ):
        c.call(f"build as {kind}", "POST", "/build?networkmode=host&version=1", context, kind=kind, bites=lambda a, _: host in a.text)
    for kind in ("multipart/form-data", "application/x-tar"):
        c.call(
            f"plugin as {kind}",
            "POST",
            "/plugins/create?name=dgv/plugin:1",
            plugin_tar(),
            kind=kind,
            bites=lambda *_: any(p["Name"].startswith("dgv/plugin") for p in c.rig.admin("GET", "/plugins").json()),
        )


PLUGIN = {
    "description": "x",
    "documentation": "x",
    "entrypoint": ["/x"],
    "interface": {"types": ["docker.volumedriver/1.0"], "socket": "x.sock"},
    "linux": {"capabilities": ["CAP_SYS_ADMIN"]},
    "mounts": None,
    "network": {"type": "host"},
    "workDir": "",
    "propagatedMount": "",
    "env": None,
    "args": {"Description": "", "Name": "", "Settable": None, "Value": None},
}


def plugin_tar():
    out = io.BytesIO(tar(**{"config.json": json.dumps(PLUGIN).encode()}))
    with tarfile.open(fileobj=out, mode="a") as t:
        info = tarfile.TarInfo("rootfs")
        info.type = tarfile.DIRTYPE
        t.addfile(info)
    return out.getvalue()


def host_netns(c):
    """`net:[…]` of the engine's own network namespace."""
    pid = (c.rig.dir / "pid").read_text().strip()
    return os.readlink(f"/proc/{pid}/ns/net")


@vector(18, "bombs: deep JSON, compressed zeros, a million entries")
def bombs(c):
    for depth in (150, 1000, 5000):
        for label, data in (
            (f"{depth} arrays beside", b'{"X":' + b"[" * depth + b"]" * depth + b"," + BODY[1:]),
            (f"{depth} objects beside", b'{"X":' + b'{"a":' * depth + b"1" + b"}" * depth + b"," + BODY[1:]),
        ):
            c.create(label, raw=data, bites=is_privileged)
    c.create("100000 keys", raw=b"{" + b"".join(b'"a%d":0,' % n for n in range(100_000)) + BODY[1:], bites=is_privileged)
    gate = c.rig.gates["conservative"]
    pid = c.rig.processes[0].pid

    def resident():
        with open(f"/proc/{pid}/statm") as f:
            return int(f.read().split()[1]) * 4096

    zeros = gzip.compress(bytes(64 << 20), 6)
    many = gzip.compress(tar(**{f"f{n}": b"" for n in range(5_000)}), 6)
    before = resident()
    for path in ("/images/load", "/build?version=1", "/images/create?fromSrc=-&repo=bomb"):
        for data in (zeros, many):
            gate.call("POST", path, data, kind="application/x-tar")
    grown = resident() - before
    c.expect("the gate does not unpack what it relays", grown < 32 << 20, f"{grown >> 20} MiB")
    c.expect("and lives", c.rig.processes[0].poll() is None and gate.call("GET", "/_ping", version="").status == 200)


@vector(19, "request smuggling")
def smuggling(c):
    hidden = request("POST", "/containers/create?name=NAME", PRIVILEGED)
    inner = b"0\r\n\r\n" + hidden
    ping = b"GET /_ping HTTP/1.1\r\nHost: engine\r\n"
    te, cl = b"Transfer-Encoding: chunked\r\n", b"Content-Length: %d\r\n"
    tries = {}
    # with both, an engine that takes the chunks serves what is hidden behind them
    for label, coding in CODINGS:
        tries[f"{label}, and a length"] = ping + cl % len(inner) + coding + b"\r\n" + inner
        tries[f"a length, and {label}"] = ping + coding + cl % len(inner) + b"\r\n" + inner
        tries[label] = ping + coding + b"\r\n" + inner
    n = len(hidden)
    for label, lines in (
        ("two lengths", cl % 0 + cl % n),
        ("two lengths, turned", cl % n + cl % 0),
        ("list of lengths", b"Content-Length: 0, %d\r\n" % n),
        ("plus", b"Content-Length: +0\r\n"),
        ("minus", b"Content-Length: -0\r\n"),
        ("zeros before", b"Content-Length: 000\r\n"),
        ("hexadecimal", b"Content-Length: 0x0\r\n"),
        ("empty", b"Content-Length:\r\n"),
        ("huge", b"Content-Length: 18446744073709551616\r\n"),
        ("folded", b"Content-Length: \r\n 0\r\n"),
        ("body on GET", cl % 0),
    ):
        tries[f"length: {label}"] = ping + lines + b"\r\n" + hidden
    post = b"POST /containers/json HTTP/1.1\r\nHost: engine\r\n"
    for label, body in (
        ("LF in a size", b"0\n\n"),
        ("extension with LF", b"0;\n\r\n"),
        ("0x", b"0x0\r\n\r\n"),
        ("plus", b"+0\r\n\r\n"),
        ("underscore", b"0_0\r\n\r\n"),
        ("overflow", b"10000000000000000\r\n\r\n"),
        ("empty size", b"\r\n\r\n"),
        ("trailer names", b"0\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n"),
        ("no CRLF behind data", b"1\r\nab\r\n0\r\n\r\n"),
    ):
        tries[f"chunk: {label}"] = ping + te + b"\r\n" + body + hidden
        tries[f"chunk: {label} (POST)"] = post + te + b"\r\n" + body + hidden
    batch(c, tries)
    # a create whose own framing is doubtful
    size = b"Content-Length: %d" % len(BODY)
    for label, data in (
        ("create with both", head(size, b"Transfer-Encoding: chunked") + chunks(BODY)),
        ("bare LF", (head(size) + BODY).replace(b"\r\n", b"\n")),
        ("folded", head(b"X: a\r\n b", size) + BODY),
        ("stray CRLF first", b"\r\n\r\n" + head(size) + BODY),
        ("blanks in the line", head(size).replace(b"POST /", b"POST  /") + BODY),
        ("HTTP/1.2", head(size).replace(b"HTTP/1.1", b"HTTP/1.2", 1) + BODY),
        ("no Host", (head(size) + BODY).replace(b"Host: engine\r\n", b"")),
        ("two Hosts", (head(size) + BODY).replace(b"Host: engine\r\n", b"Host: a\r\nHost: b\r\n")),
    ):
        raw(c, label, data, maybe=True)


CODINGS = (
    ("chunked", b"Transfer-Encoding: chunked\r\n"),
    ("case", b"transfer-encoding: Chunked\r\n"),
    ("folded", b"Transfer-Encoding:\r\n chunked\r\n"),
    ("blank before the colon", b"Transfer-Encoding : chunked\r\n"),
    ("tab", b"Transfer-Encoding:\tchunked\r\n"),
    ("twice", b"Transfer-Encoding: chunked\r\n" * 2),
    ("identity too", b"Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n"),
    ("list", b"Transfer-Encoding: identity, chunked\r\n"),
    ("xchunked", b"Transfer-Encoding: xchunked\r\n"),
    ("quoted", b'Transfer-Encoding: "chunked"\r\n'),
    ("vertical tab", b"Transfer-Encoding: \x0bchunked\r\n"),
    ("NUL", b"Transfer-Encoding: chunked\0\r\n"),
    ("bare LF", b"X: a\nTransfer-Encoding: chunked\r\n"),
    ("bare CR", b"X: a\rTransfer-Encoding: chunked\r\n"),
    ("underscore", b"Transfer_Encoding: chunked\r\n"),
    ("in a folded header", b"X: a\r\n Transfer-Encoding: chunked\r\n"),
    ("gzip, chunked", b"Transfer-Encoding: gzip, chunked\r\n"),
)


def batch(c, tries):
    """Each makes a container of its own name where it bites; side by side, for many of them leave the other side waiting."""

    def made(target):
        with concurrent.futures.ThreadPoolExecutor(16) as pool:
            names = {f"dgs{n}": label for n, label in enumerate(tries)}
            heard = {
                label: pool.submit(converse, target.address, tries[label].replace(b"NAME", name.encode())) for name, label in names.items()
            }
        found = {x["Names"][0][1:] for x in c.rig.admin("GET", "/containers/json?all=1").json()}
        c.rig.clean(c.start)
        return {names[f] for f in found if f in names}, {label: h.result() for label, h in heard.items()}

    bitten, _ = made(c.rig.direct)
    c.bitten += len(bitten)
    through, heard = made(c.rig.gates["conservative"])
    c.refused += len(tries) - len(through)
    for label in through:
        c.fail(label, f"bites through the gate: {heard[label][:200]!r}")
    if "chunked, and a length" not in bitten:
        c.fail("chunked, and a length", "does not bite on the engine")
