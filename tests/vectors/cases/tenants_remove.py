"""365-379: what bob removes of ann's, and what his prunes take."""

import os

from lib.tenants import PATH, gone, names, of, tenants


def fresh(kind):
    """One more of ann's, by the names that the forms use."""

    def make(w):
        name = "annsv" + os.urandom(4).hex()
        if kind == "containers":
            return w.victim(Labels={"to": "go"})
        if kind == "networks":
            ident = w.make(w.ann, "/networks/create", {"Name": name, "Labels": {"to": "go"}})["Id"]
            return w.names("web", name, ident, kind)
        if kind == "volumes":
            w.make(w.ann, "/volumes/create", {"Name": name, "Labels": {"to": "go"}})
            engine = next(v["Name"] for v in w.rig.admin("GET", "/volumes").json()["Volumes"] if v["Name"].endswith(name))
            return {"web": name, "engine_web": engine}
        container = w.state["db_id"]
        ident = w.make(w.ann, f"/commit?container={container}&repo={name}&tag=1&changes=LABEL%20to%3Dgo%20one%3D{name}")["Id"]
        return w.names("web", f"{name}:1", ident, "images")

    return make


@tenants(365, "another's container: removed")
def container(j):
    for query in ("", "?force=1", "?v=1", "?force=1&v=1"):
        j.call(f"remove{query}", "DELETE", "/containers/{}" + query, bites=gone("containers", "web_id"), forms=PATH, setup=fresh("containers"))
    j.call("as a link", "DELETE", "/containers/{web}?link=1", bites=gone("containers", "web_id"), setup=fresh("containers"), maybe=True)
    running = lambda w: w.victim(start=True)  # noqa: E731
    j.call("one that runs", "DELETE", "/containers/{}?force=1", bites=gone("containers", "web_id"), forms={"name": "{web}"}, setup=running)


@tenants(366, "another's network: removed")
def network(j):
    j.call("remove", "DELETE", "/networks/{}", bites=gone("networks", "web_id"), forms=PATH, setup=fresh("networks"))


@tenants(367, "another's volume: removed")
def volume(j):
    for query in ("", "?force=1"):
        j.call(f"remove{query}", "DELETE", "/volumes/{}" + query, bites=gone("volumes", "web"), forms=names("web"), setup=fresh("volumes"))

    def anonymous(w):
        s = w.victim(Volumes={"/anon": {}})
        mounts = w.rig.admin("GET", f"/containers/{s['web_id']}/json").json()["Mounts"]
        name = mounts[0]["Name"]
        if w.is_open:  # nothing holds it there
            w.ann.call("DELETE", f"/containers/{s['web_id']}")
        return {"web": name}

    def is_gone(a, s, w):
        return w.rig.admin("GET", f"/volumes/{s['web']}").status == 404

    j.call("one that the engine has named", "DELETE", "/volumes/{web}?force=1", bites=is_gone, setup=anonymous)


@tenants(368, "another's image: removed")
def image(j):
    forms = of("web")
    for query in ("", "?force=1", "?noprune=1"):
        j.call(f"remove{query}", "DELETE", "/images/{}" + query, bites=gone("images", "web"), forms=forms, setup=fresh("images"), sure=("name", "id", "12 digits"))


@tenants(369, "an image that both have named: another's name of it removed")
def shared_image(j):
    """By its id, which is bob's as well; by force."""

    def both(w):
        s = fresh("images")(w)
        # (bob gets at the same image: the administrator names it for him, as a pull by each of them would)
        if not w.is_open:
            engine = s["engine_web"].replace(w.prefix("ann"), w.prefix("bob"))
            repo, _, tag = engine.rpartition(":")
            done = w.rig.admin("POST", f"/images/{s['web_id']}/tag?repo={repo}&tag={tag}")
            assert done.status == 201, done
        return s

    for label, form in {"id": "{web_id}", "12 digits": "{web_12}", "name": "{web}"}.items():
        for query in ("", "?force=1"):
            j.call(f"{label}{query}", "DELETE", f"/images/{form}{query}", bites=gone("images", "web"), setup=both, same=False)


@tenants(370, "what both share: removed, renamed, put under another's feet")
def operators(j):
    """`busybox` is the operator's: everybody uses it, nobody changes it."""

    def spoilt(a, s, w):
        found = w.rig.admin("GET", "/images/busybox/json")
        if is_spoilt := found.status == 404 or found.json()["Id"] != s["before"]:
            w.rig.admin("POST", f"/images/{s['before']}/tag?repo=busybox&tag=latest")
        return is_spoilt

    def before(w):
        return {"before": w.rig.admin("GET", "/images/busybox/json").json()["Id"]}

    for name in ("busybox", "docker.io/library/busybox", "docker.io/busybox", "library/busybox", "index.docker.io/library/busybox", "busybox:latest"):
        maybe = name.startswith("docker.io/busybox") or name.startswith("index")
        j.call(f"remove {name}", "DELETE", f"/images/{name}?force=1", bites=spoilt, setup=before, maybe=maybe, same=False)
        repo = name.partition(":")[0]
        j.call(f"tag as {name}", "POST", f"/images/{{mine_image}}/tag?repo={repo}&tag=latest", bites=spoilt, setup=before, same=False)
        j.call(f"commit as {name}", "POST", f"/commit?pause=0&container={{mine_db}}&repo={repo}&tag=latest", bites=spoilt, setup=before, same=False)
    from .smuggling import tar

    j.call("import as busybox", "POST", "/images/create?fromSrc=-&repo=busybox&tag=latest", tar(x=b"x"), kind="application/x-tar", bites=spoilt, setup=before, same=False)
    j.call("load as busybox", "POST", "/images/load?quiet=1", archive("busybox:latest"), kind="application/x-tar", bites=spoilt, setup=before, same=False, maybe=True)
    j.call("by its id", "DELETE", "/images/{before}?force=1", bites=spoilt, setup=before, same=False, maybe=True)


def pruned(number, title, path, kind, key, extra=lambda engine: {}):
    """`extra`: the filter by which the engine takes all of this kind, by the engine's version."""

    @tenants(number, f"prune: {title}")
    def case(j):
        more = extra(j.rig.engine)
        for filters in ({"label": ["to=go"]}, {"label": ["to"]}, {"label!": ["keep"], "label": ["to=go"]}):
            j.call(f"{filters} {more}", "POST", path, filters={**filters, **more}, bites=gone(kind, key), setup=fresh(kind), same=False)
        # without any filter only where it cannot take all that the others need
        for filters in (more, {**more, "until": ["1s"]}, {**more, "label!": ["x"]}):
            held_only(j, f"without a label {filters}", path, filters, kind, key)


def held_only(j, label, path, filters, kind, key):
    from lib.tenants import ALONE, SITE, encoded

    for name in (ALONE, SITE):
        world = j.rig.worlds[name]
        s = {**world.state, **fresh(kind)(world)}
        answer = world.bob.call("POST", f"{path}?filters={encoded(filters)}")
        if gone(kind, key)(answer, s, world):
            j.case.fail(label, f"bites with the policy: {answer}", world.bob)


pruned(371, "containers", "/containers/prune", "containers", "web_id")
pruned(372, "networks", "/networks/prune", "networks", "web_id")
# from API 1.42 on volumes with a name need `all`, which the API before refuses (moby api/server/router/volume/volume_routes.go, postVolumesPrune)
pruned(373, "volumes", "/volumes/prune", "volumes", "web", lambda engine: {} if engine == "20.10" else {"all": ["true"]})
pruned(374, "images", "/images/prune", "images", "web", lambda engine: {"dangling": ["false"]})


@tenants(375, "prune: what everybody has built")
def build_cache(j):
    """Each step of a build is everybody's: that others build again what they had is no matter of bob's."""
    from lib.kit import shell, solve

    if j.rig.engine == "20.10":
        return j.case.declare("its BuildKit takes minutes here")

    def records(w):
        return len(w.rig.admin("GET", "/system/df").json()["BuildCache"] or [])

    def built(w):
        assert solve(w.rig.direct, shell(f"echo {os.urandom(4).hex()} > /x")).good
        return {"before": records(w)}

    j.call("prune", "POST", "/build/prune?all=1", bites=lambda a, s, w: records(w) < s["before"], setup=built, same=False)
    j.call("of some", "POST", "/build/prune", filters={"unused-for": ["0s"]}, bites=lambda a, s, w: records(w) < s["before"], setup=built, same=False, maybe=True)


def archive(name):
    """What `docker load` takes: an image without layers, by this name."""
    import hashlib
    import json

    from .smuggling import tar

    config = json.dumps({"architecture": "amd64", "os": "linux", "config": {}, "rootfs": {"type": "layers", "diff_ids": []}, "history": []}).encode()
    digest = hashlib.sha256(config).hexdigest()
    manifest = json.dumps([{"Config": f"{digest}.json", "RepoTags": [name], "Layers": []}]).encode()
    return tar(**{f"{digest}.json": config, "manifest.json": manifest})
