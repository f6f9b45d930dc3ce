"""63, 69-75: users, environment, labels, health, working directory, and what an image brings along."""

import json
import urllib.parse

from lib.case import dig, has, holds, vector

from .smuggling import tar

LABEL = "io.dockgate.listener"


@vector(63, "GroupAdd")
def group_add(c):
    c.create(
        "without a bind",
        {"GroupAdd": ["999", "disk"]},
        bites=lambda _: False,
        inert="without something of the host a group opens nothing",
        may_pass=True,
    )
    allowed = f"{c.rig.work}/allowed:/a"
    for groups in (["999"], ["disk"], ["0"], ["docker"]):
        c.create(f"{groups[0]} with a bind", {"Binds": [allowed], "GroupAdd": groups}, bites=holds("HostConfig.GroupAdd"), via="binds")
    c.create(
        "with a mount",
        {"Mounts": [{"Type": "bind", "Source": f"{c.rig.work}/allowed", "Target": "/a"}], "GroupAdd": ["6"]},
        bites=holds("HostConfig.GroupAdd"),
        via="binds",
    )


@vector(69, "User that is root by another spelling")
def user(c):
    for spelt in (
        "",
        "0",
        "00",
        "000",
        "0:5",
        "root",
        "0:0",
        "root:root",
        "00:0",
        "+0",
        "-0",
        " 0",
        "0 ",
        "0x0",
        "4294967296",
        "1000",
        "nobody",
        "1000:0",
    ):
        c.create(repr(spelt), config={"User": spelt}, bites=lambda i: i["Config"]["User"].split(":")[0] not in ("65534",), via="nonroot")
    c.create("absent", bites=lambda i: i["Config"]["User"] != "65534", via="nonroot")
    c.call(
        "exec as root",
        "POST",
        "/containers/{id}/exec",
        {"Cmd": ["id"], "User": "0"},
        setup=lambda: {"id": c.make(start=True, User="65534")},
        via="nonroot",
        bites=lambda a, _: a.status == 201
        and c.rig.admin("GET", f"/exec/{a.json()['Id']}/json").json()["ProcessConfig"]["user"] != "65534",
    )
    c.create(
        "root of its own container",
        config={"User": "0"},
        bites=lambda _: False,
        inert="root inside is the default of every container",
        may_pass=True,
    )


@vector(70, "Env against what is forced")
def env(c):
    for label, given in (
        ("another value", ["GATE=evil"]),
        ("twice", ["GATE=evil", "GATE=evil2"]),
        ("forced first", ["GATE=forced", "GATE=evil"]),
        ("empty", ["GATE="]),
        ("unset", ["GATE"]),
        ("behind others", ["A=b", "GATE=evil"]),
    ):
        c.behaves(label, {}, "echo x$GATE", lambda out: out.strip() != "xforced", config={"Env": given}, via="nonroot")
    c.create(
        "LD_PRELOAD",
        config={"Env": ["LD_PRELOAD=/x", "DOCKER_HOST=x"]},
        bites=lambda _: False,
        inert="of the container itself",
        may_pass=True,
    )


@vector(71, "labels under io.dockgate.")
def labels(c):
    for key in (LABEL, "io.dockgate.namespace", "io.dockgate.job", "io.dockgate.x", "io.dockgate."):
        c.create(
            f"container {key}",
            config={"Labels": {key: "victim"}},
            bites=lambda i, key=key: (dig(i, "Config.Labels") or {}).get(key) == "victim",
        )
    c.create(
        "through the listener that forces it",
        config={"Labels": {LABEL: "victim"}},
        bites=lambda i: i["Config"]["Labels"].get(LABEL) == "victim",
        via="sizes",
    )
    forged = {LABEL: "victim"}
    c.call(
        "volume",
        "POST",
        "/volumes/create",
        {"Name": "v71", "Labels": forged},
        bites=lambda *_: (c.inspect("v71", "volumes") or {}).get("Labels"),
    )
    c.call(
        "network",
        "POST",
        "/networks/create",
        {"Name": "n71", "Labels": forged},
        bites=lambda *_: (c.inspect("n71", "networks") or {}).get("Labels"),
    )
    c.create(
        "volume of a mount",
        {"Mounts": [{"Type": "volume", "Source": "v71", "Target": "/x", "VolumeOptions": {"Labels": forged}}]},
        bites=lambda _: (c.inspect("v71", "volumes") or {}).get("Labels"),
    )
    c.call(
        "commit, body",
        "POST",
        "/commit?container={id}&repo=i71",
        {"Labels": forged},
        setup=lambda: {"id": c.make()},
        bites=lambda *_: image_label(c, "i71"),
    )
    for line in (
        f"LABEL {LABEL}=victim",
        f"label {LABEL}=victim",
        f"LABEL a=b {LABEL}=victim",
        f'LABEL "{LABEL}"="victim"',
        f"LABEL {LABEL} victim",
        f"\tLABEL {LABEL}=victim",
        f"LABEL a=b \\\n {LABEL}=victim",
        f"ENV a=b\nLABEL {LABEL}=victim",
        "LABEL io.dock\\\ngate.listener=victim",
    ):
        c.call(
            f"commit, {line!r}",
            "POST",
            "/commit?container={id}&repo=i71&changes=" + quote(line),
            setup=lambda: {"id": c.make()},
            bites=lambda *_: image_label(c, "i71"),
            maybe=True,
        )
    c.call(
        "import",
        "POST",
        "/images/create?fromSrc=-&repo=i71&changes=" + quote(f"LABEL {LABEL}=victim"),
        b"\0" * 1024,
        kind="application/x-tar",
        bites=lambda *_: image_label(c, "i71"),
    )
    c.call(
        "build",
        "POST",
        "/build?t=i71&version=1&labels=" + quote(json.dumps(forged)),
        tar(Dockerfile=b"FROM busybox\nENV a=b\n"),
        kind="application/x-tar",
        bites=lambda *_: image_label(c, "i71"),
    )


def image_label(c, name):
    return LABEL in ((c.inspect(name, "images") or {"Config": {}})["Config"].get("Labels") or {})


def quote(text):
    return urllib.parse.quote(text, safe="")


def image_of(c, name, line):
    """An image of the administrator with one more line of Dockerfile."""
    ident = c.make()
    a = c.rig.admin("POST", f"/commit?container={ident}&repo={name}&changes=" + quote(line))
    assert a.status == 201, a
    c.rig.admin("DELETE", f"/containers/{ident}?force=1")
    return {}


@vector(72, "labels that an image brings along")
def image_labels(c):
    def setup():
        return image_of(c, "i72", f"LABEL {LABEL}=victim")

    c.create(
        "against the forced label",
        config={"Image": "i72"},
        bites=lambda i: i["Config"]["Labels"].get(LABEL) == "victim",
        setup=setup,
        via="sizes",
    )
    c.create(
        "inherited", config={"Image": "i72"}, bites=lambda _: False, inert="labels are no authority in dockgate", may_pass=True, setup=setup
    )


@vector(73, "healthchecks that never rest, stops that never end")
def health(c):
    test = {"Test": ["CMD", "true"]}
    for interval in (1_000_000, 50_000_000, 99_999_999):
        c.create(
            f"Interval {interval}",
            config={"Healthcheck": {**test, "Interval": interval}},
            bites=lambda i: 0 < dig(i, "Config.Healthcheck.Interval") < 100_000_000,
        )
    c.create(
        "StartInterval",
        config={"Healthcheck": {**test, "StartInterval": 1_000_000, "StartPeriod": 10**12}},
        bites=lambda i: dig(i, "Config.Healthcheck.StartInterval") == 1_000_000,
        inert=None if c.rig.engine == "28" else "no such field before API 1.44",
    )
    c.create(
        "without a test of its own",
        config={"Healthcheck": {"Interval": 1_000_000}},
        bites=lambda i: dig(i, "Config.Healthcheck.Interval") == 1_000_000,
    )
    for seconds in (2**31 - 1, -2, 10**6):
        c.create(f"StopTimeout {seconds}", config={"StopTimeout": seconds}, bites=has("Config.StopTimeout", seconds))
    c.behaves(
        "of the image",
        {"NetworkMode": "none"},
        "sleep 0.2; echo ran",
        lambda out: "ran" in out,
        config={"Image": "i73"},
        setup=lambda: image_of(c, "i73", "HEALTHCHECK --interval=1ms CMD true"),
    )


@vector(74, "WorkingDir in /proc or /sys")
def working_dir(c):
    running = c.make(start=True)
    for path in (
        "/proc/self/fd/7",
        "/proc/self/fd/8",
        "/proc/self/cwd",
        "/proc/1/root",
        "/proc",
        "/sys",
        "/sys/fs/cgroup",
        "//proc/self/fd/8",
        "/./proc/self/fd/8",
        "/tmp/../proc/self/fd/8",
        "/proc//self/fd/8",
        "/dev/fd/8",
    ):
        c.create(path, config={"WorkingDir": path}, bites=lambda i: i["Config"]["WorkingDir"] not in ("", "/"), may_pass=False)
        c.call(
            f"exec in {path}",
            "POST",
            "/containers/{id}/exec",
            {"Cmd": ["true"], "WorkingDir": path},
            setup=lambda: {"id": running},
            bites=lambda a, _: a.status == 201,
        )
    c.behaves(
        "of the image",
        {"NetworkMode": "none"},
        "echo ran",
        lambda out: "ran" in out,
        config={"Image": "i74"},
        setup=lambda: image_of(c, "i74", "WORKDIR /proc/self"),
    )
    for path in ("proc/self/fd/8", "/proc/self/fd/../fd/8"):
        c.create(path, config={"WorkingDir": path}, bites=lambda i: "proc" in i["Config"]["WorkingDir"], maybe=True)


@vector(75, "images with a malicious layout")
def malicious_image(c):
    c.declare("a fault of runc and containerd versions: `dockgate doctor` names those that have it")
