"""335-348: bob's containers beside, behind and within ann's."""

import os

from lib.case import fill
from lib.tenants import ALONE, SECRET, SURE, TEXT, names, of, replaced, tenants
from lib.wire import streams


# One that runs takes a while.
FEW = {label: TEXT[label] for label in ("name", "id", "12 digits", "the engine's name")}


def mine():
    return "bobs" + os.urandom(5).hex()


def ran(bob, body, name=None):
    """What a container of bob's says, or the answer that kept it from being made or started. A body that leads to
    nothing is no different where it leads to what is ann's."""
    made = bob.call("POST", f"/containers/create?name={name or mine()}", {"Image": "busybox", **body})
    if made.status != 201:
        return made
    ident = made.json()["Id"]
    started = bob.call("POST", f"/containers/{ident}/start")
    if started.status < 300:
        bob.call("POST", f"/containers/{ident}/wait")
        started = bob.call("GET", f"/containers/{ident}/logs?stdout=1&stderr=1")
        started.body = streams(started.body)
    bob.call("DELETE", f"/containers/{ident}?force=1&v=1")
    started.body = started.body.replace(ident.encode(), b"<new>").replace(ident[:12].encode(), b"<new>")
    return started


def running(j, label, host, script, bites, *, forms=FEW, sure=SURE, config=None, **more):
    for name, form in forms.items():
        def send(bob, s, form=form):
            put = lambda value: fill(replaced(value, form), s)  # noqa: E731
            return ran(bob, {"Cmd": ["sh", "-c", script], "HostConfig": put(host), **put(config or {})})

        j.probe(f"{label} {name}", send, bites, maybe=more.pop("maybe", False) or name not in sure, **more)


def says(text):
    return lambda a, s, w: text in a.text


def made(check):
    """`check(inspect, s)` of the container that bob has made, as the engine has it."""

    def bites(a, s, w):
        if a.status != 201:
            return False
        return check(w.rig.admin("GET", f"/containers/{a.json()['Id']}/json").json(), s)

    return bites


def creating(j, label, body, check, *, forms=TEXT, sure=SURE, **more):
    """Only made: what would happen at its start is seen in the engine's inspect."""
    j.call(label, "POST", "/containers/create?name=bobs{new}", {"Image": "busybox", **body}, bites=made(check), forms=forms, sure=sure, same=warnings, **more)


def warnings(a):
    """The id of what was made is new each time."""
    return "made" if a.status == 201 else a.text


@tenants(335, "another's container: its network namespace")
def net(j):
    running(j, "ip", {"NetworkMode": "container:{}"}, "ip -4 addr; hostname", net_bites)


def net_bites(a, s, w):
    """It is in the network that ann's container is in."""
    found = w.rig.admin("GET", f"/containers/{s['web_id']}/json").json()
    address = next(iter(found["NetworkSettings"]["Networks"].values()))["IPAddress"]
    return address in a.text


@tenants(336, "another's container: its processes")
def pid(j):
    running(j, "ps", {"PidMode": "container:{}", "NetworkMode": "none"}, "ps -o args; cat /proc/1/environ", says("sleep 100000"))


@tenants(337, "another's container: its memory segments")
def ipc(j):
    check = lambda inspect, s: s["web_id"] in inspect["HostConfig"]["IpcMode"] or s["engine_web"] in inspect["HostConfig"]["IpcMode"]  # noqa: E731
    creating(j, "ipc", {"HostConfig": {"IpcMode": "container:{}", "NetworkMode": "none"}}, check)


@tenants(338, "another's container: its volumes")
def volumes_from(j):
    running(j, "volumes from", {"VolumesFrom": ["{}"], "NetworkMode": "none"}, "cat /data/of", says(SECRET))
    running(j, "volumes from, to read", {"VolumesFrom": ["{}:ro"], "NetworkMode": "none"}, "cat /data/of", says(SECRET), forms={"name": "{web}"})


@tenants(339, "another's volume: mounted")
def mounted(j):
    quiet = {"NetworkMode": "none"}
    # without the policy an empty one is made where there is none, and with it too
    running(j, "bind", {"Binds": ["{}:/d"], **quiet}, "cat /d/of", says(SECRET), forms=names("data"), sure=("name",))
    running(j, "mount", {"Mounts": [{"Type": "volume", "Source": "{}", "Target": "/d"}], **quiet}, "cat /d/of", says(SECRET), forms=names("data"), sure=("name",))
    running(j, "a part of it", {"Mounts": [{"Type": "volume", "Source": "{}", "Target": "/d", "VolumeOptions": {"Subpath": "."}}], **quiet}, "cat /d/of", says(SECRET), forms=names("data"), sure=())
    check = lambda inspect, s: any(m.get("Name") == s["anon"] for m in inspect["Mounts"])  # noqa: E731
    creating(j, "one that the engine has named", {"HostConfig": {"Binds": ["{anon}:/d"]}}, check, forms={"": ""}, sure=("",))
    creating(j, "the same, mounted", {"HostConfig": {"Mounts": [{"Type": "volume", "Source": "{anon}", "Target": "/d"}]}}, check, forms={"": ""}, sure=("",))


@tenants(340, "another's network: a container in it")
def in_network(j):
    front = of("front", TEXT)
    running(j, "nslookup", {"NetworkMode": "{}"}, "nslookup annsweb 127.0.0.11", net_bites, forms=of("front", FEW), sure=("name",))
    check = lambda inspect, s: any(n["NetworkID"] == s["front_id"] or name == s["engine_front"] for name, n in inspect["NetworkSettings"]["Networks"].items())  # noqa: E731
    creating(j, "made in it", {"HostConfig": {"NetworkMode": "{}"}}, check, forms=front, sure=("name",))
    creating(j, "by its place in it", {"NetworkingConfig": {"EndpointsConfig": {"{}": {}}}}, check, forms=front, sure=("name",), maybe=True)


@tenants(341, "another's network: a container connected to it")
def connected(j):
    def sits(a, s, w):
        inside = w.rig.admin("GET", f"/networks/{s['front_id']}").json()["Containers"]
        name = s["mine_name"]
        # (what is not running is in no list of a network's)
        found = w.rig.admin("GET", f"/containers/{s['mine_own']}/json").json()["NetworkSettings"]["Networks"]
        return s["mine_own"] in inside or s["engine_front"] in found or name in str(inside)

    def own(w):
        name = mine()
        return {"mine_own": w.container(w.bob, name, HostConfig={}), "mine_name": name}

    j.call("connect", "POST", "/networks/{}/connect", {"Container": "{mine_own}"}, bites=sits, forms=of("front"), setup=own)
    j.call("with its id once more", "POST", "/networks/{mine_net}/connect", {"Container": "{mine_own}", "EndpointConfig": {"NetworkID": "{front_id}"}}, bites=sits, setup=own, maybe=True)


@tenants(342, "another's container: connected to one's own network")
def pulled_in(j):
    def sits(a, s, w):
        return "bobsfront" in str(w.rig.admin("GET", f"/containers/{s['web_id']}/json").json()["NetworkSettings"]["Networks"])

    j.call("connect", "POST", "/networks/bobsfront/connect", {"Container": "{}"}, bites=sits, forms=TEXT, setup=lambda w: w.victim(HostConfig={}))


@tenants(343, "another's container: linked to")
def linked(j):
    def links(inspect, s):
        networks = inspect["NetworkSettings"]["Networks"].values()
        found = [*(inspect["HostConfig"]["Links"] or []), *(link for n in networks for link in n["Links"] or [])]
        return any(link.partition(":")[0].lstrip("/") in (s["engine_web"], s["web_id"]) for link in found)

    def plain(w):
        return w.victim(start=True, HostConfig={})

    body = {"HostConfig": {"Links": ["{}:x"]}}
    creating(j, "by the host's configuration", body, links, forms={"name": "{web}", "id": "{web_id}", "engine": "{engine_web}"}, sure=("name",))
    body = {"HostConfig": {"NetworkMode": "bobsfront"}, "NetworkingConfig": {"EndpointsConfig": {"bobsfront": {"Links": ["{}:x"]}}}}
    creating(j, "by a place in a network", body, links, forms={"name": "{web}", "id": "{web_id}", "engine": "{engine_web}"}, sure=("name",))
    running(j, "and looked up", {"Links": ["{web}:annslinked"]}, "cat /etc/hosts; nslookup annslinked", net_bites, forms={"": ""}, sure=("",), setup=plain, same=False)


@tenants(344, "another's container: by its name in DNS")
def dns(j):
    """From a container of bob's own, in his own networks."""
    script = "; ".join(f"nslookup {name} 127.0.0.11" for name in ("{web}", "{web_12}", "{engine_web}", "{web}.{front}", "{engine_web}.{engine_front}", "{db}"))

    def send(bob, s):
        return ran(bob, {"Cmd": ["sh", "-c", fill(script, s)], "HostConfig": {"NetworkMode": s["into"]}})

    # Without the policy ann's network is as good as bob's.
    def bites(a, s, w):
        found = w.rig.admin("GET", f"/containers/{s['web_id']}/json").json()["NetworkSettings"]["Networks"]
        return any(n["IPAddress"] and n["IPAddress"] in a.text for n in found.values())

    j.probe("in a network", send, bites, setup=lambda w: {"into": "annsfront" if w.is_open else "bobsfront"}, same=False)
    j.probe("in the bridge", send, bites, setup=lambda w: {"into": "bridge"}, same=False, maybe=True)


@tenants(345, "another's container: the mode of a namespace, for what it is not for")
def modes(j):
    check = lambda inspect, s: s["web_id"] in str(inspect["HostConfig"]) or s["engine_web"] in str(inspect["HostConfig"])  # noqa: E731
    for key in ("Cgroup", "UsernsMode", "UTSMode", "CgroupnsMode"):
        creating(j, key, {"HostConfig": {key: "container:{}"}}, check, maybe=True, worlds=("tenants-site",))
    creating(j, "a cgroup within hers", {"HostConfig": {"CgroupParent": "/docker/{web_id}"}}, lambda inspect, s: s["web_id"] in inspect["HostConfig"]["CgroupParent"], forms={"": ""}, sure=("",), worlds=("tenants-site",))


@tenants(346, "another's network: what configures one's own")
def config_from(j):
    def config(w):
        name = "annsconf" + os.urandom(4).hex()
        ann = w.ann if w.is_open else w.rig.worlds[ALONE].ann  # `conservative` has none of these
        ident = w.make(ann, "/networks/create", {"Name": name, "ConfigOnly": True})["Id"]
        return w.names("conf", name, ident, "networks")

    def bites(a, s, w):
        return a.status == 201 and s["engine_conf"] in str(w.rig.admin("GET", f"/networks/{a.json()['Id']}").json()["ConfigFrom"])

    j.call("from", "POST", "/networks/create", {"Name": "bobs{new}", "ConfigFrom": {"Network": "{}"}}, bites=bites, forms=of("conf", TEXT), sure=("name",), setup=config, same=without_new)


def without_new(a):
    return "made" if a.status == 201 else a.text


@tenants(347, "another's image: mounted")
def image_mount(j):
    mount = {"HostConfig": {"Mounts": [{"Type": "image", "Source": "{}", "Target": "/i"}], "NetworkMode": "none"}}
    check = lambda inspect, s: any(m["Type"] == "image" for m in inspect["Mounts"] or [])  # noqa: E731
    creating(j, "mount", mount, check, forms=of("image", TEXT), sure=(), maybe=True)
    if j.rig.engine == "20.10":
        j.case.declare("this engine mounts no images")


@tenants(348, "another's image: what a container is made of")
def image_used(j):
    check = lambda inspect, s: inspect["Image"] == s["image_id"]  # noqa: E731
    creating(j, "create", {"Image": "{}"}, check, forms=of("image", TEXT))
    creating(j, "by its digits", {"Image": "{image_bare}"}, check, forms={"": ""}, sure=(), maybe=True)

