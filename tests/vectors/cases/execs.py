"""94-96: execs in containers that could not have been made through the gate, and execs of others."""

import json

from lib.case import vector

# what a container made elsewhere may have; those that this machine cannot start are `start=False`
DANGERS = {
    "host bind": ({"Binds": ["/:/host"]}, {}),
    "mount": ({"Mounts": [{"Type": "bind", "Source": "/etc", "Target": "/h"}]}, {}),
    "pid host": ({"PidMode": "host"}, {}),
    "network host": ({"NetworkMode": "host"}, {}),
    "ipc host": ({"IpcMode": "host"}, {}),
    "uts host": ({"UTSMode": "host"}, {}),
    "cap": ({"CapAdd": ["SYS_ADMIN"]}, {}),
    "seccomp": ({"SecurityOpt": ["seccomp=unconfined"]}, {}),
    "device": ({"Devices": [{"PathOnHost": "/dev/kmsg", "PathInContainer": "/dev/x", "CgroupPermissions": "rwm"}]}, {}),
    "device rule": ({"DeviceCgroupRules": ["c *:* rwm"]}, {}),
    "masks": ({"MaskedPaths": [], "ReadonlyPaths": []}, {}),
    "cgroup parent": ({"CgroupParent": "/other"}, {}),
    "userns": ({"UsernsMode": "host"}, {}),
    "runtime": ({"Runtime": "weaker"}, {}),
    "group of a socket": ({"Binds": ["/etc:/e"], "GroupAdd": ["0"]}, {}),
    "driver options": (
        {
            "Mounts": [
                {
                    "Type": "volume",
                    "Target": "/x",
                    "VolumeOptions": {"DriverConfig": {"Options": {"type": "none", "o": "bind", "device": "/etc"}}},
                }
            ]
        },
        {},
    ),
    "port": ({"PortBindings": {"80/tcp": [{"HostPort": "8099"}]}}, {}),
    "oom": ({"OomScoreAdj": -500}, {}),
    "log": ({"LogConfig": {"Type": "syslog", "Config": {"syslog-address": "udp://127.0.0.1:9"}}}, {}),
    "working dir": ({}, {"WorkingDir": "/proc/self"}),
    "label": ({}, {"Labels": {"io.dockgate.listener": "x"}}),
}
EXEC = {"Cmd": ["true"], "AttachStdout": True}


def ways(name, ident):
    return {"name": name, "id": ident, "prefix": ident[:12], "short": ident[:4], "slash": "%2F" + name}


def answered(*statuses):
    return lambda answer, _: answer.status in (statuses or (200,))


@vector(94, "exec in another's container, privileged exec")
def exec_foreign(c):
    own = c.make("own94", start=True)
    for body in ({**EXEC, "Privileged": True}, {**EXEC, "Privileged": True, "User": "1000"}, {**EXEC, "privileged": True}):
        c.call(f"privileged in one's own {list(body)[-1]}", "POST", f"/containers/{own}/exec", body, bites=answered(201))
    c.call("at 1.24", "POST", f"/containers/{own}/exec", {**EXEC, "Privileged": True}, version="1.24", bites=answered(201))
    ident = c.make("foreign94", start=True, HostConfig={"Binds": ["/:/host"]})
    for way, known in ways("foreign94", ident).items():
        c.call(f"by {way}", "POST", f"/containers/{known}/exec", EXEC, bites=answered(201), maybe=way == "slash")
    for extra in (
        {"User": "root"},
        {"Env": ["A=b"]},
        {"User": "0:0", "Env": ["LD_PRELOAD=/host/x"]},
        {"WorkingDir": "/host"},
        {"Detach": True},
    ):
        c.call(f"with {list(extra)}", "POST", f"/containers/{ident}/exec", {**EXEC, **extra}, bites=answered(201))
    for label, (host, config) in DANGERS.items():
        if label != "oom":  # needs more than this machine's root has, to start
            ident = c.make(start=True, HostConfig=host, **config)
            c.call(f"into {label}", "POST", f"/containers/{ident}/exec", EXEC, bites=answered(201))
            c.rig.admin("DELETE", f"/containers/{ident}?force=1&v=1")


def exec_of(c, ident, **more):
    return c.rig.admin("POST", f"/containers/{ident}/exec", {**EXEC, **more}).json()["Id"]


@vector(95, "exec ids of others")
def exec_ids(c):
    foreign = c.make("foreign95", start=True, HostConfig={"Binds": ["/:/host"]})
    own = c.make("own95", start=True)
    for label, container, more in (
        ("in a foreign container", foreign, {}),
        ("privileged, in one's own", own, {"Privileged": True}),
        ("of the administrator, in one's own", own, {}),
    ):

        def setup(container=container, more=more):
            return {"id": exec_of(c, container, **more)}

        started = lambda _, s: c.rig.admin("GET", f"/exec/{s['id']}/json").json()["ExitCode"] == 0  # noqa: E731
        plain = label.startswith("of")
        c.call(
            f"start {label}",
            "POST",
            "/exec/{id}/start",
            {"Detach": True},
            setup=setup,
            bites=lambda a, s, started=started: a.status == 200 or started(a, s) or (a.engines and "unable to apply caps" in a.text),
        )
        c.call(f"json {label}", "GET", "/exec/{id}/json", setup=setup, bites=answered(200), may_pass=plain)

        def running(container=container, more=more):
            ident = exec_of(c, container, **{**more, "Cmd": ["sleep", "60"], "Tty": True})
            c.rig.admin("POST", f"/exec/{ident}/start", {"Detach": True})
            return {"id": ident}

        c.call(f"resize {label}", "POST", "/exec/{id}/resize?h=1&w=1", setup=running, bites=lambda a, _: a.engines, may_pass=plain)

    # made at one listener, used at another
    def across(target, _):
        maker = c.rig.direct if target.direct else c.rig.gates["other"]
        made = maker.call("POST", f"/containers/{own}/exec", EXEC)
        assert made.status == 201, made
        return target.call("POST", f"/exec/{made.json()['Id']}/start", {"Detach": True})

    c.probe("of another listener", across, answered(200))
    same = c.rig.gates["conservative"]
    made = same.call("POST", f"/containers/{own}/exec", EXEC)
    c.expect(
        "one's own exec starts",
        made.status == 201 and same.call("POST", f"/exec/{made.json()['Id']}/start", {"Detach": True}).status == 200,
        str(made),
    )


@vector(96, "exec started otherwise than it was made")
def exec_start(c):
    own = c.make("own96", start=True)

    def start(body):
        def send(target, _):
            made = target.call("POST", f"/containers/{own}/exec", EXEC)
            assert made.status == 201, made
            send.id = made.json()["Id"]
            return target.call("POST", f"/exec/{send.id}/start", body)

        return send

    for extra in ({"Privileged": True}, {"User": "root", "Privileged": True}, {"Cmd": ["sh"]}, {"Env": ["A=b"]}, {"ExecIDs": ["x"]}):
        send = start({"Detach": True, **extra})
        c.probe(
            f"with {list(extra)}",
            send,
            lambda _, __, send=send: 'privileged": true' in json.dumps(c.rig.admin("GET", f"/exec/{send.id}/json").json()),
            inert="the engine reads nothing of it at the start",
        )

    # the name is another container's between the two calls
    def two():
        c.make("swap96", start=True)
        c.make("other96", start=True, HostConfig={"Binds": ["/:/host"]})

    def renamed(target, _):
        first = target.call("POST", "/containers/swap96/exec", EXEC)
        assert first.status == 201, first
        c.rig.admin("POST", "/containers/swap96/rename?name=gone96")
        c.rig.admin("POST", "/containers/other96/rename?name=swap96")
        return target.call("POST", "/containers/swap96/exec", EXEC)

    c.probe("the name is another's now", renamed, answered(201), setup=two)
