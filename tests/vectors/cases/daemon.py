"""113-116: plugins, swarm, networks, and what is the engine's as a whole."""

import base64
import json

from lib.case import vector

from .attributes import image_of, quote
from .smuggling import plugin_tar, tar


@vector(113, "plugins")
def plugins(c):
    at, canary = c.rig.canary.at, c.rig.canary
    data = plugin_tar()

    def there():
        a = c.rig.admin("POST", "/plugins/create?name=dgv/there:1", data, kind="application/x-tar")
        assert a.status == 204, a

    def plugin():
        a = c.rig.admin("GET", "/plugins/dgv/there:1/json")
        return a.json() if a.status == 200 else None

    c.call(
        "create",
        "POST",
        "/plugins/create?name=dgv/new:1",
        data,
        kind="application/x-tar",
        bites=lambda *_: any(p["Name"] == "dgv/new:1" for p in c.rig.admin("GET", "/plugins").json()),
    )
    c.call("list", "GET", "/plugins", bites=lambda a, _: a.status == 200)
    c.call("inspect", "GET", "/plugins/dgv/there:1/json", setup=there, bites=lambda a, _: a.status == 200)
    c.call("remove", "DELETE", "/plugins/dgv/there:1?force=1", setup=there, bites=lambda *_: plugin() is None)
    c.call("set", "POST", "/plugins/dgv/there:1/set", ["DEBUG=1"], setup=there, bites=lambda a, _: a.engines)
    c.call("enable", "POST", "/plugins/dgv/there:1/enable?timeout=1", setup=there, bites=lambda a, _: a.engines)
    c.call("disable", "POST", "/plugins/dgv/there:1/disable?force=1", setup=there, bites=lambda a, _: a.engines)
    for label, method, path, body in (
        ("privileges", "GET", f"/plugins/privileges?remote={at}/p:1", None),
        ("pull", "POST", f"/plugins/pull?remote={at}/p:1&name=p", []),
        ("upgrade", "POST", f"/plugins/dgv/there:1/upgrade?remote={at}/p:1", []),
        ("push", "POST", f"/plugins/{at}/there:1/push", None),
    ):
        c.call(
            label,
            method,
            path,
            body,
            setup=lambda: (there(), canary.hits)[1],
            bites=lambda a, before: canary.hits > before or a.engines,
            headers=["X-Registry-Auth: e30="],
        )


SERVICE = {
    "Name": "s114",
    "TaskTemplate": {
        "ContainerSpec": {
            "Image": "busybox",
            "Command": ["sleep", "60"],
            "Mounts": [{"Type": "bind", "Source": "/", "Target": "/host"}],
            "CapabilityAdd": ["CAP_SYS_ADMIN"],
            "Sysctls": {"net.ipv4.ip_forward": "1"},
        },
        "Networks": [{"Target": "host"}],
    },
    "Mode": {"Replicated": {"Replicas": 0}},
}


@vector(114, "swarm, services, secrets, configs, nodes")
def swarm(c):
    rig = c.rig
    init = {"ListenAddr": "127.0.0.1:2377", "AdvertiseAddr": "127.0.0.1"}

    def leave():
        rig.admin("POST", "/swarm/leave?force=1")
        rig.admin("DELETE", "/networks/docker_gwbridge")

    try:
        c.call("init", "POST", "/swarm/init", init, setup=leave, bites=lambda a, _: a.status == 200)
        c.call(
            "join",
            "POST",
            "/swarm/join",
            {**init, "RemoteAddrs": [f"{rig.canary.at}"], "JoinToken": "SWMTKN-1-" + "0" * 50 + "-" + "0" * 25},
            setup=leave,
            bites=lambda a, _: a.engines,
        )
        leave()
        a = rig.admin("POST", "/swarm/init", init)
        assert a.status == 200, a
        data = base64.b64encode(b"x").decode()

        def remake():
            for kind in ("services/s114", "secrets/x114", "configs/x114"):
                rig.admin("DELETE", f"/{kind}")

        c.call("service create", "POST", "/services/create", SERVICE, setup=remake, bites=lambda a, _: a.status == 201)
        c.call(
            "plugin service",
            "POST",
            "/services/create",
            {"Name": "p114", "TaskTemplate": {"Runtime": "plugin", "PluginSpec": {"Name": "x", "Remote": f"{rig.canary.at}/x"}}},
            setup=remake,
            bites=lambda a, _: a.engines,
        )
        c.call("secret create", "POST", "/secrets/create", {"Name": "x114", "Data": data}, setup=remake, bites=lambda a, _: a.status == 201)
        c.call("config create", "POST", "/configs/create", {"Name": "x114", "Data": data}, setup=remake, bites=lambda a, _: a.status == 201)
        remake()
        service = rig.admin("POST", "/services/create", SERVICE).json()["ID"]
        secret = rig.admin("POST", "/secrets/create", {"Name": "x114", "Data": data}).json()["ID"]
        config = rig.admin("POST", "/configs/create", {"Name": "x114", "Data": data}).json()["ID"]
        node = rig.admin("GET", "/nodes").json()[0]["ID"]
        read = lambda a, _: a.status == 200  # noqa: E731
        for path in (
            "/swarm",
            "/swarm/unlockkey",
            "/services",
            f"/services/{service}",
            f"/services/{service}/logs?stdout=1",
            "/nodes",
            f"/nodes/{node}",
            "/tasks",
            "/secrets",
            f"/secrets/{secret}",
            "/configs",
            f"/configs/{config}",
        ):
            c.call(path.replace(service, "ID").replace(secret, "ID").replace(config, "ID").replace(node, "ID"), "GET", path, bites=read)
        # what changes something is sent with what the engine refuses in the end, for it must stay as it is
        for path, body in (
            (f"/services/{service}/update?version=0", SERVICE),
            (f"/nodes/{node}/update?version=0", {"Role": "manager", "Availability": "active"}),
            ("/swarm/update?version=0", {}),
            ("/swarm/unlock", {"UnlockKey": "x"}),
            (f"/secrets/{secret}/update?version=0", {}),
            (f"/configs/{config}/update?version=0", {}),
        ):
            c.call(
                path.replace(service, "ID").replace(secret, "ID").replace(config, "ID").replace(node, "ID"),
                "POST",
                path,
                body,
                bites=lambda a, _: a.engines,
            )
        for path in (f"/services/{'0' * 25}", f"/secrets/{'0' * 25}", f"/configs/{'0' * 25}", f"/nodes/{'0' * 25}"):
            c.call(f"DELETE {path[:9]}", "DELETE", path, bites=lambda a, _: a.engines)
        c.call(
            "overlay network",
            "POST",
            "/networks/create",
            {"Name": "o114", "Driver": "overlay", "Attachable": True},
            bites=lambda a, _: a.status == 201,
        )
        c.create(
            "cluster volume",
            {"Mounts": [{"Type": "cluster", "Source": "x", "Target": "/x"}]},
            bites=lambda i: False,
            inert="no such volume here",
        )
        c.call(
            "leave",
            "POST",
            "/swarm/leave?force=1",
            bites=lambda a, _: a.status == 200,
            setup=lambda: rig.admin("POST", "/swarm/init", init),
        )
    finally:
        leave()


@vector(115, "networks that are the host's")
def networks(c):
    rig = c.rig

    def made(answer, _):
        return answer.status == 201

    def net(label, body, **more):
        c.call(label, "POST", "/networks/create", {"Name": "n115", **body}, bites=made, **more)

    for driver in ("macvlan", "ipvlan"):
        net(f"{driver} parent", {"Driver": driver, "Options": {"parent": "eth0"}}, maybe=True)
        net(driver, {"Driver": driver}, maybe=True)
        net(
            f"{driver} ConfigFrom",
            {"Driver": driver, "ConfigFrom": {"Network": "cfg115"}},
            setup=lambda driver=driver: rig.admin(
                "POST", "/networks/create", {"Name": "cfg115", "ConfigOnly": True, "Options": {"parent": "eth0"}}
            ),
            maybe=True,
        )
    for driver in ("host", "null", "overlay"):
        net(driver, {"Driver": driver}, maybe=True)
    for driver in (f"dgv{rig.index}", "Bridge", "BRIDGE", "bridge "):  # the engine looks for plugins of that name
        c.unseen(driver, "POST", "/networks/create", {"Name": "n115", "Driver": driver})
    bridge = "com.docker.network.bridge."
    taken = {"Driver": "bridge", "Options": {bridge + "name": "docker0"}}
    if rig.engine == "20.10":  # takes its own for a stale one then, and has no default bridge any more
        c.unseen("name=docker0", "POST", "/networks/create", {"Name": "n115", **taken})
    else:
        net("name=docker0", taken, maybe=True)
    for key, value in (
        (bridge + "name", "br115"),
        (bridge + "host_binding_ipv4", "127.0.0.1"),
        (bridge + "gateway_mode_ipv4", "routed"),
        (bridge + "enable_ip_masquerade", "false"),
        ("unknown", "x"),
    ):
        net(f"{key}={value}", {"Driver": "bridge", "Options": {key: value}}, maybe=value == "routed")
    for key, value in (
        (bridge + "name", "eth0"),
        (bridge + "NAME", "docker0"),
        (bridge + "gateway_mode_ipv4", "nat-unprotected"),
        (bridge + "gateway_mode_ipv6", "routed"),
        (bridge + "trusted_host_interfaces", "eth0"),
        (bridge + "inhibit_ipv4", "true"),
        (bridge + "default_bridge", "true"),
        ("com.docker.network.host_ipv4", "127.0.0.1"),
        ("parent", "eth0"),
    ):
        c.unseen(f"{key}={value}", "POST", "/networks/create", {"Name": "n115", "Driver": "bridge", "Options": {key: value}})
    net("a subnet of others", {"IPAM": {"Config": [{"Subnet": "8.8.8.0/24"}]}})
    for subnet in ("10.0.0.0/8", f"10.66.{rig.index}.0/24", "169.254.169.0/24", "192.168.0.0/16", "0.0.0.0/0", "fd00::/8"):
        c.unseen(f"subnet {subnet}", "POST", "/networks/create", {"Name": "n115", "IPAM": {"Config": [{"Subnet": subnet}]}})
    net(
        "gateway",
        {
            "IPAM": {
                "Config": [
                    {
                        "Subnet": "10.115.0.0/24",
                        "Gateway": "10.115.0.77",
                        "AuxiliaryAddresses": {"a": "10.115.0.5"},
                        "IPRange": "10.115.0.0/28",
                    }
                ]
            }
        },
    )
    net("IPAM driver", {"IPAM": {"Driver": "null"}}, maybe=True)
    net("IPAM options", {"IPAM": {"Options": {"a": "b"}}})
    net("ConfigOnly", {"ConfigOnly": True})
    net("Ingress", {"Ingress": True}, maybe=True)
    net("Scope swarm", {"Scope": "swarm"}, maybe=True)
    net("Scope global", {"Scope": "global"}, maybe=True)

    # one that is there already
    options = {bridge + "host_binding_ipv4": "127.0.0.1", bridge + "enable_ip_masquerade": "false"}
    for label, body in (
        ("options", {"Options": options}),
        ("macvlan", {"Driver": "macvlan", "Options": {"parent": "eth0"}}),
        ("ipvlan", {"Driver": "ipvlan", "Options": {"parent": "eth0"}}),
    ):
        a = rig.admin("POST", "/networks/create", {"Name": f"there-{label}", **body})
        if a.status != 201:
            c.notes.append(f"no {label} on this kernel")
            continue
        ident = a.json()["Id"]
        for way, known in (("name", f"there-{label}"), ("id", ident), ("prefix", ident[:12])):
            c.call(
                f"connect to {label} by {way}",
                "POST",
                f"/networks/{known}/connect",
                {"Container": "{own}"},
                setup=lambda: {"own": c.make("own115")},
                bites=lambda _, s, label=label: f"there-{label}" in c.inspect(s["own"])["NetworkSettings"]["Networks"],
            )
            c.create(f"create in {label} by {way}", {"NetworkMode": known}, bites=lambda _: True)
            c.create(f"endpoint in {label} by {way}", {"NetworkMode": known}, net={known: {}}, bites=lambda _: True)
            c.create(
                f"endpoint in {label} by {way}, beside",
                {"NetworkMode": "bridge"},
                net={known: {}},
                bites=lambda i, label=label: f"there-{label}" in str(i["NetworkSettings"]["Networks"]),
                maybe=True,
            )
        c.call(
            f"build in {label}",
            "POST",
            f"/build?version=1&networkmode=there-{label}",
            tar(Dockerfile=b"FROM busybox\nRUN true\n"),
            kind="application/x-tar",
            bites=lambda a, _: "Successfully built" in a.text,
            maybe=label != "options",
        )

    def pair():
        rig.admin("POST", "/networks/create", {"Name": "plain115"})
        return {"id": c.make("foreign115", start=True, HostConfig={"Binds": ["/:/host"], "NetworkMode": "bridge"})}

    linked = lambda _, s: "plain115" in c.inspect(s["id"])["NetworkSettings"]["Networks"]  # noqa: E731
    for known in ("foreign115", "{id}"):
        c.call(f"connect a foreign container {known}", "POST", "/networks/plain115/connect", {"Container": known}, setup=pair, bites=linked)
        c.call(
            f"disconnect a foreign container {known}",
            "POST",
            "/networks/bridge/disconnect",
            {"Container": known, "Force": True},
            setup=pair,
            bites=lambda _, s: "bridge" not in c.inspect(s["id"])["NetworkSettings"]["Networks"],
        )


@vector(116, "prunes, events, info, debug: the engine as a whole")
def whole(c):
    rig = c.rig

    def things():
        rig.admin("POST", "/networks/create", {"Name": "victim116"})
        return {
            "containers": c.make("victim116"),
            "networks": "victim116",
            "volumes": rig.admin("POST", "/volumes/create", {}).json()["Name"],
        }

    filters = (
        ("no filters", None),
        ("none in it", {}),
        ("until", {"until": ["0s"]}),
        ("label!", {"label!": ["a=b"]}),
        ("an empty list", {"label": []}),
        ("an empty map", {"label": {}}),
        ("another case", {"Label": ["a=b"]}),
        ("false", {"label": {"a=b": False}}),
        ("an empty label", {"label": [""]}),
    )
    for kind in ("containers", "networks", "volumes"):
        for label, given in filters:
            query = "" if given is None else "?filters=" + quote(json.dumps(given))
            c.call(
                f"{kind}/prune, {label}",
                "POST",
                f"/{kind}/prune{query}",
                setup=things,
                bites=lambda _, s, kind=kind: c.inspect(s[kind], kind) is None,
                maybe=label not in ("no filters", "none in it"),
                may_pass=label in ("false", "an empty label"),
            )
    for query in ('filters={"dangling":["false"]}', "", 'filters={"until":["0s"]}'):
        c.call(
            f"images/prune {query}",
            "POST",
            "/images/prune?" + query,
            setup=lambda: image(c),
            bites=lambda *_: c.inspect("victim116", "images") is None,
            maybe=query != 'filters={"dangling":["false"]}',
        )
    for path in (
        "/debug/pprof/",
        "/debug/vars",
        "/debug/pprof/cmdline",
        "/debug/pprof/heap",
        "/debug/pprof/goroutine?debug=2",
        "/debug/pprof/symbol",
    ):
        c.call(path, "GET", path, version="", bites=lambda a, _: a.status == 200)
    c.call("labels of the daemon in /info", "GET", "/info", bites=lambda a, _: "label-of-the-daemon" in a.text)
    c.declare("events, lists and inspects of others are for `namespace`")


def image(c):
    return image_of(c, "victim116", "LABEL a=b")
