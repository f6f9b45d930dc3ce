"""97-102: containers that could not have been made through the gate, used through it."""

import os

from lib.case import vector
from lib.wire import Conn, request

from .attributes import quote
from .execs import DANGERS, answered, ways
from .smuggling import tar


@vector(97, "update to no limits, or to what create may not")
def update(c):
    MIB = 1 << 20

    def host(s):
        return c.inspect(s["id"])["HostConfig"]

    for policy in (
        {"Name": "always"},
        {"Name": "unless-stopped"},
        {"Name": "on-failure"},
        {"Name": "on-failure", "MaximumRetryCount": 10**9},
    ):
        c.call(
            f"RestartPolicy {policy}",
            "POST",
            "/containers/{id}/update",
            {"RestartPolicy": policy},
            setup=lambda: {"id": c.make()},
            bites=lambda _, s: for_ever(host(s)["RestartPolicy"]),
        )

    def limited():
        return {"id": c.make(HostConfig={"Memory": 64 * MIB, "MemorySwap": 128 * MIB, "PidsLimit": 100, "NanoCpus": 10**9})}

    for body, bites in (
        ({"Memory": 1 << 33, "MemorySwap": 1 << 34}, lambda h: h["Memory"] > 256 * MIB),
        ({"MemorySwap": -1}, lambda h: h["MemorySwap"] == -1),
        ({"PidsLimit": -1}, lambda h: (h["PidsLimit"] or -1) <= 0),
        ({"PidsLimit": 0}, lambda h: (h["PidsLimit"] or -1) <= 0),
        ({"PidsLimit": 10**6}, lambda h: h["PidsLimit"] == 10**6),
        ({"NanoCpus": 2 * 10**9}, lambda h: h["NanoCpus"] == 2 * 10**9),
        ({"Memory": 1 << 33, "MemorySwap": -1}, lambda h: h["Memory"] > 256 * MIB),
    ):
        c.call(
            f"{body}",
            "POST",
            "/containers/{id}/update",
            body,
            setup=limited,
            bites=lambda _, s, bites=bites: bites(host(s)),
            via="sizes",
            maybe=body == {"PidsLimit": 0},
        )
    for body in (
        {"BlkioDeviceReadBps": [{"Path": "/dev/vda", "Rate": 1}]},
        {"BlkioWeightDevice": [{"Path": "/dev/vda", "Weight": 10}]},
        {"Devices": [{"PathOnHost": "/dev/vda"}]},
        {"DeviceCgroupRules": ["a *:* rwm"]},
        {"CgroupParent": "/"},
        {"OomKillDisable": True},
        {"Privileged": True},
        {"HostConfig": {"Privileged": True}},
        {"CapAdd": ["ALL"]},
        {"Ulimits": [{"Name": "rtprio", "Soft": 99, "Hard": 99}]},
    ):
        c.call(
            f"{list(body)}",
            "POST",
            "/containers/{id}/update",
            body,
            setup=lambda: {"id": c.make()},
            bites=lambda _, s, body=body: bool(host(s).get(list(body)[0])),
            inert="engines before 29.6 update no such thing",
        )
    c.call(
        "CpuRealtimeRuntime",
        "POST",
        "/containers/{id}/update",
        {"CpuRealtimeRuntime": 1000, "CpuRealtimePeriod": 10000},
        setup=lambda: {"id": c.make()},
        bites=lambda _, s: host(s)["CpuRealtimeRuntime"],
        maybe=True,
    )
    c.call(
        "of a foreign container",
        "POST",
        "/containers/{id}/update",
        {"Memory": 64 * MIB, "MemorySwap": 64 * MIB},
        setup=lambda: {"id": c.make(HostConfig={"Privileged": True})},
        bites=lambda _, s: host(s)["Memory"],
    )


def for_ever(policy):
    return policy["Name"] in ("always", "unless-stopped") or policy["Name"] == "on-failure" and not 0 < policy["MaximumRetryCount"] <= 1000


@vector(98, "archive into and out of another's container")
def archive(c):
    data = tar(planted=b"x")
    for label, (host, inside) in {
        "host bind": ({"Binds": [f"{c.rig.work}/allowed:/h"]}, "/h"),
        "privileged": ({"Privileged": True}, "/tmp"),
        "volume of a path": (
            {
                "Mounts": [
                    {
                        "Type": "volume",
                        "Target": "/h",
                        "VolumeOptions": {"DriverConfig": {"Options": {"type": "none", "o": "bind", "device": f"{c.rig.work}/allowed"}}},
                    }
                ]
            },
            "/h",
        ),
    }.items():
        ident = c.make(HostConfig=host)
        for way, known in ways(c.inspect(ident)["Name"][1:], ident).items():
            c.call(
                f"PUT into {label} by {way}",
                "PUT",
                f"/containers/{known}/archive?path={inside}",
                data,
                kind="application/x-tar",
                bites=answered(200),
                maybe=way == "slash",
            )
        c.call(
            f"PUT with copyUIDGID into {label}",
            "PUT",
            f"/containers/{ident}/archive?path={inside}&copyUIDGID=1",
            data,
            kind="application/x-tar",
            bites=answered(200),
        )
        c.call(f"GET from {label}", "GET", f"/containers/{ident}/archive?path={inside}", bites=answered(200))
        c.call(f"HEAD of {label}", "HEAD", f"/containers/{ident}/archive?path={inside}", bites=answered(200))
    (c.rig.work / "allowed/planted").unlink(missing_ok=True)

    def out(target, _):
        ident = target.call("POST", "/containers/create", {"Image": "busybox"}).json()["Id"]
        return target.call(
            "PUT", f"/containers/{ident}/archive?path=/", tar(**{"../../../../tmp/dgv-escaped": b"x"}), kind="application/x-tar"
        )

    c.probe(
        "a tar that leaves the container",
        out,
        lambda *_: os.path.exists("/tmp/dgv-escaped"),
        inert="these engines refuse it; the symlink races of older ones are for `dockgate doctor`",
        may_pass=True,
    )


@vector(99, "reading another's files and processes")
def reading(c):
    ident = c.make("foreign99", start=True, HostConfig={"Binds": ["/etc:/host:ro"]})
    for path in ("archive?path=/host/hostname", "export", "changes", "top", "top?ps_args=-ef", "logs?stdout=1"):
        for way, known in ways("foreign99", ident).items():
            if way in ("name", "id") or path == "export":
                c.call(f"{path} by {way}", "GET", f"/containers/{known}/{path}", bites=answered(200), maybe=way == "slash")
    c.call("commit", "POST", "/commit?container=foreign99&repo=i99", {}, bites=answered(201))
    c.call(
        "attach",
        "POST",
        f"/containers/{ident}/attach?stream=1&stdout=1",
        headers=["Connection: Upgrade", "Upgrade: tcp"],
        keep=True,
        bites=answered(101),
    )
    own = c.make("own99", start=True)
    for args in (
        "-eo pid,cmd --pid 1",
        "-o pid,cmd -C /etc/shadow",
        "e -o pid,cmd;id",
        "-o pid -p $(id)",
        "--sort=`id`",
        "-o pid,cmd 2>/etc/x",
        "-o pid,cmd\n-e",
    ):
        c.call(
            f"ps_args {args!r}",
            "GET",
            f"/containers/{own}/top?ps_args=" + quote(args),
            bites=lambda a, _: False,
            inert="ps gets them as words, without a shell",
            may_pass=True,
        )


@vector(100, "commit that changes what others get")
def commit(c):
    def own():
        return {"id": c.make()}

    privileged = c.make("foreign100", HostConfig={"Privileged": True})
    for known in ("foreign100", privileged, privileged[:12]):
        c.call(f"of a foreign container {known[:10]}", "POST", f"/commit?container={known}&repo=i100", {}, bites=answered(201))
    for line in (
        "LABEL io.dockgate.job=x",
        "HEALTHCHECK --interval=1ms CMD true",
        "WORKDIR /proc/self/fd/8",
        "ONBUILD LABEL io.dockgate.job=x",
        "onbuild label io.dockgate.job x",
        "ONBUILD WORKDIR /proc/self/fd/8",
        "LABEL x=y\nHEALTHCHECK --interval=1ms CMD true",
        "WORKDIR /\nWORKDIR proc/self",
    ):
        c.call(
            line,
            "POST",
            "/commit?container={id}&repo=i100&changes=" + quote(line),
            {},
            setup=own,
            bites=lambda *_: c.inspect("i100", "images"),
            maybe="\n" in line,
        )
        c.call(
            f"second: {line}",
            "POST",
            "/commit?container={id}&repo=i100&changes=ENV%20A%3Db&changes=" + quote(line),
            {},
            setup=own,
            bites=lambda *_: c.inspect("i100", "images"),
            maybe="\n" in line,
        )
    for body in (
        {"Labels": {"io.dockgate.job": "x"}},
        {"Healthcheck": {"Test": ["CMD", "true"], "Interval": 1_000_000}},
        {"WorkingDir": "/proc/self/fd/8"},
    ):
        c.call(
            f"body {list(body)}", "POST", "/commit?container={id}&repo=i100", body, setup=own, bites=lambda *_: c.inspect("i100", "images")
        )
    for line in ("USER 0", "VOLUME /x", "ENV A=b"):
        c.call(
            line,
            "POST",
            "/commit?container={id}&repo=i100&changes=" + quote(line),
            {},
            setup=own,
            bites=lambda *_: False,
            inert="an image may say that of itself; over whose tag is for `namespace`",
            may_pass=True,
        )


@vector(101, "checkpoints in folders of the host")
def checkpoints(c):
    own = c.make("own101", start=True)
    folder = c.rig.work / "allowed"
    c.call("list of a folder", "GET", f"/containers/{own}/checkpoints?dir={folder}", bites=lambda a, _: a.engines and "sub" in a.text)
    c.call(
        "make one",
        "POST",
        f"/containers/{own}/checkpoints",
        {"CheckpointID": "c", "CheckpointDir": str(folder)},
        bites=lambda a, _: a.engines and (a.status == 201 or (folder / "c").exists()),
        maybe=True,
    )
    c.call(
        "remove one",
        "DELETE",
        f"/containers/{own}/checkpoints/sub?dir={folder}",
        bites=lambda a, _: a.engines and a.status == 204,
        setup=lambda: (folder / "sub").mkdir(exist_ok=True),
        maybe=True,
    )
    (folder / "sub").mkdir(exist_ok=True)
    for query in (
        f"checkpoint=c&checkpoint-dir={folder}",
        "checkpoint=c",
        f"checkpoint-dir={folder}",
        f"checkpoint%2ddir={folder}&checkpoint=c",
    ):
        c.call(
            f"start {query[:14]}",
            "POST",
            "/containers/{id}/start?" + query,
            setup=lambda: {"id": c.make()},
            bites=lambda a, _: a.engines and a.status in (204, 400, 500),
            maybe=True,
        )


@vector(102, "rename, start, stop, remove of others")
def others(c):
    for label, (host, config) in {**DANGERS, "privileged": ({"Privileged": True}, {})}.items():
        quiet = {} if label == "port" else {"NetworkMode": "none"}
        c.call(
            f"start of {label}",
            "POST",
            "/containers/{id}/start",
            setup=lambda host=host, config=config: {"id": c.make(HostConfig={**quiet, **host}, **config)},
            # two that this machine's root may not give: the engine tries
            bites=lambda a, _, tried=label in ("oom", "privileged"): a.status == 204 or (tried and a.engines and a.status == 500),
        )

    def danger():
        return {"id": c.make("foreign102", start=True, HostConfig={"Binds": ["/:/host"]})}

    state = lambda s: c.inspect(s["id"])["State"]  # noqa: E731
    for verb, bites in (
        ("rename?name=taken102", lambda _, s: c.inspect(s["id"])["Name"] == "/taken102"),
        ("kill", lambda _, s: not state(s)["Running"]),
        ("stop?t=0", lambda _, s: not state(s)["Running"]),
        ("pause", lambda _, s: state(s)["Paused"]),
        ("resize?h=1&w=1", lambda a, _: a.status == 200),
    ):
        c.call(verb, "POST", ("/containers/{id}/" if verb == "pause" else "/containers/foreign102/") + verb, setup=danger, bites=bites)
    c.call("restart", "POST", "/containers/foreign102/restart?t=0", setup=danger, bites=lambda a, _: a.status == 204)
    c.call("remove", "DELETE", "/containers/foreign102?force=1", setup=danger, bites=lambda _, s: c.inspect(s["id"]) is None)
    c.call(
        "remove by link",
        "DELETE",
        "/containers/own102/al?link=1",
        setup=lambda: (danger(), c.make("own102", HostConfig={"Links": ["foreign102:al"]})),
        bites=lambda a, _: a.status == 204,
    )

    def attached(path, headers):
        def send(target, _):
            target.last = request("GET" if "ws" in path else "POST", target.path(path), headers=headers, keep=True)
            with Conn(target.address) as conn:
                return conn.send(target.last).answer()

        return send

    up = ["Connection: Upgrade", "Upgrade: tcp"]
    ws = ["Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="]
    ident = c.make("attach102", start=True, OpenStdin=True, HostConfig={"Binds": ["/:/host"]})
    for way, known in ways("attach102", ident).items():
        for path, headers in (
            (f"/containers/{known}/attach?stream=1&stdin=1&stdout=1", up),
            (f"/containers/{known}/attach?stream=1&stdin=1&stdout=1", []),
            (f"/containers/{known}/attach/ws?stream=1&stdin=1", ws),
        ):
            c.probe(f"{path.split('/')[-1][:8]} by {way}", attached(path, headers), answered(101, 200), maybe=way == "slash")
