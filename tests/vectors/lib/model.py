"""Three tenants make random calls on one engine; each must find what it would find on an engine of its own.

A `Model` is one tenant's engine: names, states, and the status that a call must have. `Play` makes the calls, looks at the
lists every few steps, and starts the gateway anew in between. VECTORS_SEED=N plays the same again, VECTORS_STEPS=N longer.
"""

import json
import os
import random
import urllib.parse

from .tenants import Person

USERS = ("ann", "bob", "cat")
CONTAINERS = ("web", "db", "web-1", "dgaaaaaaaaaa-web", "a.b_c")
NETWORKS = ("front", "back", "web")
VOLUMES = ("data", "web", "cache")
IMAGES = ("team/app:1", "web:latest", "ghcr.io/x/y:2")
STEPS = {"quick": 150, "all": 3000}
RESTARTS = 60


class Model:
    """What one tenant has. Each call returns the request and the statuses that are right, and changes the model."""

    def __init__(self, user, dice, engine):
        self.user, self.dice, self.engine = user, dice, engine
        self.containers, self.networks, self.volumes, self.images = {}, {}, {}, {}
        self.order = 0

    # ---- what there is to be compared ----

    def listed(self):
        """Newest first."""
        return sorted(self.containers.items(), key=lambda one: -one[1]["order"])

    def is_used(self, volume):
        return any(volume in c["volumes"] for c in self.containers.values())

    def users_of(self, network):
        return [c for c in self.containers.values() if network in c["networks"]]

    # ---- calls ----

    def create(self):
        name = self.dice.choice(CONTAINERS)
        network = self.dice.choice(["none", "none", *self.networks])
        volumes = self.dice.sample(VOLUMES, self.dice.randrange(2))
        body = {"Image": "busybox", "Cmd": ["sleep", "100000"], "StopTimeout": 0, "HostConfig": {"NetworkMode": network, "Binds": [f"{v}:/{v}" for v in volumes]}}
        known = name in self.containers

        def then(answer):
            if not known:
                self.order += 1
                networks = {network} - {"none"}
                self.containers[name] = {"id": answer["Id"], "state": "created", "volumes": set(volumes), "networks": networks, "mode": network, "order": self.order}
                self.volumes.update(dict.fromkeys(volumes))

        return "POST", f"/containers/create?name={name}", body, (409,) if known else (201,), then

    def on_container(self, statuses, method, path, becomes=None, body=None):
        """A call on one, by its name, its id or the beginning of that; `statuses` by its state."""

        def call():
            name = self.dice.choice(CONTAINERS)
            found = self.containers.get(name)
            text = name
            if found:
                text = self.dice.choice([name, found["id"], found["id"][:12]])
            if found and statuses.get(found["state"]) is None:
                return None
            wanted = statuses[found["state"]] if found else 404
            wanted = wanted if isinstance(wanted, tuple) else (wanted,)

            def then(_):
                if found and becomes and wanted[0] in (200, 201, 204):
                    if becomes == "gone":
                        del self.containers[name]
                    else:
                        found["state"] = becomes

            return method, path.replace("{}", text), body, wanted, then

        return call

    def rename(self):
        name, new = self.dice.sample(CONTAINERS, 2)
        found, taken = self.containers.get(name), new in self.containers

        def then(_):
            if found and not taken:
                self.containers[new] = self.containers.pop(name)

        return "POST", f"/containers/{name}/rename?name={new}", None, (404,) if not found else (409,) if taken else (204,), then

    def make_network(self):
        name = self.dice.choice(NETWORKS)
        known = name in self.networks

        def then(answer):
            if not known:
                self.networks[name] = answer["Id"]

        return "POST", "/networks/create", {"Name": name, "CheckDuplicate": True}, (409,) if known else (201,), then

    def remove_network(self):
        name = self.dice.choice(NETWORKS)
        known, users = name in self.networks, self.users_of(name)
        runs = [c for c in users if c["state"] in ("running", "paused")]
        if users and not runs:
            return None  # engines differ in what becomes of those
        text = self.dice.choice([name, self.networks.get(name, name)])
        return "DELETE", f"/networks/{text}", None, (404,) if not known else (403, 409) if runs else (204,), lambda _: users or self.networks.pop(name, None)

    def connect(self):
        able = [(n, c, x) for n, c in self.containers.items() for x in self.networks if c["mode"] != "none" and x not in c["networks"]]
        if not able:
            return None
        name, found, network = self.dice.choice(sorted(able, key=lambda one: (one[0], one[2])))
        return "POST", f"/networks/{network}/connect", {"Container": self.dice.choice([name, found["id"]])}, (200,), lambda _: found["networks"].add(network)

    def make_volume(self):
        name = self.dice.choice(VOLUMES)
        return "POST", "/volumes/create", {"Name": name}, (201,), lambda _: self.volumes.setdefault(name)

    def remove_volume(self):
        name = self.dice.choice(VOLUMES)
        known, used = name in self.volumes, self.is_used(name)
        return "DELETE", f"/volumes/{name}", None, (404,) if not known else (409,) if used else (204,), lambda _: used or self.volumes.pop(name, None)

    def tag(self):
        name = self.dice.choice(IMAGES)
        repo, _, tag = name.rpartition(":")
        return "POST", f"/images/busybox/tag?repo={repo}&tag={tag}", None, (201,), lambda _: self.images.setdefault(name)

    def untag(self):
        name = self.dice.choice(IMAGES)
        return "DELETE", f"/images/{name}", None, (200,) if name in self.images else (404,), lambda _: self.images.pop(name, None)

    def inspect_image(self):
        name = self.dice.choice(IMAGES)
        return "GET", f"/images/{name}/json", None, (200,) if name in self.images else (404,), lambda _: None

    def prune_containers(self):
        gone = {n: c["id"] for n, c in self.containers.items() if c["state"] in ("created", "exited")}

        def then(answer):
            assert set(answer["ContainersDeleted"] or []) == set(gone.values()), f"pruned {answer}, not {gone}"
            for name in gone:
                del self.containers[name]

        return "POST", "/containers/prune", None, (200,), then

    def prune_volumes(self):
        gone = {v for v in self.volumes if not self.is_used(v)}

        def then(answer):
            assert set(answer["VolumesDeleted"] or []) == gone, f"pruned {answer}, not {gone}"
            for name in gone:
                del self.volumes[name]

        # before API 1.42 all of them go, and there is no such filter
        filters = {} if self.engine == "20.10" else {"all": ["true"]}
        return "POST", "/volumes/prune?filters=" + quoted(filters), None, (200,), then

    def prune_networks(self):
        if any(c["networks"] and c["state"] not in ("running", "paused") for c in self.containers.values()):
            return None
        gone = {n for n in self.networks if not self.users_of(n)}

        def then(answer):
            assert set(answer["NetworksDeleted"] or []) == gone, f"pruned {answer}, not {gone}"
            for name in gone:
                del self.networks[name]

        return "POST", "/networks/prune", None, (200,), then

    def filtered(self):
        """By names as regular expressions, by states, and no more than so many."""
        pattern = self.dice.choice(["web", "^/?web$", "b", "dg", "^db", "nosuch", "."])
        limit = self.dice.choice([None, 1, 2])
        import re

        wanted = [n for n, _ in self.listed() if re.search(pattern, "/" + n) or re.search(pattern, n)][:limit]
        query = f"/containers/json?all=1&filters={quoted({'name': [pattern]})}" + (f"&limit={limit}" if limit else "")

        def then(answer):
            found = [name_of(c) for c in answer]
            assert found == wanted, f"listed {found}, not {wanted}"

        return "GET", query, None, (200,), then

    def calls(self):
        one = self.on_container
        # (what becomes of a paused one that is stopped differs between engines)
        ended = {"created": 304, "exited": 304, "running": 204}
        return [
            (14, self.create),
            (10, one({"created": 204, "exited": 204, "running": 304}, "POST", "/containers/{}/start", "running")),
            (3, one(ended, "POST", "/containers/{}/stop?t=0", "exited")),
            (3, one({"created": 409, "exited": 409, "running": 204}, "POST", "/containers/{}/kill", "exited")),
            (2, one({"running": 204, "exited": 204}, "POST", "/containers/{}/restart?t=0", "running")),
            (2, one({"created": 409, "exited": 409, "running": 204, "paused": 409}, "POST", "/containers/{}/pause", "paused")),
            (2, one({"paused": 204, "created": (409, 500), "exited": (409, 500), "running": (409, 500)}, "POST", "/containers/{}/unpause", "running")),
            (6, one(dict.fromkeys(("created", "exited", "running", "paused"), 204), "DELETE", "/containers/{}?force=1", "gone")),
            (2, one({"created": 204, "exited": 204}, "DELETE", "/containers/{}", "gone")),
            (1, one({"running": 409, "paused": 409}, "DELETE", "/containers/{}")),
            (4, one(dict.fromkeys(("created", "exited", "running", "paused"), 200), "GET", "/containers/{}/json")),
            (2, one(dict.fromkeys(("created", "exited", "running", "paused"), 200), "GET", "/containers/{}/logs?stdout=1")),
            (3, one({"running": 201, "created": 409, "exited": 409, "paused": 409}, "POST", "/containers/{}/exec", body={"Cmd": ["true"]})),
            (5, self.rename),
            (6, self.make_network),
            (4, self.remove_network),
            (3, self.connect),
            (4, self.make_volume),
            (4, self.remove_volume),
            (4, self.tag),
            (3, self.untag),
            (2, self.inspect_image),
            (1, self.prune_containers),
            (1, self.prune_volumes),
            (1, self.prune_networks),
            (5, self.filtered),
        ]

    def trespasses(self, others):
        """A call on what another has: to this one it is not there."""
        ids = [c["id"] for o in others for c in o.containers.values()]
        nets = [n for o in others for n in o.networks.values()]
        made = []
        if ids:
            text = self.dice.choice(ids)
            text = self.dice.choice([text, text[:12]])
            for method, path in (("GET", "json"), ("POST", "start"), ("POST", "stop?t=0"), ("GET", "logs?stdout=1")):
                made.append((method, f"/containers/{text}/{path}", None))
            made.append(("DELETE", f"/containers/{text}?force=1", None))
            made.append(("POST", "/containers/create?name=join", {"Image": "busybox", "HostConfig": {"PidMode": f"container:{text}"}}))
        if nets:
            made += [("GET", f"/networks/{self.dice.choice(nets)}", None), ("DELETE", f"/networks/{self.dice.choice(nets)}", None)]
        if not made:
            return None
        return *self.dice.choice(made), (400, 404), lambda _: None


class Play:
    def __init__(self, rig, tier="quick"):
        self.rig = rig
        self.seed = int(os.environ.get("VECTORS_SEED") or random.randrange(1 << 32))
        self.steps = int(os.environ.get("VECTORS_STEPS") or STEPS[tier])
        self.dice = random.Random(self.seed)
        self.models = [Model(user, self.dice, rig.engine) for user in USERS]
        self.said = []

    def run(self):
        """Whether all was right, and what was not."""
        key = self.rig.work / "model-key"
        key.write_bytes(os.urandom(32))
        key.chmod(0o600)
        self.gateway()
        number = 0
        try:
            for number in range(1, self.steps + 1):
                if number % RESTARTS == 0:
                    self.restart()
                self.step()
                if number % 10 == 0:
                    self.compare()
            self.compare()
        except Exception as error:
            last = "\n      ".join(self.said[-25:])
            return False, f"step {number}: {type(error).__name__}: {error}\n      {last}\n      VECTORS_SEED={self.seed} VECTORS_STEPS={self.steps}"
        finally:
            self.end()
        return True, ""

    def gateway(self):
        text = f"""
[engine]
url = "unix://{self.rig.socket}"

[[listener]]
name = "model"
url = "unix://{self.rig.gate_socket("model")}"
policies = ["model"]
auth = ["password"]

[auth.password]
kind = "basic"
file = "htpasswd"

[policy.model]
kind = "namespace"
key = "model-key"
network_pool = "10.217.0.0/16"
shared = ["docker.io/library/busybox"]
 name = "{{user}}"
"""
        self.process = self.rig.serve("model", text)
        self.people = {user: Person(user, self.rig.gates["model"]) for user in USERS}

    def end(self):
        self.process.terminate()
        self.process.wait(30)

    def restart(self):
        self.end()
        self.said.append("the gateway is started anew")
        self.gateway()

    def step(self):
        call = None
        while call is None:
            model = self.dice.choice(self.models)
            if self.dice.random() < 0.08:
                call = model.trespasses([m for m in self.models if m is not model])
            else:
                weights, calls = zip(*model.calls())
                call = self.dice.choices(calls, weights)[0]()
        method, path, body, wanted, then = call
        answer = self.people[model.user].call(method, path, body)
        self.said.append(f"{model.user}: {method} {path} {json.dumps(body) if body else ''} -> {answer.status} {answer.text[:200].strip() if answer.status >= 400 else ''}")
        assert answer.status in wanted, f"{answer.status}, not {wanted}: {answer.text[:300]}"
        if answer.status < 400:
            then(json.loads(answer.body) if answer.body[:1] in (b"{", b"[") else None)

    def compare(self):
        for model in self.models:
            get = lambda path, model=model: self.people[model.user].call("GET", path).json()  # noqa: E731
            found = [(name_of(c), c["State"]) for c in get("/containers/json?all=1")]
            same(model, "containers", found, [(n, c["state"]) for n, c in model.listed()])
            same(model, "networks", sorted(n["Name"] for n in get("/networks")), sorted(["bridge", "host", "none", *model.networks]))
            same(model, "volumes", sorted(v["Name"] for v in get("/volumes")["Volumes"] or []), sorted(model.volumes))
            tags = sorted(t for i in get("/images/json") for t in i["RepoTags"] or [])
            same(model, "images", tags, sorted(["busybox:latest", *model.images]))
            states = [c["state"] for c in model.containers.values()]
            info = get("/info")
            counted = [info[k] for k in ("Containers", "ContainersRunning", "ContainersPaused", "ContainersStopped")]
            same(model, "counts", counted, [len(states), states.count("running"), states.count("paused"), states.count("created") + states.count("exited")])


def same(model, what, found, wanted):
    assert found == wanted, f"{model.user}'s {what}: {found}, not {wanted}"


def name_of(container):
    return container["Names"][0].lstrip("/")


def quoted(value):
    return urllib.parse.quote(json.dumps(value))
