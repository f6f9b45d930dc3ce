"""78-83, 93: volumes that are something else underneath."""

import http.server
import json
import os
import socketserver
import threading

from lib.case import logs, vector

BIND = {"type": "none", "o": "bind", "device": "/"}
OPTIONS = {
    "bind": BIND,
    "rbind": {**BIND, "o": "rbind"},
    "ro,bind": {**BIND, "o": "ro,bind"},
    "bind,rw": {**BIND, "o": "bind,rw"},
    "BIND": {**BIND, "o": "BIND"},
    "bind of a file": {**BIND, "device": "/etc/shadow"},
    "bind with dots": {**BIND, "device": "/tmp/../"},
    "move": {**BIND, "o": "move"},
    "rshared": {**BIND, "o": "bind,rshared"},
    "type bind": {"type": "bind", "o": "bind", "device": "/"},
    "empty type": {"type": "", "o": "bind", "device": "/"},
    "type auto": {"type": "auto", "o": "bind", "device": "/"},
    "type tmpfs, o bind": {"type": "tmpfs", "o": "bind", "device": "/"},
    "type tmpfs, o size,bind": {"type": "tmpfs", "o": "size=1m,bind", "device": "/"},
    "type tmpfs, device /": {"type": "tmpfs", "o": "size=1m", "device": "/"},
    "upper keys": {"TYPE": "none", "O": "bind", "DEVICE": "/"},
    "blanks": {"type": " none", "o": " bind", "device": " /"},
    "remount": {**BIND, "o": "remount,bind"},
}
OTHERS = {
    "nfs": {"type": "nfs", "o": "addr=10.66.41.1,rw", "device": ":/x"},
    "nfs4": {"type": "nfs4", "o": "addr=10.66.41.1", "device": ":/"},
    "cifs": {"type": "cifs", "o": "username=a,password=b", "device": "//10.66.41.1/x"},
    "overlay": {"type": "overlay", "o": "lowerdir=/,upperdir=/tmp/u,workdir=/tmp/w", "device": "overlay"},
    "proc": {"type": "proc", "o": "rw", "device": "proc"},
    "sysfs": {"type": "sysfs", "o": "rw", "device": "sysfs"},
    "devtmpfs": {"type": "devtmpfs", "o": "rw", "device": "devtmpfs"},
    "cgroup": {"type": "cgroup", "o": "devices", "device": "cgroup"},
    "debugfs": {"type": "debugfs", "o": "rw", "device": "debugfs"},
    "fuse": {"type": "fuse.sshfs", "o": "x", "device": "x"},
    "tmpfs with exec": {"type": "tmpfs", "o": "exec,suid,dev", "device": "tmpfs"},
    "securityfs": {"type": "securityfs", "o": "rw", "device": "x"},
    "9p": {"type": "9p", "o": "trans=virtio", "device": "x"},
    "bpf": {"type": "bpf", "o": "rw", "device": "bpf"},
}
BLOCK = {
    "ext4": {"type": "ext4", "device": "/dev/vda"},
    "ext4 with o": {"type": "ext4", "o": "ro", "device": "/dev/vda"},
    "xfs": {"type": "xfs", "device": "/dev/vda1"},
    "loop": {"type": "ext4", "o": "loop", "device": "/etc/passwd"},
    "btrfs": {"type": "btrfs", "device": "/dev/sda"},
}
MAYBE = ("upper keys", "blanks", "nfs", "nfs4", "cifs")


def options_of(c, name):
    return (c.inspect(name, "volumes") or {}).get("Options")


@vector(78, "DriverConfig of a mount")
def driver_config(c):
    for label, options in OPTIONS.items():
        for driver in ("local", ""):
            volume = {"DriverConfig": {"Name": driver, "Options": options}}
            c.create(
                f"{label} ({driver})",
                {"Mounts": [{"Type": "volume", "Source": "v78", "Target": "/x", "VolumeOptions": volume}]},
                bites=lambda _: options_of(c, "v78"),
                maybe=label in MAYBE or driver == "",
            )
    c.create(
        "anonymous",
        {"Mounts": [{"Type": "volume", "Target": "/x", "VolumeOptions": {"DriverConfig": {"Options": BIND}}}]},
        bites=lambda i: options_of(c, i["Mounts"][0]["Name"]),
    )
    c.unseen(
        "another driver",
        "POST",
        "/containers/create",
        {
            "Image": "busybox",
            "HostConfig": {
                "Mounts": [
                    {
                        "Type": "volume",
                        "Source": "v78",
                        "Target": "/x",
                        "VolumeOptions": {"DriverConfig": {"Name": "LOCAL", "Options": BIND}},
                    }
                ]
            },
        },
    )
    c.behaves(
        "the host's files are there",
        {
            "Mounts": [
                {
                    "Type": "volume",
                    "Source": "v78",
                    "Target": "/x",
                    "VolumeOptions": {"NoCopy": True, "DriverConfig": {"Options": {**BIND, "device": "/etc"}}},
                }
            ]
        },
        "cat /x/hostname",
        lambda out: out == open("/etc/hostname").read(),
    )


def create(c, label, options, **more):
    c.call(
        label,
        "POST",
        "/volumes/create",
        {"Name": f"v{c.number}", "DriverOpts": options},
        bites=lambda *_: options_of(c, f"v{c.number}"),
        **more,
    )


@vector(79, "volumes with bind options")
def bind_options(c):
    for label, options in OPTIONS.items():
        create(c, label, options, maybe=label in MAYBE)
    c.call(
        "Driver local",
        "POST",
        "/volumes/create",
        {"Name": "v79", "Driver": "local", "DriverOpts": BIND},
        bites=lambda *_: options_of(c, "v79"),
    )
    c.call(
        "without a name",
        "POST",
        "/volumes/create",
        {"DriverOpts": BIND},
        bites=lambda a, _: a.status == 201 and options_of(c, a.json()["Name"]),
    )
    c.call("at 1.24", "POST", "/volumes/create", {"Name": "v79", "DriverOpts": BIND}, version="1.24", bites=lambda *_: options_of(c, "v79"))


@vector(80, "volumes of block devices")
def block(c):
    for label, options in BLOCK.items():
        create(c, label, options)


@vector(81, "volumes of other file systems")
def file_systems(c):
    for label, options in OTHERS.items():
        create(c, label, options, maybe=label in MAYBE)


class Plugin(threading.Thread):
    """A volume and network driver of the old kind: a socket in the engine's /run/docker/plugins. Hands out /etc as every volume."""

    def __init__(self, path):
        super().__init__(daemon=True)
        self.calls = calls = []
        self.path = path
        known = set()

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = (
                    json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or b"{}")
                    if "chunked" not in (self.headers.get("Transfer-Encoding") or "")
                    else self.chunked()
                )
                calls.append(self.path)
                {"/VolumeDriver.Create": known.add, "/VolumeDriver.Remove": known.discard}.get(self.path, lambda _: None)(body.get("Name"))
                answer = {
                    "/Plugin.Activate": {"Implements": ["VolumeDriver", "NetworkDriver", "IpamDriver"]},
                    "/VolumeDriver.Mount": {"Mountpoint": "/etc"},
                    "/VolumeDriver.Path": {"Mountpoint": "/etc"},
                    "/VolumeDriver.List": {"Volumes": [{"Name": n, "Mountpoint": "/etc"} for n in known]},
                    "/VolumeDriver.Get": (
                        {"Volume": {"Name": body.get("Name"), "Mountpoint": "/etc"}}
                        if body.get("Name") in known
                        else {"Err": "no such volume"}
                    ),
                    "/NetworkDriver.GetCapabilities": {"Scope": "local"},
                    "/VolumeDriver.Capabilities": {"Capabilities": {"Scope": "local"}},
                }.get(self.path, {})
                data = json.dumps(answer).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/vnd.docker.plugins.v1.1+json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def chunked(self):
                data = b""
                while size := int(self.rfile.readline(), 16):
                    data += self.rfile.read(size)
                    self.rfile.readline()
                self.rfile.readline()
                return json.loads(data or b"{}")

            def address_string(self):
                return "engine"

            def log_message(self, *_):
                pass

        self.server = socketserver.ThreadingUnixStreamServer(str(self.path), Handler)
        self.server.daemon_threads = True

    def run(self):
        self.server.serve_forever(poll_interval=0.05)

    def end(self):
        self.server.shutdown()
        self.server.server_close()
        os.unlink(self.path)


@vector(82, "other volume drivers")
def drivers(c):
    name = f"dgv{c.rig.index}"
    plugin = Plugin(c.rig.plugins / f"{name}.sock")
    plugin.start()
    # until the engine ends: it asks a driver that it has seen for its volumes, whenever they are listed
    c.rig.endings.append(plugin.end)

    def created(*_):
        done = "/VolumeDriver.Create" in plugin.calls
        plugin.calls.clear()
        return done

    c.call("volumes/create", "POST", "/volumes/create", {"Name": "v82", "Driver": name}, bites=created)
    c.create("VolumeDriver with Binds", {"Binds": ["v82:/x"], "VolumeDriver": name}, bites=created)
    c.create(
        "DriverConfig",
        {"Mounts": [{"Type": "volume", "Source": "v82", "Target": "/x", "VolumeOptions": {"DriverConfig": {"Name": name}}}]},
        bites=created,
    )
    c.create("VolumeDriver with Volumes", {"VolumeDriver": name}, config={"Volumes": {"/x": {}}}, bites=created)
    c.behaves(
        "what the driver gives",
        {"Binds": ["v82:/x"], "VolumeDriver": name},
        "cat /x/hostname",
        lambda out: out == open("/etc/hostname").read(),
    )

    def foreign():
        a = c.rig.admin("POST", "/volumes/create", {"Name": "w82", "Driver": name})
        assert a.status == 201, a

    c.create("made by another, by name", {"Binds": ["w82:/x"]}, setup=foreign, bites=lambda i: i["Mounts"][0]["Driver"] == name)
    c.create(
        "made by another, as a mount",
        {"Mounts": [{"Type": "volume", "Source": "w82", "Target": "/x"}]},
        setup=foreign,
        bites=lambda i: i["Mounts"][0]["Driver"] == name,
    )
    for odd in ("LOCAL", "local ", "nothing82", "vieux/sshfs:latest"):
        c.unseen(odd, "POST", "/volumes/create", {"Name": "v82", "Driver": odd})


@vector(83, "a dangerous volume, made earlier, by name")
def replay(c):
    for label, options in {
        "bind": {**BIND, "device": "/etc"},
        "tmpfs": {"type": "tmpfs", "o": "exec,suid,dev", "device": "tmpfs"},
        "disk": BLOCK["ext4"],
        "overlay": OTHERS["overlay"],
        "proc": OTHERS["proc"],
    }.items():
        a = c.rig.admin("POST", "/volumes/create", {"Name": f"danger83-{label}", "DriverOpts": options})
        assert a.status == 201, a
    mounted = [f"danger83-{label}" for label in ("bind", "tmpfs", "disk", "overlay", "proc")]
    for name in mounted:
        uses = lambda i, name=name: any(m.get("Name") == name for m in i["Mounts"])  # noqa: E731
        c.create(f"{name} in Binds", {"Binds": [f"{name}:/x"]}, bites=uses)
        c.create(f"{name} in Mounts", {"Mounts": [{"Type": "volume", "Source": name, "Target": "/x"}]}, bites=uses)
    name = mounted[0]
    uses = lambda i: any(m.get("Name") == name for m in i["Mounts"])  # noqa: E731
    for options in (":ro", ":rw", ":nocopy", ":z", ":ro,nocopy"):
        c.create(f"Binds with {options}", {"Binds": [f"{name}:/x{options}"]}, bites=uses)
    c.create(
        "with empty DriverConfig",
        {
            "Mounts": [
                {"Type": "volume", "Source": name, "Target": "/x", "VolumeOptions": {"DriverConfig": {"Name": "local"}, "NoCopy": True}}
            ]
        },
        bites=uses,
    )
    c.create("behind another volume", {"Binds": ["v83:/v", f"{name}:/x"]}, bites=uses)
    c.create("Mounts without a type but a name", {"Mounts": [{"Source": name, "Target": "/x"}]}, bites=uses, maybe=True)
    c.create(
        "as VolumesFrom", {"VolumesFrom": ["holder83"]}, setup=lambda: c.make("holder83", HostConfig={"Binds": [f"{name}:/x"]}), bites=uses
    )
    c.call(
        "start of a container that has it",
        "POST",
        "/containers/{id}/start",
        setup=lambda: {"id": c.make(HostConfig={"Binds": [f"{name}:/x"]})},
        bites=lambda _, s: c.inspect(s["id"])["State"]["Running"],
    )
    c.call(
        "create again under its name",
        "POST",
        "/volumes/create",
        {"Name": name},
        bites=lambda *_: False,
        inert="the engine answers with the volume as it is",
        may_pass=True,
    )
    c.behaves("the host's files are there", {"Binds": [f"{name}:/x"]}, "cat /x/hostname", lambda out: out == open("/etc/hostname").read())

    # created with the volume as it was; the volume is another one at the start
    def exchanged(target, _):
        a = target.call(
            "POST", "/containers/create", {"Image": "busybox", "Cmd": ["cat", "/x/hostname"], "HostConfig": {"Binds": ["late83:/x"]}}
        )
        if a.status != 201:
            return a
        ident = a.json()["Id"]
        c.rig.admin("DELETE", "/volumes/late83?force=1")
        c.rig.admin("POST", "/volumes/create", {"Name": "late83", "DriverOpts": {**BIND, "device": "/etc"}})
        started = target.call("POST", f"/containers/{ident}/start")
        if started.status >= 300:
            return started
        c.rig.admin("POST", f"/containers/{ident}/wait")
        return logs(c.rig, ident, started)

    c.probe(
        "exchanged before the start",
        exchanged,
        lambda a, _: getattr(a, "output", "") == open("/etc/hostname").read(),
        inert="a volume in use cannot be removed",
        may_pass=True,
    )


@vector(93, "volumes of others, by id")
def foreign_volumes(c):
    c.declare("whose a volume is, is a matter of `namespace`; what it is, is judged in 79-83")
