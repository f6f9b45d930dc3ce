"""4-12: versions, paths, methods and queries that a check could read otherwise than the engine."""

from lib.case import has, vector
from lib.wire import request

PRIVILEGED = {"Image": "busybox", "HostConfig": {"Privileged": True}}
is_privileged = has("HostConfig.Privileged", True)


@vector(4, "spellings of the version prefix")
def version_prefix(c):
    newest = c.rig.version
    tail = newest[2:]
    c.create("none", version="", host={"Privileged": True}, bites=is_privileged)
    c.create("the usual one", host={"Privileged": True}, bites=is_privileged)
    for spelt in (
        f"{newest}.0",
        f"1.0{tail}",
        f"01.{tail}",
        f"1.{tail}.999",
        f"1.{tail}.",
        f".1.{tail}",
        f"1..{tail}",
        f"001.{tail}",
        f"1.{tail}.0.0.0",
        "1.9999999999999999999999",
        f"1.{tail}%20",
        f"%31.{tail}",
        f"1%2e{tail}",
        f"1.{tail}/v1.{tail}",
        "1",
        "1.",
        "2.0",
        "0.99",
        "-1.41",
        "1.+41",
        f"V1.{tail}",
    ):
        c.create(spelt, version=spelt, host={"Privileged": True}, bites=is_privileged, maybe=True)
    c.create(f"/V1.{tail}", path=f"/V1.{tail}/containers/create", version="", host={"Privileged": True}, bites=is_privileged, maybe=True)


@vector(5, "old versions and their weaker defaults")
def old_version(c):
    for old in ("1.24", "1.30", "1.39"):
        c.create(f"{old}: IpcMode shareable", {}, version=old, bites=has("HostConfig.IpcMode", "shareable"))
    c.create("1.24 privileged", version="1.24", host={"Privileged": True}, bites=is_privileged)
    for version in ("1.40", None):
        c.create(
            f"{version or 'newest'}: CgroupnsMode host on cgroup v1",
            {},
            version=version,
            bites=has("HostConfig.CgroupnsMode", "host"),
            maybe=True,
        )
    for old in ("1.12", "1.18", "1.23"):
        c.create(f"{old} privileged", version=old, host={"Privileged": True}, bites=is_privileged, maybe=True)
        # until 1.23 a start may carry a HostConfig, which replaces the stored one
        c.call(
            f"{old} start with a HostConfig",
            "POST",
            "/containers/{id}/start",
            {"Binds": ["/:/host"], "Privileged": False},
            version=old,
            setup=lambda: {"id": c.make("front5")},
            bites=lambda _, s: "/:/host" in (c.inspect(s["id"])["HostConfig"]["Binds"] or []),
            maybe=True,
        )
    for new in (None, "1.24"):
        c.call(
            f"{new or 'newest'} start with a HostConfig",
            "POST",
            "/containers/{id}/start",
            {"Binds": ["/:/host"]},
            version=new,
            setup=lambda: {"id": c.make("front5")},
            bites=lambda _, s: "/:/host" in (c.inspect(s["id"])["HostConfig"]["Binds"] or []),
            maybe=True,
        )


@vector(6, "dot segments and encoded separators")
def dots(c):
    v = f"/v{c.rig.version}"
    for path in (
        f"{v}//containers/create",
        "//containers/create",
        f"{v}/./containers/create",
        f"{v}/x/../containers/create",
        f"{v}/%2e/containers/create",
        f"{v}/x/%2e%2e/containers/create",
        f"{v}/x/%252e%252e/containers/create",
        f"{v}/containers%2Fcreate",
        f"{v}/containers%2fcreate",
        f"{v}%2Fcontainers%2Fcreate",
        f"{v}/containers%252Fcreate",
        f"{v}/%63ontainers/create",
        f"{v}/containers/%63reate",
        f"{v}/containers/create/",
        f"{v}/containers/create/.",
        f"{v}/containers/create%00",
        f"{v}/containers/create%20",
        f"{v}/containers/create;x=1",
        f"{v}/containers\\create",
        f"{v}/containers/create%3Fname=a",
        f"{v}/containers/create%23",
        f"{v}/containers/create#x",
        f"http://engine{v}/containers/create",
        f"https://user@engine:1{v}/containers/create",
        f"/_ping/..{v}/containers/create",
        f"/_ping%2f..{v}/containers/create",
        f"{v}/_ping/../containers/create",
        f"{v}/containers/json/../create",
    ):
        c.probe(
            path.removeprefix(v) or path,
            lambda t, _, path=path: t.raw(request("POST", path, PRIVILEGED)),
            lambda a, _: a.status == 201,
            maybe=True,
        )


@vector(7, "greedy names: {name:.*} of the routes")
def greedy(c):
    for name in ("create", "json", "prune"):
        c.make(name, start=True, HostConfig={"Binds": ["/:/host"]})
    # `front/al` is a name of the first container, by its link
    c.make("front7", HostConfig={"Links": ["create:al"]})
    exec_body = {"Cmd": ["true"], "AttachStdout": True}
    for name in ("create", "json", "prune", "front7/al", "front7%2Fal", "/create", "%2Fcreate"):
        odd = name not in ("create", "json", "prune")
        c.call(f"exec in {name}", "POST", f"/containers/{name}/exec", exec_body, bites=lambda a, _: a.status == 201, maybe=odd)
        c.call(
            f"archive of {name}",
            "GET",
            f"/containers/{name}/archive?path=/host/etc/hostname",
            bites=lambda a, _: a.status == 200,
            maybe=odd,
        )
    # no container of such a name: the engine finds none, and nothing else may be found either
    for call in (
        "POST /containers/front7/al/stop/exec",
        "GET /containers/create/json/export",
        "GET /containers/json/archive/export",
        "POST /containers/create/start/exec",
    ):
        method, path = call.split(" ")
        c.call(
            call,
            method,
            path,
            exec_body if method == "POST" else None,
            bites=lambda a, _: a.status in (200, 201),
            maybe=True,
            may_pass=True,
        )


@vector(8, "rules that match a part of the path")
def anchors(c):
    def priv(answer, _):
        return answer.status == 201 and c.inspect(answer.json()["Id"])["HostConfig"]["Privileged"]

    for path in (
        "/containers/create?x=/_ping",
        "/containers/create?/containers/json",
        "/containers/create?name=json",
        "/containers/create?a=/start",
        "/containers/create?x=%2Fcontainers%2Fjson",
    ):
        c.call(path, "POST", path, PRIVILEGED, bites=priv)
    for path in (
        "/containersX/create",
        "/xcontainers/create",
        "/containers/createX",
        "/containers/create/json",
        "/containers/create/start",
    ):
        c.call(
            path,
            "POST",
            path,
            PRIVILEGED,
            bites=lambda a, _: a.status < 400,
            inert="no such route in the engine, or a container `create` that is not there",
            may_pass=True,
        )
    c.call("/plugins?/_ping", "GET", "/plugins?/_ping", bites=lambda a, _: a.status == 200)
    c.call("/swarm/unlock?/_ping", "GET", "/swarm/unlockkey?x=/_ping", bites=lambda a, _: a.engines and a.status == 503, maybe=True)


@vector(9, "methods that a list of methods forgets")
def methods(c):
    def danger():
        return {"id": c.make(HostConfig={"Binds": ["/:/host"]})}

    c.call("HEAD archive", "HEAD", "/containers/{id}/archive?path=/host/etc", setup=danger, bites=lambda a, _: a.status == 200)
    c.call(
        "PUT archive",
        "PUT",
        "/containers/{id}/archive?path=/tmp",
        b"\0" * 1024,
        kind="application/x-tar",
        setup=danger,
        bites=lambda a, _: a.status == 200,
    )
    c.call("GET archive", "GET", "/containers/{id}/archive?path=/etc/passwd", setup=danger, bites=lambda a, _: a.status == 200)
    for method in ("PUT", "PATCH", "DELETE", "OPTIONS", "post", "Post", "POST\t", "GET", "HEAD", "TRACE", "PROPFIND", "XPOST"):
        c.call(
            f"{method} create",
            method,
            "/containers/create",
            PRIVILEGED,
            bites=lambda a, _: a.status == 201,
            inert="the engine matches methods exactly",
            may_pass=True,
        )
    for name in ("X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"):
        c.call(
            f"{name}: POST",
            "GET",
            "/containers/create",
            PRIVILEGED,
            headers=[f"{name}: POST"],
            bites=lambda a, _: a.status == 201,
            inert="the engine knows no such header",
            may_pass=True,
        )


@vector(10, "GET that is more than looking")
def looking(c):
    ident = c.make(start=True, OpenStdin=True, HostConfig={"Binds": ["/:/host"]})
    ws = ["Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="]
    c.call("attach/ws", "GET", f"/containers/{ident}/attach/ws?stream=1&stdin=1", headers=ws, keep=True, bites=lambda a, _: a.status == 101)
    for path in ("archive?path=/host/etc/passwd", "export", "changes", "top"):
        c.call(path, "GET", f"/containers/{ident}/" + path, bites=lambda a, _: a.status == 200)
    c.declare("`images/get`, `logs` and the env in inspect are the client's own here: whose they are is a matter of `namespace`")


@vector(11, "a form overrides the query")
def forms(c):
    form = "application/x-www-form-urlencoded"

    def named(ident):
        return c.inspect(ident)["Name"]

    c.call(
        "rename",
        "POST",
        "/containers/{id}/rename?name=good11",
        "name=evil11",
        kind=form,
        setup=lambda: {"id": c.make()},
        bites=lambda _, s: named(s["id"]) == "/evil11",
    )
    c.call(
        "rename, charset",
        "POST",
        "/containers/{id}/rename?name=good11",
        "name=evil11",
        kind=form + "; charset=utf-8",
        setup=lambda: {"id": c.make()},
        bites=lambda _, s: named(s["id"]) == "/evil11",
    )
    c.call(
        "rename, upper case",
        "POST",
        "/containers/{id}/rename?name=good11",
        "name=evil11",
        kind=form.upper(),
        setup=lambda: {"id": c.make()},
        bites=lambda _, s: named(s["id"]) == "/evil11",
    )
    c.call(
        "rename, chunked",
        "POST",
        "/containers/{id}/rename?name=good11",
        "name=evil11",
        kind=form,
        chunked=True,
        setup=lambda: {"id": c.make()},
        bites=lambda _, s: named(s["id"]) == "/evil11",
    )
    c.call(
        "tag", "POST", "/images/busybox/tag?repo=good11&tag=1", "repo=evil11", kind=form, bites=lambda *_: c.inspect("evil11:1", "images")
    )
    c.call(
        "prune",
        "POST",
        '/containers/prune?filters={"label":["a=b"]}',
        "filters={}",
        kind=form,
        setup=lambda: {"id": c.make()},
        bites=lambda _, s: c.inspect(s["id"]) is None,
    )
    hits = c.rig.canary
    c.call(
        "fromSrc",
        "POST",
        "/images/create?fromSrc=-&repo=a",
        f"fromSrc=http://{hits.at}/x.tar",
        kind=form,
        setup=lambda: hits.hits,
        bites=lambda _, n: hits.hits > n,
    )
    c.call(
        "build remote",
        "POST",
        "/build",
        f"remote=http://{hits.at}/x",
        kind=form,
        setup=lambda: hits.hits,
        bites=lambda _, n: hits.hits > n,
        inert="`/build` reads its own body as the context first",
    )
    c.call(
        "multipart",
        "POST",
        "/containers/{id}/rename?name=good11",
        '--b\r\nContent-Disposition: form-data; name="name"\r\n\r\nevil11\r\n--b--\r\n',
        kind="multipart/form-data; boundary=b",
        setup=lambda: {"id": c.make()},
        bites=lambda _, s: named(s["id"]) == "/evil11",
        maybe=True,
    )


@vector(12, "repeated and encoded query keys")
def repeated(c):
    def named(ident):
        return c.inspect(ident)["Name"]

    for label, query in (
        ("first wins", "name=evil12&name=good12"),
        ("encoded key", "%6eame=evil12&name=good12"),
        ("encoded later", "name=evil12&nam%65=good12"),
    ):
        # The gate judges and sends the first, which is the one that the engine reads.
        def renamed(target, query=query):
            ident = c.make()
            target.call("POST", f"/containers/{ident}/rename?{query}")
            return named(ident)

        c.works(label, renamed, lambda name: name == "/evil12")
    for label, query in (("first link", "link=1&link=0"), ("encoded link", "lin%6b=1&link=0")):
        c.call(
            label,
            "DELETE",
            "/containers/front12/al?" + query,
            setup=lambda: (c.make("al12"), c.make("front12", HostConfig={"Links": ["al12:al"]})),
            bites=lambda a, _: a.status == 204,
        )
    hits = c.rig.canary
    for label, query in (
        ("fromSrc twice", "fromSrc=http://{at}/x&fromSrc=-&repo=x"),
        ("encoded fromSrc", "%66romSrc=http://{at}/x&repo=x"),
        ("encoded value", "fromSrc=%68ttp://{at}/x&repo=x"),
        ("fromImage twice", "fromImage={at}/x&fromImage=busybox&tag=1"),
        ("case", "fromsrc=http://{at}/x&repo=x"),
        ("semicolon", "a=b;fromSrc=http://{at}/x"),
        ("plus", "fromSrc=+http://{at}/x"),
    ):
        query = query.replace("{at}", hits.at)
        c.call(
            label,
            "POST",
            "/images/create?" + query,
            setup=lambda: hits.hits,
            bites=lambda _, n: hits.hits > n,
            maybe=label in ("case", "semicolon", "plus"),
            may_pass=label == "plus",
        )
    for label, query in (
        ("prune twice", 'filters={}&filters={"label":["a=b"]}'),
        ("prune encoded", 'fil%74ers={}&filters={"label":["a=b"]}'),
    ):
        c.call(label, "POST", "/containers/prune?" + query, setup=lambda: {"id": c.make()}, bites=lambda _, s: c.inspect(s["id"]) is None)
