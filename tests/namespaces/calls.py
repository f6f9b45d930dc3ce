"""The calls that are drawn: one function a kind. Each draws from few names, so that they meet often: what is there, what
was, what never was, and what is another tenant's.
"""

import dataclasses
import io
import json
import re
import tarfile
import typing

from rig import call
from sides import quoted

CALLS = []
# two that could be ids, too long to be the beginning of one by chance; one that an engine has itself
NAMES = ["web", "dbs", "dbs-1", "abcdef01", "deadbeef1234", "bridge"]
NETS = ["front", "back", "fadefade"]
VOLUMES = ["data", "cafe", "logs"]
REPOS = ["app", "app:1", "lib/app:2", "base:1", "base:2", "example.org/x:1", "beefbeef"]
LABELS = ["k=v", "k=w", "k", "other"]


@dataclasses.dataclass
class Call:
    method: str
    target: str
    body: typing.Any = None
    kind: str = "application/json"
    version: str = ""
    made: typing.Any = None
    seen: typing.Any = None
    # of something that has been made: its symbol
    new: str = ""

    def __str__(self):
        body = "" if self.body is None else f" {json.dumps(self.body)}" if isinstance(self.body, dict) else f" ({len(self.body)} bytes)"
        return f"{self.method} {self.version}{self.target}{body}"


def drawn(weight):
    def add(function):
        function.weight = weight
        CALLS.append(function)
        return function

    return add


# ---- what a text names ----


def new_symbol(side, letter):
    side.counter = getattr(side, "counter", 0) + 1
    return f"{letter}{side.counter}"


def reference(rng, gate, others, letter, names):
    """A name, mostly; an id or its beginning; what is another's; nothing at all."""
    own = [name for name in gate.symbols if name[0] == letter and name[1:].isdigit()]
    foreign = [value for other in others for name, value in other.symbols.items() if name[0] == letter and name[1:].isdigit()]
    way = rng.randrange(12)
    if way < 5 and own:
        return "{%s%s}" % (rng.choice(own), rng.choice(["", ":12", ":12"]))
    if way == 5 and foreign:
        return rng.choice(foreign)[: rng.choice([64, 12])]
    if way == 6:
        return rng.choice(["nosuch", "0123456789ab", "f" * 64, "no such", "x"])
    return rng.choice(names)


def container(rng, gate, others):
    return reference(rng, gate, others, "c", NAMES)


def network(rng, gate, others):
    return reference(rng, gate, others, "n", NETS + ["none", "host"])


def image(rng, gate, others):
    text = reference(rng, gate, others, "i", REPOS)
    return "sha256:" + text if (text.endswith("}") and ":" not in text) and rng.randrange(2) else text


def existing_image(rng, gate):
    return rng.choice(["base:1", "base:1", "{i0}", "{i0:12}", *REPOS])


def is_there(gate, image):
    return call(gate.address, "GET", f"/images/{quoted(gate.filled(image))}/json").status == 200


def labels(rng):
    return {} if rng.randrange(2) else {"k": rng.choice(["v", "w"])}


def filters(rng, **choices):
    """One or two of them."""
    found = {}
    for key in rng.sample(sorted(choices), min(len(choices), rng.choice([0, 1, 1, 2]))):
        values = choices[key]
        found[key.replace("_not", "!")] = [values(rng) if callable(values) else rng.choice(values)]
    return quoted(json.dumps(found, separators=(",", ":")))


def only(*keys):
    """Of an answer that is a list, these alone."""

    def seen(side, answer, value):
        if answer.status >= 400:
            return answer.status, side.body(answer, value)
        values = value["Volumes"] or [] if isinstance(value, dict) else value
        for one in values if "Image" in keys else []:
            one["Image"] = whole(side, one["Image"])
            one["Mounts"].sort(key=lambda mount: mount["Destination"])
            for mount in one["Mounts"]:
                if len(mount.get("Name", "")) == 64:
                    mount.pop("Mode")
        found = [{key: side.plain(one.get(key)) for key in keys} for one in values]
        return answer.status, found if keys[0] == "Names" else sorted(found, key=str)

    return seen


def listed(name):
    """Of a prune: what is gone, in whatever order."""

    def seen(side, answer, value):
        if answer.status >= 400:
            return answer.status, side.body(answer, value)
        return answer.status, sorted(side.plain(value[name] or []))

    return seen


# ---- containers ----


@drawn(14)
def create(rng, gate, others):
    name = rng.choice([*NAMES, *NAMES, "", "bad name"])
    host = {}
    way = rng.randrange(8)
    if way < 2:
        host["NetworkMode"] = rng.choice([*NETS, "none", "host", "nosuch"])
    elif way == 2:
        host["NetworkMode"] = "container:" + container(rng, gate, others)
    way = rng.randrange(8)
    if way < 3:
        host["Binds"] = [rng.choice(VOLUMES) + ":/data"]
    elif way == 3:
        host["VolumesFrom"] = [container(rng, gate, others)]
    elif way == 4:
        host["Mounts"] = [{"Type": "volume", "Source": rng.choice([*VOLUMES, ""]), "Target": "/data"}]
    # which of two complaints comes first is not compared
    if name == "bad name":
        host = {}
    image = existing_image(rng, gate)
    if not is_there(gate, image):
        name, host = "web", {}
    body = {"Image": image, "Cmd": ["sleep", "9000"], "StopSignal": "KILL", "Labels": labels(rng), "HostConfig": host}
    if rng.randrange(4) == 0:
        body["Volumes"] = {"/anonymous": {}}
    if rng.randrange(8) == 0:
        body["Hostname"] = "h"
    if rng.randrange(5) == 0 and host:
        body["NetworkingConfig"] = {"EndpointsConfig": {rng.choice(NETS): {"Aliases": ["alias"]}}}
    symbol = new_symbol(gate, "c")

    def made(side, value, answer):
        if answer.status == 201:
            side.bind(symbol, value["Id"])

    return Call("POST", "/containers/create" + (f"?name={quoted(name)}" if name else ""), body, made=made, new=symbol)


def on_container(weight, method, path, **more):
    def draw(rng, gate, others):
        return Call(method, path.format(quoted(container(rng, gate, others))), **more)

    draw.__name__ = path.split("/")[-1].split("?")[0] if method != "DELETE" else "rm"
    return drawn(weight)(draw)


on_container(14, "POST", "/containers/{}/start")
on_container(5, "POST", "/containers/{}/stop?t=0")
on_container(3, "POST", "/containers/{}/kill")
on_container(2, "POST", "/containers/{}/restart?t=0")
on_container(2, "POST", "/containers/{}/pause")
on_container(2, "POST", "/containers/{}/unpause")
on_container(5, "DELETE", "/containers/{}")
on_container(4, "DELETE", "/containers/{}?force=1&v=1")
on_container(1, "GET", "/containers/{}/changes")
on_container(2, "GET", "/containers/{}/logs?stdout=1")


def without_hosts(side, answer, value):
    """An inspect, but for what the engine's own bridge has otherwise."""
    if answer.status == 200:
        value["Config"].pop("Hostname", None)
        # two words for one thing; an id's beginning is sent whole
        value["HostConfig"]["NetworkMode"] = value["HostConfig"]["NetworkMode"].replace("default", "bridge")
        value["HostConfig"].pop("VolumesFrom", None)
        value["Config"]["Image"] = whole(side, value["Config"]["Image"])
        settings = value["NetworkSettings"]
        settings.pop("Ports", None)
        for one in settings["Networks"].values():
            one["Aliases"] = sorted(side.text(alias) for alias in one.get("Aliases") or []) or None
        value["Mounts"].sort(key=lambda mount: mount["Destination"])
    return answer.status, side.body(answer, value)


def whole(side, text):
    """An id, where that or its beginning is written."""
    return next((value for value in side.known_as if re.fullmatch("[0-9a-f]{12,}", bare(text)) and value.startswith(bare(text))), text)


def bare(text):
    return text.removeprefix("sha256:")


@drawn(12)
def inspect(rng, gate, others):
    return Call("GET", f"/containers/{quoted(container(rng, gate, others))}/json", seen=without_hosts)


@drawn(5)
def rename(rng, gate, others):
    text = container(rng, gate, others)
    is_known = call(gate.address, "GET", f"/containers/{quoted(gate.filled(text))}/json").status == 200
    name = rng.choice([*NAMES, "", "bad name"] if is_known else NAMES)
    return Call("POST", f"/containers/{quoted(text)}/rename?name={quoted(name)}")


@drawn(14)
def ps(rng, gate, others):
    def one(rng):
        return container(rng, gate, others)

    query = filters(
        rng,
        name=["web", "^dbs$", "dbs", "/dbs", "s-", "d.s-"],
        label=LABELS,
        status=["running", "exited", "created", "paused"],
        id=one,
        before=one,
        since=one,
        network=lambda rng: network(rng, gate, others),
        volume=[*VOLUMES, "/data"],
        ancestor=lambda rng: image(rng, gate, others),
        nosuch=["x"],
    )
    limit = rng.choice(["", "", "&limit=1", "&limit=2", "&limit=-1"])
    seen = only("Names", "Id", "Image", "ImageID", "Command", "State", "Status", "Labels", "Ports", "Mounts", "NetworkSettings")
    return Call("GET", f"/containers/json?all={rng.randrange(2)}{limit}&filters={query}", seen=seen)


@drawn(4)
def run_exec(rng, gate, others):
    symbol = new_symbol(gate, "e")

    def made(side, value, answer):
        if answer.status == 201:
            side.bind(symbol, value["Id"])

    body = {"Cmd": ["sh", "-c", "echo out; exit 3"], "AttachStdout": True}
    return Call("POST", f"/containers/{quoted(container(rng, gate, others))}/exec", body, made=made, new=symbol)


@drawn(3)
def execs(rng, gate, others):
    return Call("GET", f"/exec/{quoted(reference(rng, gate, others, 'e', ['nosuch']))}/json", seen=exec_state)


def exec_state(side, answer, value):
    if answer.status != 200:
        return answer.status, side.body(answer, value)
    return answer.status, side.plain({key: value[key] for key in ("ID", "ContainerID", "ProcessConfig")})


@drawn(3)
def copy_in(rng, gate, others):
    name = quoted(container(rng, gate, others))
    return Call("PUT", f"/containers/{name}/archive?path={rng.choice(['/tmp', '/nosuch'])}", archive({"in": b"in\n"}), kind="application/x-tar")


@drawn(3)
def copy_out(rng, gate, others):
    def seen(side, answer, value):
        if answer.status != 200:
            return answer.status, side.body(answer, value)
        with tarfile.open(fileobj=io.BytesIO(answer.body)) as tar:
            return answer.status, sorted(tar.getnames())

    return Call("GET", f"/containers/{quoted(container(rng, gate, others))}/archive?path={rng.choice(['/tmp', '/etc/passwd', '/nosuch'])}", seen=seen)


# ---- networks ----


@drawn(6)
def network_create(rng, gate, others):
    symbol = new_symbol(gate, "n")

    def made(side, value, answer):
        if answer.status == 201:
            side.bind(symbol, value["Id"])

    body = {"Name": rng.choice([*NETS, *NETS, "bridge", "host"]), "CheckDuplicate": True, "Labels": labels(rng)}
    return Call("POST", "/networks/create", body, made=made)


@drawn(4)
def network_connect(rng, gate, others):
    body = {"Container": container(rng, gate, others)}
    if rng.randrange(2):
        body["EndpointConfig"] = {"Aliases": ["other"]}
    return Call("POST", f"/networks/{quoted(network(rng, gate, others))}/connect", body)


@drawn(3)
def network_disconnect(rng, gate, others):
    body = {"Container": container(rng, gate, others), "Force": bool(rng.randrange(2))}
    return Call("POST", f"/networks/{quoted(network(rng, gate, others))}/disconnect", body)


@drawn(3)
def network_rm(rng, gate, others):
    return Call("DELETE", f"/networks/{quoted(network(rng, gate, others))}")


@drawn(5)
def network_inspect(rng, gate, others):
    def seen(side, answer, value):
        if answer.status == 200 and value["Name"] in ("host", "none"):
            value.pop("Id")
        return answer.status, side.body(answer, value)

    return Call("GET", f"/networks/{quoted(network(rng, gate, others))}", seen=seen)


@drawn(6)
def network_ls(rng, gate, others):
    query = filters(
        rng,
        name=["front", "^back$", "a", "ridge"],
        label=LABELS,
        type=["custom", "builtin", "bad"],
        driver=["bridge", "null"],
        scope=["local"],
        id=lambda rng: network(rng, gate, others),
        dangling=["true", "false"],
    )
    return Call("GET", f"/networks?filters={query}", seen=only("Name", "Driver", "Labels", "Scope", "Internal"))


# ---- volumes ----


@drawn(5)
def volume_create(rng, gate, others):
    body = {"Name": rng.choice([*VOLUMES, *VOLUMES, "bad name", "x"]), "Labels": labels(rng)}
    if rng.randrange(5) == 0:
        body["DriverOpts"] = {"type": "tmpfs", "device": "tmpfs"}
    return Call("POST", "/volumes/create", body)


def volume(rng, gate, others):
    return reference(rng, gate, others, "v", VOLUMES).replace(":12", "")


@drawn(3)
def volume_rm(rng, gate, others):
    return Call("DELETE", f"/volumes/{quoted(volume(rng, gate, others))}" + rng.choice(["", "?force=1"]))


@drawn(3)
def volume_inspect(rng, gate, others):
    return Call("GET", f"/volumes/{quoted(volume(rng, gate, others))}")


@drawn(5)
def volume_ls(rng, gate, others):
    query = filters(rng, name=["data", "^cafe$", "a"], label=LABELS, dangling=["true", "false", "0"], driver=["local", "nosuch"], nosuch=["x"])
    return Call("GET", f"/volumes?filters={query}", seen=only("Name", "Driver", "Labels", "Scope"))


# ---- images ----


@drawn(6)
def tag(rng, gate, others):
    text = image(rng, gate, others)
    repo, _, name = rng.choice([*REPOS, "Bad"] if is_there(gate, text) else REPOS).partition(":")
    return Call("POST", f"/images/{quoted(text)}/tag?repo={repo}&tag={name}")


@drawn(5)
def rmi(rng, gate, others):
    text = image(rng, gate, others)
    if is_related(gate, text):
        text = "nosuch"
    return Call("DELETE", f"/images/{quoted(text)}" , seen=removed)


def is_related(gate, text):
    """Whether others are made of it and it has no other name; or it is made of one without a name, which goes with it."""
    answer = call(gate.address, "GET", f"/images/{quoted(gate.filled(text))}/json")
    if answer.status != 200:
        return False
    one, is_last = answer.json(), "{" in text or len(answer.json()["RepoTags"] or []) < 2
    listed = [other["Id"] for other in call(gate.address, "GET", "/images/json").json() if other["Id"] != one["Id"]]
    others = [call(gate.address, "GET", f"/images/{other}/json").json() for other in listed]
    is_made_of = lambda child, parent: child["RootFS"]["Layers"][: len(parent["RootFS"]["Layers"])] == parent["RootFS"]["Layers"]  # noqa: E731
    return is_last and any(is_made_of(other, one) or is_made_of(one, other) and not other["RepoTags"] for other in others)


def removed(side, answer, value):
    """By whichever of its layers: which names are gone, and whether the image is."""
    if answer.status >= 400:
        return answer.status, side.body(answer, value)
    untagged = [side.text(one["Untagged"]) for one in value if "Untagged" in one and "@" not in one["Untagged"]]
    return answer.status, sorted(untagged), any("Deleted" in one for one in value)


@drawn(4)
def commit(rng, gate, others):
    symbol = new_symbol(gate, "i")

    def made(side, value, answer):
        if answer.status == 201:
            side.bind(symbol, value["Id"].removeprefix("sha256:"))

    repo, _, name = rng.choice([*REPOS, ""]).partition(":")
    # one of its own, or two commits in one second might be one
    change = quoted(f'LABEL made="{symbol}"')
    return Call(
        "POST",
        f"/commit?container={quoted(container(rng, gate, others))}&repo={repo}&tag={name}&changes={change}",
        {},
        made=made,
    )


@drawn(3)
def build(rng, gate, others):
    symbol = new_symbol(gate, "i")

    def made(side, value, answer):
        found = [line for line in answer.text.splitlines() if '"aux"' in line]
        if found:
            side.bind(symbol, json.loads(found[-1])["aux"]["ID"].removeprefix("sha256:"))

    # a step that nobody has built before: the classic builder's cache is everybody's
    who = gate.address.name.split(".")[0]
    # what is not there would be pulled
    there = [name for name in ("base:1", "app:1") if is_there(gate, name)]
    file = f"FROM {rng.choice([*there, 'scratch'])}\nCOPY in /in\nLABEL made={who}-{symbol}\nVOLUME /built\n"
    context = archive({"Dockerfile": file.encode(), "in": f"{who}{symbol}\n".encode()})
    name = rng.choice(["app:1", "lib/app:2", "beefbeef", ""])
    return Call("POST", "/build?version=1" + (f"&t={name}" if name else ""), context, kind="application/x-tar", made=made, seen=built)


def built(side, answer, value):
    """By its last words: which steps there were, and with which end."""
    if answer.status != 200:
        return answer.status, side.body(answer, value)
    lines = [json.loads(line) for line in answer.text.splitlines()]
    words = "".join(line.get("stream", line.get("error", "")) for line in lines)
    return answer.status, [side.text(line) for line in words.splitlines() if line]


@drawn(6)
def image_inspect(rng, gate, others):
    def seen(side, answer, value):
        if answer.status == 200:
            # the parent of what is built may be another's too; which of its commits is the container's is of no use
            for key in ("Parent", "ContainerConfig", "Container", "RepoDigests", "DockerVersion"):
                value.pop(key, None)
            value["RepoTags"] = sorted(value["RepoTags"] or [])
        return answer.status, side.body(answer, value)

    return Call("GET", f"/images/{quoted(image(rng, gate, others))}/json", seen=seen)


@drawn(2)
def history(rng, gate, others):
    return Call("GET", f"/images/{quoted(image(rng, gate, others))}/history", seen=tags_of_history)


def tags_of_history(side, answer, value):
    if answer.status != 200:
        return answer.status, side.body(answer, value)
    return answer.status, [(sorted(one["Tags"] or []), side.text(one["CreatedBy"])) for one in value]


@drawn(7)
def images(rng, gate, others):
    def one(rng):
        return image(rng, gate, others)

    query = filters(
        rng,
        reference=["app", "app:*", "*/app", "base:1", "example.org/*", "nosuch"],
        dangling=["true", "false"],
        label=[*LABELS, "made"],
        before=one,
        since=one,
    )

    def seen(side, answer, value):
        if answer.status == 200:
            for image in value:
                image["RepoTags"] = sorted(image["RepoTags"] or [])
        return only("Id", "RepoTags", "Labels")(side, answer, value)

    return Call("GET", f"/images/json?filters={query}", seen=seen)


# ---- all together ----


@drawn(2)
def prune_containers(rng, gate, others):
    query = filters(rng, label=LABELS, label_not=LABELS, until=["0s", "24h", "2020-01-01", "bla", "-1h"])
    return Call("POST", f"/containers/prune?filters={query}", seen=listed("ContainersDeleted"))


@drawn(2)
def prune_networks(rng, gate, others):
    query = filters(rng, label=LABELS, label_not=LABELS, until=["24h", "2020-01-01", "-1h"], nosuch=["x"])
    return Call("POST", f"/networks/prune?filters={query}", seen=listed("NetworksDeleted"))


@drawn(2)
def prune_volumes(rng, gate, others):
    query = filters(rng, label=LABELS, label_not=LABELS, nosuch=["x"])
    return Call("POST", f"/volumes/prune?filters={query}", seen=listed("VolumesDeleted"))


@drawn(1)
def prune_images(rng, gate, others):
    query = filters(rng, dangling=["true", "1", "maybe"], label=LABELS, label_not=["made", *LABELS], until=["24h", "2020-01-01"])

    def seen(side, answer, value):
        return removed(side, answer, value if answer.status >= 400 else value["ImagesDeleted"] or [])

    return Call("POST", f"/images/prune?filters={query}", seen=seen)


@drawn(3)
def info(rng, gate, others):
    def seen(side, answer, value):
        keys = ("Containers", "ContainersRunning", "ContainersPaused", "ContainersStopped")
        return answer.status, {key: value[key] for key in keys}

    return Call("GET", "/info", seen=seen)


def archive(files):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, content in files.items():
            one = tarfile.TarInfo(name)
            one.size = len(content)
            tar.addfile(one, io.BytesIO(content))
    return out.getvalue()


def follow_up(call, gate, plain):
    """What has to be known of something new before anybody names it, and is looked at at once."""
    if gate[0] != 201 or not call.new:
        return
    if call.new[0] == "e":
        yield Call("POST", "/exec/{%s}/start" % call.new, {"Detach": False, "Tty": False})
        return

    def made(side, value, answer):
        if answer.status != 200:
            return
        # an engine's own: names of containers and volumes that were given none
        if "name=" not in call.target:
            side.bind(f"n_{call.new}", value["Name"].removeprefix("/"))
        for number, mount in enumerate(sorted(value["Mounts"], key=lambda mount: mount["Destination"])):
            if len(mount.get("Name", "")) == 64 and mount["Name"] not in side.known_as:
                side.bind(f"v{call.new[1:]}{number}", mount["Name"])

    yield Call("GET", "/containers/{%s}/json" % call.new, made=made, seen=without_hosts)
