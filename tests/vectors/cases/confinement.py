"""51-58: cgroups, devices, runtimes, masks, kernel settings."""

from lib.case import dig, has, holds, vector


@vector(51, "CgroupParent and Cgroup")
def cgroup_parent(c):
    for parent in ("/", "/system.slice", "other", "../..", "/docker/../..", "system.slice", "user.slice:docker:x", " "):
        c.create(parent, {"CgroupParent": parent}, bites=has("HostConfig.CgroupParent", parent), maybe=parent in (" ", "../.."))
    ident = c.make()
    for value in (f"container:{ident}", "container:x", "host", "/"):
        c.create(f"Cgroup {value[:14]}", {"Cgroup": value}, bites=has("HostConfig.Cgroup", value), maybe=True)


def device(path, inside="/dev/x", permissions="rwm"):
    return {"Devices": [{"PathOnHost": path, "PathInContainer": inside, "CgroupPermissions": permissions}]}


@vector(52, "Devices and DeviceCgroupRules")
def devices(c):
    for path in (
        "/dev/vda",
        "/dev/mem",
        "/dev/kmsg",
        "/dev",
        "/dev/null",
        "/dev/fuse",
        "/dev/../dev/vda",
        "//dev/vda",
        "/proc/1/root/dev/vda",
    ):
        c.create(path, device(path), bites=holds("HostConfig.Devices"))
    c.create("read only", device("/dev/vda", permissions="r"), bites=holds("HostConfig.Devices"))
    c.create("without permissions", {"Devices": [{"PathOnHost": "/dev/vda"}]}, bites=holds("HostConfig.Devices"))
    for rule in ("a *:* rwm", "c 1:1 rwm", "b *:* m", "c 10:229 rwm", "a rwm", "c *:* r"):
        c.create(rule, {"DeviceCgroupRules": [rule]}, bites=holds("HostConfig.DeviceCgroupRules"), maybe=rule == "a rwm")
    c.behaves("a device of the host", device("/dev/kmsg"), "ls /dev/x", lambda out: out.strip() == "/dev/x")


@vector(53, "DeviceRequests")
def device_requests(c):
    for label, wanted in (
        ("gpu", {"Driver": "", "Count": -1, "Capabilities": [["gpu"]]}),
        ("nvidia", {"Driver": "nvidia", "DeviceIDs": ["0"], "Capabilities": [["gpu"]]}),
        ("CDI", {"Driver": "cdi", "DeviceIDs": ["vendor.com/class=all"]}),
        ("options", {"Driver": "x", "Capabilities": [["x"]], "Options": {"a": "b"}}),
        ("empty", {}),
    ):
        c.create(label, {"DeviceRequests": [wanted]}, bites=holds("HostConfig.DeviceRequests"), maybe=label == "CDI")


@vector(54, "Runtime")
def runtime(c):
    for name in (
        "weaker",
        "io.containerd.runc.v2",
        "io.containerd.runc.v1",
        "io.containerd.runtime.v1.linux",
        "evil.x.y",
        "/usr/sbin/runc",
        "../weaker",
        "Weaker",
        "runc2",
    ):
        c.create(name, {"Runtime": name}, bites=has("HostConfig.Runtime", name), maybe=name != "weaker")


@vector(55, "Annotations")
def annotations(c):
    inert = None if c.rig.engine == "28" else "the engine knows no annotations before API 1.43 and drops them"
    for key in (
        "run.oci.keep_original_groups",
        "run.oci.handler",
        "io.katacontainers.config.hypervisor.kernel_params",
        "devices.nri.io/container.x",
        "cdi.k8s.io/x",
        "org.systemd.property.DevicePolicy",
        "io.podman.annotations.privileged",
    ):
        c.create(key, {"Annotations": {key: "1"}}, bites=holds("HostConfig.Annotations"), inert=inert)


@vector(56, "MaskedPaths and ReadonlyPaths")
def masks(c):
    for field in ("MaskedPaths", "ReadonlyPaths"):
        c.create(f"{field} []", {field: []}, bites=has(f"HostConfig.{field}", []))
        c.create(f"{field} of one", {field: ["/proc/kcore"]}, bites=has(f"HostConfig.{field}", ["/proc/kcore"]))
        c.create(f'{field} [""]', {field: [""]}, bites=has(f"HostConfig.{field}", [""]))
    c.create("both []", {"MaskedPaths": [], "ReadonlyPaths": []}, bites=has("HostConfig.MaskedPaths", []))
    c.behaves("/proc is open then", {"MaskedPaths": [], "ReadonlyPaths": []}, "mount | grep -c ' /proc/'", lambda out: out.strip() == "0")


@vector(57, "Sysctls")
def sysctls(c):
    for key, value in (
        ("kernel.core_pattern", "|/x"),
        ("vm.swappiness", "0"),
        ("kernel.modprobe", "/x"),
        ("kernel.shmmax", "1"),
        ("kernel.domainname", "x"),
        ("fs.suid_dumpable", "2"),
        ("kernel/core_pattern", "|/x"),
        ("user.max_user_namespaces", "0"),
        ("KERNEL.core_pattern", "x"),
    ):
        harmless = key == "kernel.shmmax"
        c.create(
            key,
            {"Sysctls": {key: value}},
            bites=(lambda _: False) if harmless else has("HostConfig.Sysctls", {key: value}),
            inert="it is of the container's own IPC namespace" if harmless else None,
            may_pass=harmless,
        )
    c.create(
        "net.* with the host's network",
        {"NetworkMode": "host", "Sysctls": {"net.ipv4.ip_forward": "0"}},
        bites=holds("HostConfig.Sysctls"),
        maybe=True,
    )
    foreign = c.make(start=True, HostConfig={"Binds": ["/:/host"]})
    c.create(
        "net.* in another's network",
        {"NetworkMode": f"container:{foreign}", "Sysctls": {"net.ipv4.ip_forward": "0"}},
        bites=holds("HostConfig.Sysctls"),
    )
    for key in (
        "net/../kernel/domainname",
        "net.core/../../kernel/domainname",
        "net.../kernel.domainname",
        "fs.mqueue/../../kernel/domainname",
        "kernel.shm_/../domainname",
    ):
        c.behaves(
            key,
            {"Sysctls": {key: "dgv57"}, "UTSMode": ""},
            "cat /proc/sys/kernel/domainname",
            lambda out: "dgv57" in out,
            inert="runc makes each dot a slash: nothing climbs",
        )
    c.create(
        "kernel.msg* with the host's IPC",
        {"IpcMode": "host", "Sysctls": {"kernel.msgmax": "1"}},
        bites=holds("HostConfig.Sysctls"),
        maybe=True,
    )


@vector(58, "OomScoreAdj and OomKillDisable")
def oom(c):
    for score in (-1, -500, -999, -1000):
        c.create(str(score), {"OomScoreAdj": score}, bites=has("HostConfig.OomScoreAdj", score))
    c.create("OomKillDisable", {"OomKillDisable": True}, bites=has("HostConfig.OomKillDisable", True))
    c.create(
        "OomKillDisable with a limit",
        {"OomKillDisable": True, "Memory": 64 << 20},
        bites=lambda i: dig(i, "HostConfig.OomKillDisable") is True,
    )
    c.create("out of range", {"OomScoreAdj": -1001}, bites=has("HostConfig.OomScoreAdj", -1001), inert="the engine refuses it itself")
