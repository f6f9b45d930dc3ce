"""38-50: what gives a container more than its own."""

import socket

from lib.case import dig, has, holds, vector

DANGEROUS = (
    "SYS_ADMIN NET_ADMIN SYS_PTRACE DAC_READ_SEARCH SYS_MODULE BPF PERFMON SYS_RAWIO SYS_BOOT SYS_TIME SYS_RESOURCE SYS_NICE SYS_TTY_CONFIG IPC_OWNER LEASE LINUX_IMMUTABLE MAC_ADMIN MAC_OVERRIDE "
    "NET_BROADCAST SYSLOG SYS_PACCT WAKE_ALARM BLOCK_SUSPEND AUDIT_CONTROL AUDIT_READ CHECKPOINT_RESTORE"
).split()


@vector(38, "Privileged")
def privileged(c):
    c.create("true", {"Privileged": True}, bites=has("HostConfig.Privileged", True))
    c.create("with capabilities dropped", {"Privileged": True, "CapDrop": ["ALL"]}, bites=has("HostConfig.Privileged", True))
    c.create("as nobody", {"Privileged": True}, config={"User": "nobody"}, bites=has("HostConfig.Privileged", True))
    c.create("without network", {"Privileged": True, "NetworkMode": "none"}, bites=has("HostConfig.Privileged", True))


@vector(39, "CapAdd")
def cap_add(c):
    added = holds("HostConfig.CapAdd")
    for cap in DANGEROUS:
        new = cap in ("BPF", "PERFMON", "CHECKPOINT_RESTORE", "SYS_RESOURCE")  # not on every kernel and machine
        for spelt in (cap, "CAP_" + cap, cap.lower()):
            c.create(spelt, {"CapAdd": [spelt]}, bites=added, maybe=new)
    for spelt in ("ALL", "all", "All", "Cap_Sys_Admin", "cap_sys_admin", "CAP_sys_ADMIN"):
        c.create(spelt, {"CapAdd": [spelt]}, bites=added)
    for spelt in ("CAP_ALL", " SYS_ADMIN", "SYS_ADMIN ", "CAP_CAP_SYS_ADMIN", "SYS_ADMIN\u0000", "\u017fYS_ADMIN", ""):
        c.create(ascii(spelt), {"CapAdd": [spelt]}, bites=added, maybe=True)
    c.create(
        "behind harmless ones",
        {"CapAdd": ["CHOWN", "KILL", "SYS_ADMIN"]},
        bites=lambda i: any("SYS_ADMIN" in x for x in dig(i, "HostConfig.CapAdd")),
    )
    c.create("with ALL dropped", {"CapDrop": ["ALL"], "CapAdd": ["SYS_ADMIN"]}, bites=added)
    c.create(
        "Capabilities of 1.40", {"Capabilities": ["CAP_SYS_ADMIN"]}, version="1.40", bites=holds("HostConfig.Capabilities"), maybe=True
    )


@vector(40, "CapDrop absent")
def cap_drop(c):
    c.create(
        "absent",
        {},
        bites=lambda i: bool(dig(i, "HostConfig.CapAdd")),
        inert="the engine then gives its default set and nothing more",
        may_pass=True,
    )
    c.create(
        "unknown name",
        {"CapDrop": ["NOTHING"]},
        bites=lambda i: bool(dig(i, "HostConfig.CapAdd")),
        inert="the engine then gives its default set and nothing more",
        may_pass=True,
    )


def security(c, *options, **more):
    c.create(
        " ".join(o[:40] for o in options),
        {"SecurityOpt": list(options)},
        bites=lambda i: any(o in (dig(i, "HostConfig.SecurityOpt") or []) for o in options),
        **more,
    )


@vector(41, "SecurityOpt that lifts confinement")
def security_opt(c):
    for option in (
        "seccomp=unconfined",
        "seccomp:unconfined",
        'seccomp={"defaultAction":"SCMP_ACT_ALLOW"}',
        "seccomp=",
        "apparmor=unconfined",
        "apparmor:unconfined",
        "label=disable",
        "label:disable",
        "label=type:spc_t",
        "label=user:root",
        "label=level:s0",
        "label=role:system_r",
        "label:type:unconfined_t",
        "systempaths=unconfined",
        "systempaths:unconfined",
        "apparmor=other",
        "seccomp=builtin",
        "credentialspec=file://x",
        "SECCOMP=unconfined",
        "Seccomp=unconfined",
    ):
        security(
            c,
            option,
            maybe=option
            not in (
                "seccomp=unconfined",
                "seccomp:unconfined",
                "apparmor=unconfined",
                "label=disable",
                'seccomp={"defaultAction":"SCMP_ACT_ALLOW"}',
            ),
        )
    security(c, "no-new-privileges", "seccomp=unconfined")
    c.behaves(
        "seccomp is off then",
        {"SecurityOpt": ["seccomp=unconfined"]},
        "grep ^Seccomp: /proc/self/status",
        lambda out: out.split()[1] == "0",
    )


@vector(42, "SecurityOpt in other forms")
def security_forms(c):
    for option in (
        "disable",
        "writable-cgroups",
        "writable-cgroups=1",
        "writable-cgroups=true",
        "writable-cgroups:true",
        "writable-cgroups=T",
        "label",
        "seccomp",
        "apparmor",
        "unconfined",
        "=unconfined",
        "label=",
        "no-new-privileges,seccomp=unconfined",
        "",
    ):
        security(c, option, maybe=option != "disable", may_pass=option == "")


@vector(43, "no-new-privileges, then taken back")
def no_new_privileges(c):
    script = "grep ^NoNewPrivs: /proc/self/status"
    for last in (
        "no-new-privileges=false",
        "no-new-privileges:false",
        "no-new-privileges=0",
        "no-new-privileges=f",
        "no-new-privileges=F",
        "no-new-privileges=False",
        "no-new-privileges=FALSE",
    ):
        security(c, "no-new-privileges=true", last)
        security(c, last)
    c.behaves("the last wins", {"SecurityOpt": ["no-new-privileges", "no-new-privileges=false"]}, script, lambda out: out.split()[1] == "0")
    for odd in ("no-new-privileges=no", "no-new-privileges=2", "no-new-privileges= false", "NO-NEW-PRIVILEGES=false"):
        security(c, "no-new-privileges", odd, maybe=True)


def foreign(c, **host):
    """A container that could not have been made through the gate, running where that is possible; name, id, prefix."""
    start = "Privileged" not in host
    ident = c.make(f"foreign{c.number}", start=start, HostConfig=host or {"Binds": ["/:/host"]})
    return {"name": f"foreign{c.number}", "id": ident, "prefix": ident[:12], "short": ident[:5]}


@vector(44, "PidMode")
def pid_mode(c):
    for mode in ("host", "Host", "HOST", " host", "host ", "host:", "ns:/proc/1/ns/pid", "container:"):
        c.create(repr(mode), {"PidMode": mode}, bites=has("HostConfig.PidMode", mode), maybe=mode != "host")
    c.behaves(
        "sees processes of the host",
        {"PidMode": "host"},
        "ls /proc | grep -c '^[0-9]'; readlink /proc/1/exe",
        lambda out: int(out.split()[0]) > 15,
    )
    for way, known in foreign(c).items():
        c.create(
            f"container:{way}", {"PidMode": f"container:{known}"}, bites=lambda i: dig(i, "HostConfig.PidMode").startswith("container:")
        )


@vector(45, "IpcMode")
def ipc_mode(c):
    for mode in ("host", "HOST", "host ", "container:", "ns:/proc/1/ns/ipc"):
        c.create(repr(mode), {"IpcMode": mode}, bites=has("HostConfig.IpcMode", mode), maybe=mode != "host")
    c.create(
        "shareable",
        {"IpcMode": "shareable"},
        bites=lambda _: False,
        inert="a container that shares is the client's own to share",
        may_pass=True,
    )
    for way, known in foreign(c, Binds=["/:/host"], IpcMode="shareable").items():
        c.create(
            f"container:{way}", {"IpcMode": f"container:{known}"}, bites=lambda i: dig(i, "HostConfig.IpcMode").startswith("container:")
        )


@vector(46, "NetworkMode host")
def network_host(c):
    ident = next(n["Id"] for n in c.rig.admin("GET", "/networks").json() if n["Name"] == "host")
    for mode in ("host", "HOST", "Host", " host", "host ", "host/", ident, ident[:12], ident[:4]):
        c.create(
            repr(mode)[:20],
            {"NetworkMode": mode},
            bites=lambda i, mode=mode: dig(i, "HostConfig.NetworkMode") == mode
            and (mode == "host" or "host" in i["NetworkSettings"]["Networks"] or mode == ident),
            maybe=mode != "host",
        )
    for name in ("host", ident):
        c.create(
            f"endpoint {name[:12]}",
            {"NetworkMode": "bridge"},
            net={name: {}},
            bites=lambda i: "host" in str(i["NetworkSettings"]["Networks"].keys()) or ident in str(i["NetworkSettings"]),
            maybe=True,
        )
        c.create(
            f"endpoint {name[:12]} of default",
            net={name: {}},
            bites=lambda i: "host" in str(i["NetworkSettings"]["Networks"].keys()),
            maybe=True,
        )
        c.call(
            f"connect {name[:12]}",
            "POST",
            f"/networks/{name}/connect",
            {"Container": "{id}"},
            setup=lambda: {"id": c.make()},
            bites=lambda _, s: "host" in c.inspect(s["id"])["NetworkSettings"]["Networks"],
            maybe=True,
        )
    c.create(
        "NetworkID of the host's",
        {"NetworkMode": "bridge"},
        net={"bridge": {"NetworkID": ident}},
        bites=lambda i: "host" in i["NetworkSettings"]["Networks"],
        maybe=True,
    )
    c.behaves("the engine's own interfaces", {"NetworkMode": "host"}, "cat /proc/net/dev", lambda out: "docker0" in out)


@vector(47, "NetworkMode container: of another")
def network_container(c):
    for way, known in foreign(c).items():
        c.create(
            f"container:{way}",
            {"NetworkMode": f"container:{known}"},
            bites=lambda i: dig(i, "HostConfig.NetworkMode").startswith("container:"),
        )
    c.create(
        "of one with the host's network",
        {"NetworkMode": f"container:{c.make('hostnet47', start=True, HostConfig={'NetworkMode': 'host'})}"},
        bites=lambda i: dig(i, "HostConfig.NetworkMode").startswith("container:"),
    )
    for mode in ("ns:/proc/1/ns/net", "path:/proc/1/ns/net", "slirp4netns", "pasta"):
        c.create(
            mode,
            {"NetworkMode": mode},
            bites=lambda i: False,
            inert="Podman's: Docker takes it for the name of a network that is not there",
            may_pass=True,
        )


@vector(48, "UTSMode host")
def uts(c):
    for mode in ("host", "HOST", "host "):
        c.create(repr(mode), {"UTSMode": mode}, bites=has("HostConfig.UTSMode", mode), maybe=mode != "host")
    c.behaves("the host's name", {"UTSMode": "host"}, "hostname", lambda out: out.strip() == socket.gethostname())


@vector(49, "UsernsMode host")
def userns(c):
    for mode in ("host", "HOST", "host ", "keep-id", "private"):
        c.create(
            repr(mode), {"UsernsMode": mode}, bites=has("HostConfig.UsernsMode", mode), maybe=mode != "host", may_pass=mode == "private"
        )


@vector(50, "CgroupnsMode host")
def cgroupns(c):
    c.create("host, asked for", {"CgroupnsMode": "host"}, bites=has("HostConfig.CgroupnsMode", "host"))
    for mode in ("HOST", "host "):
        c.create(repr(mode), {"CgroupnsMode": mode}, bites=has("HostConfig.CgroupnsMode", mode), maybe=True)
