"""76, 77, 84-92: every way to have a path of the host, or another's files, in a container."""

import os

from lib.case import dig, holds, logs, vector


def bind(source, target="/x", **options):
    mount = {"Type": "bind", "Source": source, "Target": target}
    return {"Mounts": [{**mount, **({"BindOptions": options} if options else {})}]}


PATHS = (
    "/",
    "/etc",
    "//",
    "/.",
    "/./",
    "/../",
    "/..",
    "/etc/../",
    "///etc",
    "/etc/",
    "/proc/1/root",
    "/proc/self/root",
    "/dev",
    "/sys",
    "/run",
    "/var/lib/docker",
    "/root",
    "/etc/shadow",
    "/nowhere/at/all",
    "/tmp",
)


@vector(76, "Binds of a host path")
def binds(c):
    for path in PATHS:
        for options in ("", ":ro"):
            c.create(path + options, {"Binds": [f"{path}:/x{options}"]}, bites=holds("HostConfig.Binds"))
    for spelt in (
        "/:/x:rw",
        "/:/x:ro,rprivate",
        "/:/x:nocopy",
        "/:/x:cached",
        "/:/x:delegated",
        "/:/x:RO",
        "/:/x:z",
        "/:/x:",
        "/:/../x",
        "/:x",
        "/a:/b:/c",
        ":/x",
        "./x:/x",
        "../x:/x",
        "~:/x",
        ".:/x",
        " /:/x",
        "/\u0000:/x",
        "\\\\host\\x:/x",
        "v76/../..:/x",
    ):
        c.create(
            ascii(spelt),
            {"Binds": [spelt]},
            bites=lambda i: any(b["Type"] == "bind" for b in i["Mounts"]) or bool(dig(i, "HostConfig.Binds")),
            maybe=True,
        )
    c.create("behind a volume", {"Binds": ["v76:/v", "/:/x"]}, bites=lambda i: "/:/x" in dig(i, "HostConfig.Binds"))
    c.create(
        "Volumes with a source", config={"Volumes": {"/:/x": {}}}, bites=lambda i: any(m["Type"] == "bind" for m in i["Mounts"]), maybe=True
    )
    c.create(
        "Volumes with a volume",
        config={"Volumes": {"/etc:/x:ro": {}}},
        bites=lambda i: any(m["Type"] == "bind" for m in i["Mounts"]),
        maybe=True,
    )
    c.behaves("the host's files are there", {"Binds": ["/etc:/x:ro"]}, "cat /x/hostname", lambda out: out == open("/etc/hostname").read())


@vector(77, "Mounts of type bind")
def mounts(c):
    for path in PATHS:
        c.create(
            path,
            bind(path),
            bites=lambda i: dig(i, "HostConfig.Mounts.0.Type") == "bind",
            maybe=path in ("/nowhere/at/all", "/proc/1/root", "/proc/self/root", "/var/lib/docker"),
        )
    for kind in ("Bind", "BIND", "bind ", "", "rbind", "npipe", "cluster", "none", "host"):
        c.create(
            repr(kind),
            {"Mounts": [{"Type": kind, "Source": "/etc", "Target": "/x"}]},
            bites=lambda i: any(m["Type"] == "bind" for m in i["Mounts"]) or bool(dig(i, "HostConfig.Mounts")),
            maybe=True,
        )
    c.create("without a type", {"Mounts": [{"Source": "/etc", "Target": "/x"}]}, bites=holds("HostConfig.Mounts"), maybe=True)
    c.create(
        "volume whose source is a path",
        {"Mounts": [{"Type": "volume", "Source": "/etc", "Target": "/x"}]},
        bites=lambda i: any(m["Source"] == "/etc" for m in i["Mounts"]),
        maybe=True,
    )
    c.create(
        "tmpfs with a source",
        {"Mounts": [{"Type": "tmpfs", "Source": "/etc", "Target": "/x"}]},
        bites=lambda i: any(m["Source"] == "/etc" for m in i["Mounts"]),
        inert="the engine refuses it itself",
        may_pass=True,
    )
    c.create(
        "behind a volume",
        {"Mounts": [{"Type": "volume", "Source": "v77", "Target": "/v"}, {"Type": "bind", "Source": "/", "Target": "/x"}]},
        bites=lambda i: len(dig(i, "HostConfig.Mounts")) == 2,
    )
    c.create("read only", {"Mounts": [{"Type": "bind", "Source": "/", "Target": "/x", "ReadOnly": True}]}, bites=holds("HostConfig.Mounts"))


def both_ways(c, label, path, inside="/x", via="binds", bites=None, **more):
    c.create(label, {"Binds": [f"{path}:{inside}"]}, bites=bites or holds("HostConfig.Binds"), via=via, **more)
    c.create(f"{label} (mount)", bind(str(path), inside), bites=bites or holds("HostConfig.Mounts"), via=via, **{**more, "maybe": True})


@vector(84, "a symlink in a folder that may be bound")
def symlinks(c):
    allowed, readable = c.rig.work / "allowed", c.rig.work / "readable"
    both_ways(c, "link to /etc", allowed / "link")
    both_ways(c, "below the link", f"{allowed}/link/ssl")
    for folder in (allowed, readable):
        chain = folder / "chain"
        if not chain.is_symlink():
            chain.symlink_to("chain2")
            (folder / "chain2").symlink_to("../../..")
        both_ways(c, f"chain in {folder.name}", chain)
        both_ways(c, f"below a chain in {folder.name}", f"{folder}/chain/etc")
    both_ways(c, "link below sub", f"{allowed}/sub/../link")

    # changed between create and start: who has the parent writable can do that
    swap = allowed / "swap"

    def swapped(target, _):
        remove(swap)
        swap.mkdir()
        a = target.call(
            "POST", "/containers/create", {"Image": "busybox", "Cmd": ["cat", "/x/hostname"], "HostConfig": {"Binds": [f"{swap}:/x"]}}
        )
        if a.status != 201:
            return a
        remove(swap)
        swap.symlink_to("/etc")
        started = target.call("POST", f"/containers/{a.json()['Id']}/start")
        if started.status >= 300:
            return started
        c.rig.admin("POST", f"/containers/{a.json()['Id']}/wait")
        return logs(c.rig, a.json()["Id"], started)

    c.probe("swapped before the start", swapped, lambda a, _: getattr(a, "output", "") == open("/etc/hostname").read(), via="binds")
    remove(swap)


def remove(path):
    if path.is_symlink():
        path.unlink()
    elif path.exists():
        path.rmdir()


@vector(85, "dots under an allowed prefix")
def prefix(c):
    allowed = c.rig.work / "allowed"
    for path in (
        f"{allowed}/../../../etc",
        f"{allowed}/..",
        f"{allowed}/sub/../../..",
        f"{allowed}x",
        f"{allowed}/../allowedx",
        f"{c.rig.work}",
        f"/{allowed}/../../../etc",
        f"{allowed}//..//..",
        f"{allowed}/./../..",
        f"{allowed}/sub/../../../../etc",
    ):
        both_ways(c, str(path).replace(str(c.rig.work), "W"), path)


@vector(86, "sockets and data of the engine and of dockgate")
def sockets(c):
    rig = c.rig
    containerd = rig.dir / "exec/containerd/containerd.sock"
    for label, path in (
        ("the engine's socket", rig.socket),
        ("its folder", rig.dir),
        ("the engine's data", rig.dir / "data"),
        ("below its data", rig.dir / "data/containers"),
        ("its exec root", rig.dir / "exec"),
        ("containerd's socket", containerd),
        ("the folder of containerd's socket", containerd.parent),
        ("a listener's socket", rig.gate_socket("wide")),
        ("another listener's socket", rig.gate_socket("conservative")),
        ("the folder of the listeners", rig.work),
        ("the configuration", rig.work / "gate.toml"),
        ("/var/run/docker.sock", "/var/run/docker.sock"),
        ("/run/docker.sock", "/run/docker.sock"),
        ("/run", "/run"),
        ("/run/containerd", "/run/containerd"),
        ("/proc", "/proc"),
        ("/sys", "/sys"),
        ("/var/lib/docker", "/var/lib/docker"),
        ("/", "/"),
    ):
        for via in ("conservative", "wide"):
            both_ways(c, f"{label} ({via})", path, via=via)
    link = rig.work / "tosock"
    if not link.is_symlink():
        link.symlink_to(rig.socket)
    both_ways(c, "a link to the socket", link, via="wide")
    both_ways(c, "dots to the socket", f"{rig.work}/allowed/../e/docker.sock", via="wide")
    hard = rig.work / "hard.sock"
    if not hard.exists():
        os.link(rig.socket, hard)
    both_ways(c, "a hard link to the socket", hard, via="wide")
    hard.unlink()


@vector(87, "propagation, and writable mounts below read-only ones")
def propagation(c):
    allowed, readable = c.rig.work / "allowed", c.rig.work / "readable"
    for mode in ("rshared", "shared", "rslave", "slave"):
        c.create(f":{mode}", {"Binds": [f"{allowed}:/x:{mode}"]}, bites=holds("HostConfig.Binds"), via="binds")
        c.create(f"Propagation {mode}", bind(str(allowed), Propagation=mode), bites=holds("HostConfig.Mounts"), via="binds")
        c.create(f":{mode} anywhere", {"Binds": [f"/etc:/x:{mode}"]}, bites=holds("HostConfig.Binds"), maybe="r" != mode[0])
        c.create(
            f"a volume with :{mode}",
            {"Binds": [f"v87:/x:{mode}"]},
            bites=holds("HostConfig.Binds"),
            inert="the engine takes it for binds only",
            may_pass=True,
        )
    c.create(":ro,rshared", {"Binds": [f"{allowed}:/x:ro,rshared"]}, bites=holds("HostConfig.Binds"), via="binds")
    new = c.rig.engine == "28"
    c.create(
        "ReadOnlyNonRecursive",
        {
            "Mounts": [
                {"Type": "bind", "Source": str(readable), "Target": "/x", "ReadOnly": True, "BindOptions": {"ReadOnlyNonRecursive": True}}
            ]
        },
        bites=lambda i: dig(i, "HostConfig.Mounts.0.BindOptions.ReadOnlyNonRecursive"),
        via="binds",
        inert=None if new else "no such field before API 1.44",
    )
    both_ways(c, "a read-only folder, writable", readable)
    c.create("a read-only folder, rw", {"Binds": [f"{readable}:/x:rw"]}, bites=holds("HostConfig.Binds"), via="binds")


@vector(88, "relabelling of host trees")
def relabel(c):
    for mode in ("z", "Z", "ro,z", "z,ro", "rw,Z"):
        c.create(
            f":{mode}",
            {"Binds": [f"{c.rig.work}/allowed:/x:{mode}"]},
            bites=lambda i: any("z" in b.rsplit(":", 1)[1].lower() for b in dig(i, "HostConfig.Binds")),
            via="binds",
        )
    c.create("outside", {"Binds": ["/etc:/x:Z"]}, bites=holds("HostConfig.Binds"))
    c.notes.append("without SELinux the engine only keeps the wish")


@vector(89, "folders that the daemon makes as root")
def makes_folders(c):
    where = c.rig.work / "allowed/made89"

    def start(host):
        def send(target, _):
            if where.exists():
                os.rmdir(where)
            a = target.call("POST", "/containers/create", {"Image": "busybox", "Cmd": ["true"], "HostConfig": host})
            return target.call("POST", f"/containers/{a.json()['Id']}/start") if a.status == 201 else a

        return send

    c.probe("Binds without a source", start({"Binds": [f"{where}:/x"]}), lambda *_: where.exists(), via="conservative")
    c.probe("Binds without a source, where it may", start({"Binds": [f"{where}:/x"]}), lambda *_: where.exists(), via="binds")
    c.probe(
        "CreateMountpoint",
        start(bind(str(where), CreateMountpoint=True)),
        lambda *_: where.exists(),
        via="binds",
        inert=None if c.rig.engine == "28" else "no such field before API 1.42",
    )
    if where.exists():
        os.rmdir(where)


@vector(90, "VolumesFrom another")
def volumes_from(c):
    ident = c.make("foreign90", HostConfig={"Binds": ["/:/host", "/etc:/e:ro"]})
    for known in ("foreign90", ident, ident[:12], ident[:4], "/foreign90"):
        for mode in ("", ":ro", ":rw", ":z", ":ro,z"):
            if mode in ("", ":ro") or known == "foreign90":
                c.create(
                    known[:10] + mode,
                    {"VolumesFrom": [known + mode]},
                    bites=lambda i: any(m["Destination"] == "/host" for m in i["Mounts"]) or holds("HostConfig.VolumesFrom")(i),
                    maybe=mode == ":ro,z" or known == "/foreign90",
                )
    c.create(
        "behind one's own", {"VolumesFrom": ["own90", "foreign90"]}, setup=lambda: c.make("own90"), bites=holds("HostConfig.VolumesFrom")
    )
    c.behaves(
        "its files are there", {"VolumesFrom": ["foreign90"]}, "cat /host/etc/hostname", lambda out: out == open("/etc/hostname").read()
    )


@vector(91, "Subpath that leaves the volume")
def subpath(c):
    for path in ("..", "../..", "../../..", "/etc", "a/../../b", "./..", "a/../..", "..\\..", "/"):
        c.create(
            path,
            {"Mounts": [{"Type": "volume", "Source": "v91", "Target": "/x", "VolumeOptions": {"Subpath": path}}]},
            bites=lambda _: False,
            inert="28 refuses it itself, 20.10 drops the field",
            may_pass=True,
        )

    # a link in the volume, which a container can make, to somewhere outside
    def through(target, _):
        c.output(target, {"Binds": ["w91:/v"]}, "ln -s / /v/link")
        return c.output(
            target,
            {"Mounts": [{"Type": "volume", "Source": "w91", "Target": "/x", "VolumeOptions": {"Subpath": "link"}}]},
            "cat /x/etc/hostname",
        )

    c.probe(
        "a link in the volume",
        through,
        lambda a, _: getattr(a, "output", "").strip() == open("/etc/hostname").read().strip(),
        inert="28 follows no link out of it, 20.10 drops the field",
        may_pass=True,
    )


@vector(92, "other mount types, tmpfs options")
def types(c):
    new = c.rig.engine == "28"
    for kind in ("cluster", "npipe"):
        c.create(kind, {"Mounts": [{"Type": kind, "Source": "x", "Target": "/x"}]}, bites=holds("HostConfig.Mounts"), maybe=True)
    c.create(
        "image",
        {"Mounts": [{"Type": "image", "Source": "busybox", "Target": "/x"}]},
        bites=lambda _: False,
        inert="an image of the engine, which a container could be made of as well",
        may_pass=True,
    )
    for options in (
        "exec",
        "suid",
        "dev",
        "exec,suid,dev",
        "size=1m,exec",
        "noexec,exec",
        "EXEC",
        "defaults",
        "remount,exec",
        "bind",
        "shared",
        "rshared",
        "context=x",
        "nosymfollow,dev",
    ):
        c.create(
            f"Tmpfs {options}",
            {"Tmpfs": {"/x": options}},
            bites=lambda i, options=options: dig(i, "HostConfig.Tmpfs") == {"/x": options},
            maybe=options in ("EXEC", "bind", "context=x", "nosymfollow,dev"),
        )
    for host in (
        {"Tmpfs": {"/proc/sys": ""}},
        {"Binds": ["v92:/proc/sys"]},
        {"Binds": ["v92:/proc/self/attr"]},
        {"Tmpfs": {"/x/../proc/sys": ""}},
    ):
        c.behaves(f"over /proc: {host}", host, "echo ran", lambda out: "ran" in out, inert="runc mounts nothing there", may_pass=True)
    for options in ([["exec"]], [["suid"]], [["dev"]], [["exec", ""]], [["noexec"], ["exec"]]):
        c.create(
            f"TmpfsOptions {options}",
            {"Mounts": [{"Type": "tmpfs", "Target": "/x", "TmpfsOptions": {"Options": options}}]},
            bites=lambda i: dig(i, "HostConfig.Mounts.0.TmpfsOptions.Options"),
            maybe=new,
            inert=None if new else "no such field before API 1.46",
        )
    c.behaves(
        "programs run from it",
        {"Tmpfs": {"/x": "exec,dev,suid"}},
        "grep ' /x ' /proc/mounts",
        lambda out: "noexec" not in out and "nosuid" not in out and "nodev" not in out,
    )
