"""64-68: addresses, names and ports of a container."""

from lib.case import dig, holds, vector


@vector(64, "ExtraHosts: host-gateway")
def extra_hosts(c):
    def both(out):
        lines = out.split()
        return lines[0] != lines[1]

    script = "grep ' *gate$' /etc/hosts | cut -f1; ip route | sed -n 's/^default via \\([0-9.]*\\).*/\\1/p'"
    c.behaves(
        "another address than its own default gateway",
        {"ExtraHosts": ["gate:host-gateway"]},
        script,
        both,
        inert="it is the gateway that the container has anyway",
        may_pass=True,
    )
    c.create(
        "overriding a name",
        {"ExtraHosts": ["registry.example.com:10.0.0.1"]},
        bites=lambda _: False,
        inert="of the container itself; redirects of a cache are for `transparent-cache`",
        may_pass=True,
    )
    c.create(
        "a line of its own",
        {"ExtraHosts": ["a:10.0.0.1\n127.0.0.1 localhost2"]},
        bites=lambda _: False,
        inert="of the container itself",
        may_pass=True,
    )


@vector(65, "Links to another")
def links(c):
    ident = c.make("foreign65", start=True, Env=["SECRET=s65"], HostConfig={"Binds": ["/:/host"], "NetworkMode": "bridge"})
    for known in ("foreign65", ident, ident[:12], "/foreign65"):
        c.create(known[:12], {"Links": [f"{known}:al"]}, bites=holds("HostConfig.Links"))
        c.create(
            f"{known[:12]} in the endpoint",
            {"NetworkMode": "n65"},
            net={"n65": {"Links": [f"{known}:al"]}},
            bites=lambda i: dig(i, "NetworkSettings.Networks.n65.Links"),
            setup=lambda: c.rig.admin("POST", "/networks/create", {"Name": "n65"}),
        )
    c.create("without an alias", {"Links": ["foreign65"]}, bites=holds("HostConfig.Links"))
    c.behaves("its environment is told", {"Links": ["foreign65:al"]}, "env", lambda out: "s65" in out)
    c.call(
        "on connect",
        "POST",
        "/networks/n65/connect",
        {"Container": "{id}", "EndpointConfig": {"Links": ["foreign65:al"]}},
        setup=lambda: {"id": c.make(), "n": c.rig.admin("POST", "/networks/create", {"Name": "n65"})},
        bites=lambda _, s: dig(c.inspect(s["id"]), "NetworkSettings.Networks.n65.Links"),
    )


@vector(66, "ports of the host")
def ports(c):
    def fixed(i):
        return any(
            (b.get("HostPort") or "0") not in ("", "0") for bs in (dig(i, "HostConfig.PortBindings") or {}).values() for b in bs or []
        )

    for label, binding in (
        ("80", {"HostPort": "80"}),
        ("8080", {"HostPort": "8080"}),
        ("a range", {"HostPort": "8000-9000"}),
        ("a range of one", {"HostPort": "8080-8080"}),
        ("loopback", {"HostIp": "127.0.0.1", "HostPort": "5454"}),
        ("any", {"HostIp": "0.0.0.0", "HostPort": "22"}),
        ("IPv6", {"HostIp": "::", "HostPort": "8080"}),
        ("zeros before", {"HostPort": "08080"}),
        ("65535", {"HostPort": "65535"}),
    ):
        c.create(label, {"PortBindings": {"80/tcp": [binding]}}, bites=fixed, maybe=label == "zeros before")
    for label, binding in (
        ("blank", {"HostPort": " 8080"}),
        ("plus", {"HostPort": "+8080"}),
        ("hexadecimal", {"HostPort": "0x50"}),
        ("address in the port", {"HostPort": "127.0.0.1:80"}),
        ("0-65535", {"HostPort": "0-65535"}),
    ):
        c.create(label, {"PortBindings": {"80/tcp": [binding]}}, bites=fixed, maybe=True)
    c.create("second of two", {"PortBindings": {"80/tcp": [{"HostPort": ""}, {"HostPort": "8080"}]}}, bites=fixed)
    c.create("udp", {"PortBindings": {"53/udp": [{"HostPort": "53"}]}}, bites=fixed)
    c.create("sctp", {"PortBindings": {"80/sctp": [{"HostPort": "80"}]}}, bites=fixed)
    c.create("a range of the container", {"PortBindings": {"1000-1010/tcp": [{"HostPort": "1000-1010"}]}}, bites=fixed, maybe=True)
    c.create("without a protocol", {"PortBindings": {"80": [{"HostPort": "80"}]}}, bites=fixed)
    c.create(
        "PublishAllPorts",
        {"PublishAllPorts": True},
        config={"ExposedPorts": {"80/tcp": {}}},
        bites=fixed,
        inert="random ports only",
        may_pass=True,
    )
    c.create(
        "random port", {"PortBindings": {"80/tcp": [{"HostIp": "", "HostPort": ""}]}}, bites=fixed, inert="random ports only", may_pass=True
    )


@vector(67, "names on a shared network")
def names(c):
    why = "a user network belongs to who made it; strangers on one are for `namespace`"
    for label, config, host, net in (
        ("Dns", {}, {"Dns": ["10.0.0.1"], "DnsSearch": ["x"], "DnsOptions": ["ndots:5"]}, None),
        ("Hostname", {"Hostname": "registry", "Domainname": "x"}, {}, None),
        ("Aliases", {}, {"NetworkMode": "n67"}, {"n67": {"Aliases": ["registry", "db"]}}),
    ):
        c.create(
            label,
            host,
            config=config,
            net=net,
            bites=lambda _: False,
            inert=why,
            may_pass=True,
            setup=lambda: c.rig.admin("POST", "/networks/create", {"Name": "n67"}),
        )


@vector(68, "addresses and options of endpoints")
def endpoints(c):
    def net():
        c.rig.admin("POST", "/networks/create", {"Name": "n68", "IPAM": {"Config": [{"Subnet": "10.68.0.0/24"}]}})

    for label, endpoint, path in (
        ("IPv4", {"IPAMConfig": {"IPv4Address": "10.68.0.9"}}, "IPAMConfig.IPv4Address"),
        ("IPv6", {"IPAMConfig": {"IPv6Address": "fd00::9"}}, "IPAMConfig.IPv6Address"),
        ("LinkLocalIPs", {"IPAMConfig": {"LinkLocalIPs": ["169.254.1.2"]}}, "IPAMConfig.LinkLocalIPs"),
        ("MacAddress", {"MacAddress": "02:42:0a:44:00:09"}, "MacAddress"),
        ("DriverOpts", {"DriverOpts": {"com.docker.network.endpoint.sysctls": "net.ipv4.conf.IFNAME.route_localnet=1"}}, "DriverOpts"),
        ("ifname", {"DriverOpts": {"com.docker.network.endpoint.ifname": "lo1"}}, "DriverOpts"),
        ("IPAddress", {"IPAddress": "10.68.0.9"}, "IPAddress"),
        ("Gateway", {"Gateway": "10.68.0.9"}, "Gateway"),
        ("DNSNames", {"DNSNames": ["registry"]}, "DNSNames"),
        ("EndpointID", {"EndpointID": "x"}, "EndpointID"),
    ):

        def kept(i, path=path):
            value = dig(i, "NetworkSettings.Networks.n68." + path)
            return "registry" in (value or []) if path == "DNSNames" else value

        dropped = label in ("IPAddress", "Gateway", "DNSNames", "EndpointID")
        c.create(
            label, {"NetworkMode": "n68"}, net={"n68": endpoint}, bites=kept, setup=net, maybe=dropped or label in ("IPv6", "MacAddress")
        )
        c.call(
            f"connect with {label}",
            "POST",
            "/networks/n68/connect",
            {"Container": "{id}", "EndpointConfig": endpoint},
            setup=lambda: {"id": c.make(), "n": net()},
            bites=lambda _, s, kept=kept: kept(c.inspect(s["id"])),
            maybe=dropped or label in ("IPv6", "MacAddress"),
        )
    c.create(
        "MacAddress of the container",
        config={"MacAddress": "02:42:ac:11:00:99"},
        version="1.41",
        bites=lambda i: dig(i, "Config.MacAddress") or dig(i, "NetworkSettings.Networks.bridge.MacAddress"),
    )
    c.create(
        "MacAddress on bridge",
        {"NetworkMode": "bridge"},
        net={"bridge": {"MacAddress": "02:42:ac:11:00:99"}},
        bites=lambda i: dig(i, "NetworkSettings.Networks.bridge.MacAddress") or dig(i, "Config.MacAddress"),
        maybe=True,
    )
    c.create(
        "address on bridge",
        {"NetworkMode": "bridge"},
        net={"bridge": {"IPAMConfig": {"IPv4Address": "172.17.0.1"}}},
        bites=lambda i: dig(i, "NetworkSettings.Networks.bridge.IPAMConfig.IPv4Address"),
        maybe=True,
    )
    c.create(
        "NetworkID that is another's",
        {"NetworkMode": "bridge"},
        net={"bridge": {"NetworkID": "n68"}},
        bites=lambda i: "n68" in i["NetworkSettings"]["Networks"],
        setup=net,
        maybe=True,
    )
