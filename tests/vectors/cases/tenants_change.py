"""350-364: what bob does to ann's containers, execs, networks and volumes."""

import os

from lib.tenants import PATH, names, now, tenants

from .smuggling import tar
from .tenants_join import ran


def state_of(w, s, key="web_id"):
    a = w.ann.call("GET", f"/containers/{s[key]}/json")
    return a.json()["State"] if a.status == 200 else {}


def changed(field, wanted):
    return lambda a, s, w: state_of(w, s).get(field) == wanted


def up(w):
    return w.victim(start=True)


def paused(w):
    s = up(w)
    w.make(w.ann, f"/containers/{s['web_id']}/pause", wanted=204)
    return s


# One that runs takes a while to be made: the first forms, each of which leads elsewhere in the gate.
FEW = {label: PATH[label] for label in ("name", "12 digits", "the engine's name")}


def of_running(number, title, path, bites, setup=up, body=None):
    @tenants(number, f"another's container: {title}")
    def case(j):
        j.call(title, "POST", "/containers/{}" + path, body, bites=bites, forms=FEW, sure=("name", "12 digits"), setup=setup)


of_running(350, "stop", "/stop?t=0", changed("Running", False))
of_running(351, "kill", "/kill", changed("Running", False))
of_running(353, "pause", "/pause", changed("Paused", True))
of_running(354, "unpause", "/unpause", changed("Paused", False), paused)


@tenants(352, "another's container: restart")
def restart(j):
    def bites(a, s, w):
        return a.status == 204

    j.call("restart", "POST", "/containers/{}/restart?t=0", bites=bites, forms={"name": "{web}", "id": "{web_id}"}, setup=up)


@tenants(355, "another's container: start")
def start(j):
    j.call("start", "POST", "/containers/{}/start", bites=lambda a, s, w: state_of(w, s).get("Running"), forms=PATH, setup=lambda w: w.victim())


@tenants(356, "another's container: rename")
def rename(j):
    def bites(a, s, w):
        return s["unique"] in w.rig.admin("GET", f"/containers/{s['web_id']}/json").json()["Name"]

    def one(w):
        return {**w.victim(), "unique": "bobsnow" + os.urandom(4).hex()}

    j.call("rename", "POST", "/containers/{}/rename?name={unique}", bites=bites, forms=PATH, setup=one)


@tenants(357, "another's container: update")
def update(j):
    def bites(a, s, w):
        return w.rig.admin("GET", f"/containers/{s['web_id']}/json").json()["HostConfig"]["CpuShares"] == 77

    j.call("update", "POST", "/containers/{}/update", {"CpuShares": 77}, bites=bites, forms=PATH, setup=lambda w: w.victim())


@tenants(358, "another's container: resize")
def resize(j):
    j.call("resize", "POST", "/containers/{}/resize?h=7&w=7", bites=lambda a, s, w: a.status == 200, forms=PATH, sure=("name",))



@tenants(359, "another's container: a process in it")
def exec_in(j):
    def bites(a, s, w):
        return a.status == 201

    j.call("exec", "POST", "/containers/{}/exec", {"Cmd": ["cat", "/secret"], "AttachStdout": True}, bites=bites, forms=PATH)


@tenants(360, "another's exec: resize")
def exec_resize(j):
    def one(w):
        ident = w.make(w.ann, f"/containers/{w.state['web_id']}/exec", {"Cmd": ["sleep", "1000"], "Tty": True})["Id"]
        w.make(w.ann, f"/exec/{ident}/start", {"Detach": True, "Tty": True}, wanted=200)
        return {"exec": ident}

    j.call("resize", "POST", "/exec/{exec}/resize?h=7&w=7", bites=lambda a, s, w: a.status in (200, 201), setup=one)


@tenants(361, "another's container: files put into it")
def archive(j):
    def bites(a, s, w):
        return a.status == 200

    j.call("archive", "PUT", "/containers/{}/archive?path=/", tar(planted=b"x"), bites=bites, forms=PATH, setup=lambda w: w.victim())


@tenants(362, "another's container: taken out of its network")
def disconnect(j):
    def bites(a, s, w):
        found = w.rig.admin("GET", f"/containers/{s['web_id']}/json").json()["NetworkSettings"]["Networks"]
        return s["engine_front"] not in found

    def placed(w):
        return w.victim(HostConfig={"NetworkMode": "annsfront"})

    for force in (False, True):
        body = {"Container": "{}", "Force": force}
        j.call(f"disconnect, force {force}", "POST", "/networks/{front_id}/disconnect", body, bites=bites, forms={"name": "{web}", "id": "{web_id}"}, setup=placed)
        j.call(f"by one's own network, force {force}", "POST", "/networks/bobsfront/disconnect", body, bites=bites, forms={"name": "{web}"}, setup=placed, maybe=True)


@tenants(363, "another's volume: made again, and written to")
def volume(j):
    """The engine answers with the volume that it has already."""
    def hers(a, s, w):
        return a.status == 201 and (a.json().get("Labels") or {}).get("of") == "ann"

    def is_hers(a, s, w):
        """There is no other one that is called so."""
        return a.status == 201 and not any(v["Name"].endswith("-" + s["anon"]) for v in w.rig.admin("GET", "/volumes").json()["Volumes"])

    j.call("create", "POST", "/volumes/create", {"Name": "{}"}, bites=hers, forms=names("data"), sure=("name",), same=False)
    j.call("one that the engine has named", "POST", "/volumes/create", {"Name": "{anon}"}, bites=is_hers, same=False)

    def send(bob, s):
        quiet = {"Binds": ["annsdata:/d"], "NetworkMode": "none"}
        ran(bob, {"Cmd": ["sh", "-c", "echo planted > /d/planted"], "HostConfig": quiet})
        return ran(s["world"].ann, {"Cmd": ["sh", "-c", "cat /d/planted; rm -f /d/planted"], "HostConfig": quiet})

    j.probe("written to", send, lambda a, s, w: "planted\n" in a.text, setup=lambda w: {"world": w}, same=False)


@tenants(364, "labels of ours, forged")
def forged(j):
    """What bob makes with ann's label is not hers: it is in none of her lists."""
    labels = {"io.dockgate.namespace": "ann", "io.dockgate.owner": "ann", "name": "annsweb", "com.docker.compose.project": "anns"}

    def in_hers(path, key):
        return lambda a, s, w: a.status == 201 and (a.json().get("Id") or a.json()["Name"]) in w.ann.call("GET", path).text

    j.call("a container", "POST", "/containers/create?name=bobsforged{unique}", {"Image": "busybox", "Labels": labels}, bites=in_hers("/containers/json?all=1", "Id"), setup=unique, same=False)
    j.call("a network", "POST", "/networks/create", {"Name": "bobsforged{unique}", "Labels": labels}, bites=in_hers("/networks", "Id"), setup=unique, same=False)
    j.call("a volume", "POST", "/volumes/create", {"Name": "bobsforged{unique}", "Labels": labels}, bites=in_hers("/volumes", "Name"), setup=unique, same=False)

    def seen(a, s, w):
        return "bobsforged" + s["unique"] in w.ann.call("GET", f"/events?since=1&until={now(w.rig)}").text

    j.call("its events", "POST", "/containers/create?name=bobsforged{unique}", {"Image": "busybox", "Labels": labels}, bites=seen, setup=unique, same=False)


def unique(w):
    return {"unique": os.urandom(4).hex()}

