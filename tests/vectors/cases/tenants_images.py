"""380-389: names: ann's images under bob's, ann's names for bob's, and whatever ann has taken."""

import hashlib
import io
import json
import os
import tarfile

from lib.tenants import good, of, tenants

from .smuggling import tar
from .tenants_remove import archive


@tenants(380, "another's image: tagged as one's own")
def adopted(j):
    def reads(a, s, w):
        return a.status == 201 and w.bob.call("GET", "/images/bobs/adopted/json").status == 200

    j.call("tag", "POST", "/images/{}/tag?repo=bobs/adopted", bites=reads, forms=of("image"))


def points(w, s):
    """What ann's name means to ann."""
    a = w.ann.call("GET", "/images/team/annsimage:1/json")
    return a.json()["Id"] if a.status == 200 else None


def moved(a, s, w):
    if is_moved := points(w, s) != s["image_id"]:
        w.rig.admin("POST", f"/images/{s['image_id']}/tag?repo={s['engine_image'].rpartition(':')[0]}&tag=1")
    return is_moved


@tenants(381, "another's image: its name given to something else")
def renamed(j):
    """Whoever then runs what ann has built runs what bob has put there."""
    engine = "{engine_repo}"
    for repo in ("team/annsimage", engine):
        sure = repo != engine
        j.call(f"tag {repo}", "POST", f"/images/{{mine_image}}/tag?repo={repo}&tag=1", bites=moved, setup=repo_of, maybe=not sure, same=False)
        j.call(f"commit {repo}", "POST", f"/commit?pause=0&container={{mine_db}}&repo={repo}&tag=1", bites=moved, setup=repo_of, maybe=not sure, same=False)
        j.call(f"import {repo}", "POST", f"/images/create?fromSrc=-&repo={repo}&tag=1", tar(x=b"x"), kind="application/x-tar", bites=moved, setup=repo_of, maybe=not sure, same=False)
    j.call("load", "POST", "/images/load?quiet=1", archive("team/annsimage:1"), kind="application/x-tar", bites=moved, same=False, maybe=True)


def repo_of(w):
    return {"engine_repo": w.state["engine_image"].rpartition(":")[0]}


@tenants(382, "another's image: pulled and pushed")
def registries(j):
    """Nothing goes to a registry by another's name."""
    j.call("push", "POST", "/images/{}/push", bites=lambda a, s, w: "refers to repository" in a.text and "does not exist" not in a.text, forms={"name": "team/annsimage", "the engine's name": "{engine_repo}"}, sure=("name",), setup=repo_of, headers=["X-Registry-Auth: e30="])
    j.call("distribution", "GET", "/distribution/{image}/json", bites=good, maybe=True)
    j.call("attestations", "GET", "/images/{image}/attestations", bites=good, maybe=True)


def exhausted(number, title, path, body, make):
    @tenants(number, f"a name that another has: {title}")
    def case(j):
        """To bob it is free: he makes his own, and ann's stays what it is."""
        j.call(title, "POST", path, body, bites=lambda a, s, w: a.status >= 400, setup=make, same=False)


def a_container(w):
    return {**w.victim(), "n": os.urandom(4).hex()}


def a_network(w):
    name = "annsv" + os.urandom(4).hex()
    w.make(w.ann, "/networks/create", {"Name": name})
    return {"web": name}


exhausted(383, "of a container", "/containers/create?name={web}", {"Image": "busybox"}, a_container)
exhausted(384, "of a network", "/networks/create", {"Name": "{web}", "CheckDuplicate": True}, a_network)


@tenants(385, "a name that another has: given to a container that one has already")
def onto(j):
    def both(w):
        return {**w.victim(), "own": w.container(w.bob, "bobsv" + os.urandom(4).hex())}

    for form in ("{web}", "/{web}", "%2F{web}", "{engine_web}"):
        j.call(f"rename onto {form}", "POST", f"/containers/{{own}}/rename?name={form}", bites=lambda a, s, w: a.status == 409, setup=both, same=False, maybe=form.startswith(("/", "%")))


@tenants(386, "a port that another has published")
def port(j):
    """`ports = "namespace"`: each has its own."""

    def published(w):
        from lib.rig import free_port

        number = str(free_port())
        host = {"PortBindings": {"80/tcp": [{"HostPort": number}]}}
        w.victim(start=True, HostConfig=host, ExposedPorts={"80/tcp": {}})
        own = w.container(w.bob, "bobsv" + os.urandom(4).hex(), HostConfig=host, ExposedPorts={"80/tcp": {}})
        return {"own": own}

    j.call("start", "POST", "/containers/{own}/start", bites=lambda a, s, w: a.status >= 400, setup=published, same=False, worlds=("tenants",))


@tenants(387, "a volume's name that another has, with other options")
def options(j):
    """Is it there? The engine says so, and what is different."""

    def made(w):
        name = "annsv" + os.urandom(4).hex()
        options = {"type": "tmpfs", "device": "tmpfs", "o": "size=1m"}
        w.make(w.ann, "/volumes/create", {"Name": name, "DriverOpts": options})
        return {"web": name}

    def tells(a, s, w):
        return a.status >= 400 or (a.json().get("Options") or {}).get("o") == "size=1m"

    body = {"Name": "{web}", "DriverOpts": {"type": "tmpfs", "device": "tmpfs", "o": "size=2m"}}
    j.call("create", "POST", "/volumes/create", body, bites=tells, setup=made, same=False, worlds=("tenants",))


@tenants(388, "another's subnet, asked for")
def subnet(j):
    """It is taken, for there is one engine; by whom, and by what, is not said."""

    def taken(w):
        found = w.rig.admin("GET", f"/networks/{w.state['front_id']}").json()
        return {"subnet": found["IPAM"]["Config"][0]["Subnet"], "n": os.urandom(4).hex()}

    def told(a, s, w):
        return a.status >= 400 and "overlap" in a.text and w.is_open

    body = {"Name": "bobsv{n}", "IPAM": {"Config": [{"Subnet": "{subnet}"}]}}
    j.call("create", "POST", "/networks/create", body, bites=told, setup=taken, same=False)


@tenants(389, "another's bridge of the host, asked for by its name")
def bridge(j):
    """The engine's refusal names the network that has it."""

    def taken(w):
        name = "br" + os.urandom(4).hex()
        options = {"com.docker.network.bridge.name": name}
        made = w.make(w.ann, "/networks/create", {"Name": "annsv" + name, "Options": options})
        return {"bridge": name, "other_id": made["Id"], "n": os.urandom(4).hex()}

    def told(a, s, w):
        return s["other_id"] in a.text

    for label, options in (("its name", {"com.docker.network.bridge.name": "{bridge}"}),):
        body = {"Name": "bobsv{n}", "Options": options}
        j.call(label, "POST", "/networks/create", body, bites=told, setup=taken, same=False, worlds=("tenants",))




@tenants(411, "another's layer: named by an archive that does not hold it")
def layer(j):
    """An engine that has a layer takes it from there, and not from the archive that names it."""

    def secret(w):
        image = w.make(w.ann, f"/commit?pause=0&container={w.state['web']}&repo=team/annslayer&tag=1")["Id"]
        layers = w.rig.admin("GET", f"/images/{image}/json").json()["RootFS"]["Layers"]
        return {"layers": layers, "stolen": "bobs/stolen" + os.urandom(4).hex()}

    def reads(a, s, w):
        found = w.bob.call("GET", f"/images/{s['stolen']}:1/json")
        w.bob.call("DELETE", f"/images/{s['stolen']}:1")
        w.ann.call("DELETE", "/images/team/annslayer:1")
        return found.status == 200 and found.json()["RootFS"]["Layers"] == s["layers"]

    def loading(make):
        return lambda bob, s: bob.call("POST", "/images/load?quiet=1", make(s), kind="application/x-tar")

    j.probe("Docker's list", loading(docker_archive), reads, setup=secret, same=False)
    j.probe("other layers", loading(lambda s: docker_archive(s, tar(x=b"x"))), reads, setup=secret, same=False)
    j.probe("a config with two paths", loading(linked_archive), reads, setup=secret, same=False)
    j.probe("an index", loading(oci_archive), reads, setup=secret, same=False, maybe=True)


def config_of(s):
    rootfs = {"type": "layers", "diff_ids": s["layers"]}
    return json.dumps({"architecture": "amd64", "os": "linux", "config": {}, "rootfs": rootfs, "history": []}).encode()


def docker_archive(s, content=None):
    names = [f"{number}.tar" for number, _ in enumerate(s["layers"])]
    held = {name: content for name in names} if content else {}
    image = {"Config": "config.json", "RepoTags": [s["stolen"] + ":1"], "Layers": names}
    return tar(**held, **{"config.json": config_of(s), "manifest.json": json.dumps([image]).encode()})


def linked_archive(s):
    """A link that stands for a layer leads to a folder, and what is written through it replaces what is there."""
    a, b = "a" * 64, "b" * 64
    names = [f"{number}.tar" for number, _ in enumerate(s["layers"])]
    image = {"Config": f"{b}/layer.tar/config", "RepoTags": [s["stolen"] + ":1"], "Layers": names}
    harmless = json.dumps({**json.loads(config_of(s)), "rootfs": {"type": "layers", "diff_ids": []}}).encode()
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:

        def put(name, content=None, link=None):
            entry = tarfile.TarInfo(name)
            entry.mode = 0o755
            entry.type = tarfile.SYMTYPE if link else tarfile.DIRTYPE if content is None else tarfile.REGTYPE
            entry.linkname, entry.size = link or "", len(content or b"")
            archive.addfile(entry, io.BytesIO(content) if content is not None else None)

        for folder in (a, b, f"{b}/layer.tar"):
            put(folder)
        put(f"{b}/layer.tar/config", harmless)
        put(f"{a}/layer.tar", link=f"../{b}/layer.tar")
        put(f"{a}/layer.tar/config", config_of(s))
        put("manifest.json", json.dumps([image]).encode())
    return out.getvalue()


def oci_archive(s):
    """As a registry has it, whose layers are not packed: their digests are those of their contents."""

    def named(kind, digest, size):
        return {"mediaType": f"application/vnd.oci.image.{kind}", "digest": digest, "size": size}

    def blob(kind, content):
        digest = hashlib.sha256(content).hexdigest()
        blobs[f"blobs/sha256/{digest}"] = content
        return named(kind, f"sha256:{digest}", len(content))

    blobs = {}
    layers = [named("layer.v1.tar", digest, 1024) for digest in s["layers"]]
    manifest = {"schemaVersion": 2, "config": blob("config.v1+json", config_of(s)), "layers": layers}
    image = blob("manifest.v1+json", json.dumps(manifest).encode())
    image["annotations"] = {"io.containerd.image.name": f"docker.io/{s['stolen']}:1"}
    index = json.dumps({"schemaVersion": 2, "manifests": [image]}).encode()
    return tar(**blobs, **{"oci-layout": b'{"imageLayoutVersion":"1.0.0"}', "index.json": index})
