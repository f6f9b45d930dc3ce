"""59-62: limits (a listener with `limits`), where logs go, and what outlives a job."""

from lib.case import dig, has, vector

MIB = 1 << 20


@vector(59, "no limit of memory, processes, CPU")
def unlimited(c):
    def more_than(path, most):
        return lambda i: not 0 < (dig(i, "HostConfig." + path) or 0) <= most

    for value in (None, 0, 1 << 40, 257 * MIB):
        c.create(f"Memory {value}", {} if value is None else {"Memory": value}, bites=more_than("Memory", 256 * MIB), via="sizes")
    for value in (None, 0, -1, 100_000, 201):
        c.create(f"PidsLimit {value}", {} if value is None else {"PidsLimit": value}, bites=more_than("PidsLimit", 200), via="sizes")
    for value in (None, 0, 2_000_000_000, 1_000_000_001):
        c.create(f"NanoCpus {value}", {} if value is None else {"NanoCpus": value}, bites=lambda i: cpus(i) > 1, via="sizes")
    c.create("MemorySwap -1", {"Memory": 64 * MIB, "MemorySwap": -1}, bites=has("HostConfig.MemorySwap", -1), via="sizes")
    c.create(
        "MemorySwap large",
        {"Memory": 64 * MIB, "MemorySwap": 1 << 40},
        bites=lambda i: dig(i, "HostConfig.MemorySwap") > 2 * 256 * MIB,
        via="sizes",
    )
    c.create("MemorySwap without Memory", {"MemorySwap": -1}, bites=has("HostConfig.MemorySwap", -1), via="sizes", maybe=True)
    for label, quota in (
        ("CpuQuota", {"CpuQuota": 200_000}),
        ("CpuQuota and CpuPeriod", {"CpuQuota": 100_000, "CpuPeriod": 10_000}),
        ("CpuQuota -1", {"CpuQuota": -1}),
        ("CpuPeriod alone", {"CpuPeriod": 1000}),
    ):
        c.create(label, quota, bites=lambda i: cpus(i) > 1, via="sizes")
    c.create(
        "the smallest PidsLimit wins nothing",
        {"PidsLimit": -9223372036854775808},
        bites=more_than("PidsLimit", 200),
        via="sizes",
        maybe=True,
    )


def cpus(inspect):
    """Cores that a container may use; the machine's where there is no limit."""
    host = inspect["HostConfig"]
    if host.get("NanoCpus"):
        return host["NanoCpus"] / 1e9
    if (host.get("CpuQuota") or 0) > 0:
        return host["CpuQuota"] / (host.get("CpuPeriod") or 100_000)
    return 99


@vector(60, "realtime CPU, block devices, ulimits, shm, storage")
def other_resources(c):
    for label, host, path in (
        ("CpuRealtimeRuntime", {"CpuRealtimeRuntime": 1000, "CpuRealtimePeriod": 10_000}, "CpuRealtimeRuntime"),
        ("BlkioDeviceReadBps", {"BlkioDeviceReadBps": [{"Path": "/dev/vda", "Rate": 1}]}, "BlkioDeviceReadBps"),
        ("BlkioDeviceWriteBps", {"BlkioDeviceWriteBps": [{"Path": "/dev/vda", "Rate": 1}]}, "BlkioDeviceWriteBps"),
        ("BlkioDeviceReadIOps", {"BlkioDeviceReadIOps": [{"Path": "/dev/vda", "Rate": 1}]}, "BlkioDeviceReadIOps"),
        ("BlkioDeviceWriteIOps", {"BlkioDeviceWriteIOps": [{"Path": "/dev/vda", "Rate": 1}]}, "BlkioDeviceWriteIOps"),
        ("BlkioWeightDevice", {"BlkioWeightDevice": [{"Path": "/etc/shadow", "Weight": 100}]}, "BlkioWeightDevice"),
        ("StorageOpt", {"StorageOpt": {"size": "1000G"}}, "StorageOpt"),
    ):
        disk = label == "StorageOpt"  # refused by overlay on ext4
        c.create(label, host, bites=lambda i, path=path: bool(dig(i, "HostConfig." + path)), maybe=True, may_pass=disk)
    for name, soft, hard in (
        ("rtprio", 99, 99),
        ("memlock", -1, -1),
        ("nofile", 1 << 30, 1 << 30),
        ("nice", 40, 40),
        ("nproc", -1, -1),
        ("sigpending", -1, -1),
        ("msgqueue", -1, -1),
        ("NOFILE", 1 << 30, 1 << 30),
    ):
        c.create(
            f"ulimit {name}",
            {"Ulimits": [{"Name": name, "Soft": soft, "Hard": hard}]},
            bites=lambda i: bool(dig(i, "HostConfig.Ulimits")),
            maybe=name == "NOFILE",
        )
    c.create(
        "ulimit core",
        {"Ulimits": [{"Name": "core", "Soft": -1, "Hard": -1}]},
        bites=lambda _: False,
        inert="dumps of its own, on its own disk",
        may_pass=True,
    )
    for size in (1 << 40, 65 * MIB):
        c.create(f"ShmSize {size}", {"ShmSize": size}, bites=lambda i: dig(i, "HostConfig.ShmSize") > 64 * MIB, via="sizes")
    c.create("tmpfs of any size", {"Tmpfs": {"/x": "size=100g"}}, bites=lambda i: "100g" in str(dig(i, "HostConfig.Tmpfs")), via="sizes")
    c.create(
        "BlkioWeight",
        {"BlkioWeight": 1000},
        bites=lambda _: False,
        inert="a share among containers: nothing is taken from the host",
        may_pass=True,
    )
    c.create("CpusetMems", {"CpusetMems": "0", "CpusetCpus": "0"}, bites=lambda _: False, inert="a restriction", may_pass=True)


@vector(61, "log drivers: the daemon connects, or writes elsewhere")
def log_drivers(c):
    canary = c.rig.canary
    where = {
        "syslog": {"syslog-address": f"tcp://{canary.at}"},
        "fluentd": {"fluentd-address": canary.at, "fluentd-async": "true"},
        "gelf": {"gelf-address": f"tcp://{canary.at}"},
        "splunk": {"splunk-url": f"http://{canary.at}", "splunk-token": "x"},
        "journald": {},
    }
    for driver, options in where.items():
        for config in (options, {}):
            c.create(
                f"{driver} {'' if config else 'without options'}",
                {"LogConfig": {"Type": driver, "Config": config}},
                bites=has("HostConfig.LogConfig.Type", driver),
                maybe=not config,
            )
    for driver in ("awslogs", "gcplogs", "logentries", "etwlogs", "someplugin", "JSON-FILE", "Syslog"):
        c.unseen(driver, "POST", "/containers/create", {"Image": "busybox", "HostConfig": {"LogConfig": {"Type": driver, "Config": {}}}})
    c.create(
        "a socket of the host",
        {"LogConfig": {"Type": "syslog", "Config": {"syslog-address": "unix:///run/x.sock"}}},
        bites=has("HostConfig.LogConfig.Type", "syslog"),
        maybe=True,
    )
    c.create(
        "certificate paths",
        {"LogConfig": {"Type": "syslog", "Config": {"syslog-address": "tcp+tls://127.0.0.1:1", "syslog-tls-ca-cert": "/etc/shadow"}}},
        bites=has("HostConfig.LogConfig.Type", "syslog"),
        maybe=True,
    )
    for driver in ("json-file", "local"):
        c.create(
            f"{driver} of 100 GB",
            {"LogConfig": {"Type": driver, "Config": {"max-size": "100g", "max-file": "1000"}}},
            bites=lambda _: False,
            inert="the default has no limit at all: a matter of `limits`",
            may_pass=True,
        )

    def connects(target, _):
        a = target.call(
            "POST",
            "/containers/create",
            {"Image": "busybox", "Cmd": ["echo", "x"], "HostConfig": {"LogConfig": {"Type": "syslog", "Config": where["syslog"]}}},
        )
        return target.call("POST", f"/containers/{a.json()['Id']}/start") if a.status == 201 else a

    c.probe("the daemon connects", connects, lambda _, before: canary.hits > before, setup=lambda: canary.hits)


@vector(62, "RestartPolicy that outlives its job")
def restart(c):
    for policy in ({"Name": "always"}, {"Name": "unless-stopped"}):
        c.create(policy["Name"], {"RestartPolicy": policy}, bites=has("HostConfig.RestartPolicy.Name", policy["Name"]))
    for name in ("Always", "always ", "unless_stopped", "ALWAYS", "on-failure:0"):
        c.create(repr(name), {"RestartPolicy": {"Name": name}}, bites=has("HostConfig.RestartPolicy.Name", name), maybe=True)
    c.create(
        "always with a count",
        {"RestartPolicy": {"Name": "always", "MaximumRetryCount": 1}},
        bites=has("HostConfig.RestartPolicy.Name", "always"),
        maybe=True,
    )
    c.create(
        "on-failure, of itself",
        {"RestartPolicy": {"Name": "on-failure"}},
        bites=lambda i: dig(i, "HostConfig.RestartPolicy") == {"Name": "on-failure", "MaximumRetryCount": 0},
    )
    c.create(
        "on-failure for ever",
        {"RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 0}},
        bites=lambda i: dig(i, "HostConfig.RestartPolicy") == {"Name": "on-failure", "MaximumRetryCount": 0},
    )
    c.create(
        "on-failure a billion times",
        {"RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 10**9}},
        bites=lambda i: dig(i, "HostConfig.RestartPolicy.MaximumRetryCount") == 10**9,
    )
