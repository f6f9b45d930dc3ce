"""Two users of one listener: what ann has, and what bob can do with it.

Without `namespace` in the listener's policies an attempt must bite. With it, alone and behind `conservative`, it must not, and
bob must be told what he would be told of something that is not there: each attempt is made once more with names and ids that
nobody has, and the two answers must be the same.
"""

import base64
import calendar
import json
import os
import re
import time
import traceback
import urllib.parse

from .case import fill, vector
from .rig import Target

SECRET = "ann-knows-this"
OPEN, ALONE, SITE = "open", "tenants", "tenants-site"
PASSWORD = "hunting-for-leaks"
# What a container can be called in a path. The first three must bite; the engine may or may not take the others.
PATH = {
    "name": "{web}",
    "id": "{web_id}",
    "12 digits": "{web_12}",
    "6 digits": "{web_6}",
    "slash": "%2F{web}",
    "the engine's name": "{engine_web}",
    "the engine's name, with a slash": "%2F{engine_web}",
}
# And in a body or a query.
TEXT = {**{label: form.replace("%2F", "/") for label, form in PATH.items()}}
SURE = ("name", "id", "12 digits")


def of(thing, forms=PATH):
    """The same forms of another thing."""
    return {label: form.replace("{web", "{" + thing).replace("{engine_web", "{engine_" + thing) for label, form in forms.items()}


def names(thing):
    """Of what has no id."""
    return {"name": "{" + thing + "}", "the engine's name": "{engine_" + thing + "}"}


def encoded(value):
    return urllib.parse.quote(value if isinstance(value, str) else json.dumps(value), safe="")


class Person(Target):
    """A user at a listener, known by a password."""

    def __init__(self, user, listener):
        super().__init__(f"{user} at {listener.name}", listener.address, listener.version)
        self.user = user
        self.said = b""  # all that he has written, as long as somebody wants to know
        self.field = b"Authorization: Basic " + base64.b64encode(f"{user}:{PASSWORD}".encode())

    def raw(self, data):
        data = self.signed(data)
        self.said += data
        return super().raw(data)

    def signed(self, data):
        line, _, rest = data.partition(b"\r\n")
        return b"\r\n".join([line, self.field, rest])


class World:
    """Both of them at one listener, with what they have there."""

    def __init__(self, rig, listener, like=None):
        self.rig, self.listener = rig, listener
        self.ann, self.bob = (Person(user, rig.gates[listener]) for user in ("ann", "bob"))
        # The listeners with `namespace` lead to the same namespaces.
        self.state = like.state if like else self.furnish()

    @property
    def is_open(self):
        return self.listener == OPEN

    def make(self, who, path, body=None, wanted=201, **more):
        a = who.call("POST", path, body, **more)
        assert a.status == wanted, f"{who.name}: {path}: {a}"
        return a.json() if a.body else None

    def container(self, who, name, start=False, **body):
        base = {"Image": "busybox", "Cmd": ["sleep", "100000"], "StopTimeout": 0, "HostConfig": {"NetworkMode": "none"}}
        ident = self.make(who, f"/containers/create?name={name}", {**base, **body})["Id"]
        if start:
            self.make(who, f"/containers/{ident}/start", wanted=204)
        return ident

    def victim(self, start=False, **body):
        """One more container of ann's, by the names that the forms use."""
        name = "annsv" + os.urandom(4).hex()
        return self.names("web", name, self.container(self.ann, name, start, **body), "containers")

    def names(self, key, name, ident, kind):
        found = self.rig.admin("GET", f"/{kind}/{ident}" + ("/json" if kind != "networks" else "")).json()
        engine = found["RepoTags"][0] if kind == "images" else found["Name"].lstrip("/")
        bare = ident.removeprefix("sha256:")
        return {key: name, f"{key}_id": ident, f"{key}_12": bare[:12], f"{key}_6": bare[:6], f"engine_{key}": engine}

    def prefix(self, user):
        """What the engine's names of this user's images have in front, up to the namespace."""
        for image in self.rig.admin("GET", "/images/json").json():
            for tag in image["RepoTags"] or []:
                if tag.endswith(f"/team/{user}simage:1"):
                    return tag.split("/")[1]
        raise AssertionError(f"{user} has no image")

    def exec_of(self, who, container):
        body = {"Cmd": ["echo", SECRET], "AttachStdout": True}
        return self.make(who, f"/containers/{container}/exec", body)["Id"]

    def furnish(self):
        """What they have in every vector; what is to be broken a vector makes for itself."""
        s, listener = {}, "x" if self.is_open else "y"
        for who in ("ann", "bob"):
            person = getattr(self, who)
            person.call("GET", "/networks")  # makes the namespace's bridge
            net = self.make(person, "/networks/create", {"Name": f"{who}sfront", "CheckDuplicate": True})["Id"]
            self.make(person, "/volumes/create", {"Name": f"{who}sdata", "Labels": {"of": who}})
            script = f"echo {SECRET} > /secret; echo {SECRET} > /data/of; echo {SECRET}; exec sleep 100000"
            web = self.container(
                person,
                f"{who}sweb",
                True,
                Cmd=["sh", "-c", script if who == "ann" else "exec sleep 100000"],
                Env=[f"SECRET={SECRET if who == 'ann' else listener}"],
                Labels={"of": who},
                Volumes={"/anon": {}},
                HostConfig={"Binds": [f"{who}sdata:/data"], "NetworkMode": f"{who}sfront", "IpcMode": "shareable"},
            )
            db = self.container(person, f"{who}sdb", who == "bob", Labels={"of": who})
            changes = encoded(f"LABEL of={who}")
            image = self.make(person, f"/commit?pause=0&container={db}&repo=team/{who}simage&tag=1&changes={changes}")["Id"]
            self.rig.wait(lambda web=web: SECRET in (self.ann.call("GET", f"/containers/{web}/logs?stdout=1").text or "") or who == "bob")
            if who == "bob":  # what runs, and what that uses, his prunes leave alone
                keeper = self.container(person, "bobskeeper", True, Image="team/bobsimage:1")
                s |= {"mine_keeper": keeper, "mine": f"{who}sweb", "mine_id": web, "mine_db": db, "mine_net": net, "mine_image": image}
                continue
            s |= self.names("web", "annsweb", web, "containers")
            s |= self.names("db", "annsdb", db, "containers")
            s |= self.names("front", "annsfront", net, "networks")
            s |= self.names("image", "team/annsimage:1", image, "images")
            mounts = self.rig.admin("GET", f"/containers/{web}/json").json()["Mounts"]
            s["anon"] = next(m["Name"] for m in mounts if m["Destination"] == "/anon")
            s |= {"data": "annsdata", "engine_data": next(m["Name"] for m in mounts if m["Destination"] == "/data")}
            s["exec"] = self.exec_of(person, web)
        return s


def now(rig):
    """By the engine's clock, as its events are asked for."""
    whole, _, rest = rig.admin("GET", "/info").json()["SystemTime"].partition(".")
    nanos = re.match(r"\d*", rest)[0].ljust(9, "0")
    return f"{calendar.timegm(time.strptime(whole[:19], '%Y-%m-%dT%H:%M:%S'))}.{nanos}"


def absent(state):
    """The same, of what is nobody's: whatever is ann's has another name or id of the same form."""
    def other(key, text):
        if key.startswith("mine") or not isinstance(text, str):
            return text
        if key.startswith("engine_"):
            known = state.get(key.removeprefix("engine_"), "")
            return text.replace(known.partition(":")[0], swapped(known).partition(":")[0]) if known else text
        bare = text.removeprefix("sha256:")
        is_hexadecimal = len(bare) in (6, 12, 64) and not set(bare) - set("0123456789abcdef")
        if is_hexadecimal:
            whole = state.get(key.rpartition("_")[0] + "_id", bare).removeprefix("sha256:")
            return text.replace(bare, reversed_digits(whole)[: len(bare)])
        return swapped(text)

    return {key: other(key, text) for key, text in state.items()}


def reversed_digits(ident):
    return "".join("0123456789abcdef"[15 - int(c, 16)] for c in ident)


def swapped(name):
    return name.replace("anns", "none")


def worlds(rig):
    """Made once for a run, when first needed."""
    if not rig.worlds:
        rig.worlds[OPEN] = World(rig, OPEN)
        rig.worlds[ALONE] = World(rig, ALONE)
        rig.worlds[SITE] = World(rig, SITE, rig.worlds[ALONE])
    return rig.worlds


def tenants(number, title):
    """A vector, judged by a `Judge`."""

    def put(run):
        @vector(number, title)
        def case(c):
            if not c.rig.worlds:
                worlds(c.rig)
                c.start |= c.rig.state()
            run(Judge(c))

        return run

    return put


class Judge:
    def __init__(self, case):
        self.case, self.rig = case, case.rig

    def call(self, label, method, path, body=None, *, bites, filters=None, forms=None, sure=SURE, version=None, send=None, **more):
        """One request of bob's; with `forms` once for each way to name the thing: `{}` in the path and body is it."""
        judged = {k: more.pop(k) for k in ("setup", "maybe", "same", "worlds", "told") if k in more}
        given = judged.pop("maybe", False)

        def sending(form):
            def request(bob, s):
                s = {**s, "new": os.urandom(4).hex()}
                put = lambda value: fill(replaced(value, form), s)  # noqa: E731
                query = f"{'&' if '?' in path else '?'}filters={encoded(put(filters))}" if filters is not None else ""
                return bob.call(method, spelt(put(path)) + query, put(body), version=version, **more)

            return request

        for name, form in (forms or {"": ""}).items():
            maybe = given or bool(forms) and name not in sure
            self.probe(f"{label} {name}".strip(), sending(form), bites, maybe=maybe, **judged)

    def probe(self, label, send, bites, *, setup=None, maybe=False, same=True, worlds=(ALONE, SITE), told=True):
        """`send(bob, s)` → Answer; `bites(answer, s, world)`; `setup(world)` → more of `s`, made afresh for each.

        maybe   the engine may or may not take this: it must not bite with the policy all the same
        told    no answer may hold a name of the engine's or an id of ann's; but for what he has written himself
        same    what bob is told must be what he is told of something that is not there; a function makes answers comparable
        """
        try:
            self.bite(label, send, bites, setup, maybe)
            for name in worlds:
                self.held(label, send, bites, setup, same, told, self.rig.worlds[name])
        except Exception:
            self.case.fail(label, traceback.format_exc())

    def bite(self, label, send, bites, setup, maybe):
        world = self.rig.worlds[OPEN]
        s = {**world.state, **(setup(world) if setup else {})}
        answer = send(world.bob, s)
        bit = bool(bites(answer, s, world))
        if not bit and not maybe:
            self.case.fail(label, f"does not bite without the policy: {answer}", world.bob)
        self.case.bitten += bit

    def held(self, label, send, bites, setup, same, told, world):
        s = {**world.state, **(setup(world) if setup else {})}
        world.bob.said = b""
        answer = send(world.bob, s)
        sent = world.bob.said
        if bites(answer, s, world):
            self.case.fail(label, f"bites with the policy: {answer}", world.bob)
            return
        if told and (found := leaks(answer, s, sent)):
            self.case.fail(label, f"tells {found}: {answer}", world.bob)
        if same:
            nothing = absent(s)
            other = send(world.bob, nothing)
            one, two = told_of(answer, s, same), told_of(other, nothing, same)
            if one != two:
                self.case.fail(label, f"is not what is said of what is not there:\n      {one}\n      {two}", world.bob)
        self.case.refused += 1


def leaks(answer, s, sent):
    """Which of the engine's names, or of ann's ids that bob has not written himself, is in an answer."""
    text = head_of(answer) + answer.text
    sent = urllib.parse.unquote(sent.decode(errors="replace"))
    ids = [v for k, v in s.items() if k.endswith(("_id", "_12")) and not k.startswith("mine") or k in ("anon", "exec")]
    bare = [i.removeprefix("sha256:") for i in ids]
    found = [i for i in bare if i in text and i not in sent]
    prefixes = re.findall(r"dg[a-z2-7]{10}[-/%]", text)
    return [*found, *(p for p in prefixes if p not in sent)]


def told_of(answer, s, same):
    """With the things' names in the place of their values."""
    text = ordered(answer.text) if same is True else same(answer)
    for key, value in sorted(s.items(), key=lambda one: -len(str(one[1]))):
        if isinstance(value, str) and value and not key.startswith("mine"):
            text = text.replace(value, f"<{key}>")
    return answer.status, answer.header("Content-Type"), text


def ordered(text):
    """Lists come in any order; how long a container is up is another matter."""

    def sort(value):
        if isinstance(value, dict):
            return {k: sort(v) for k, v in value.items() if k not in ("Status", "SystemTime", "NGoroutines", "NFd")}
        if isinstance(value, list):
            return sorted((sort(v) for v in value), key=json.dumps)
        return value

    try:
        return json.dumps(sort(json.loads(text)))
    except ValueError:
        return text


def head_of(answer):
    return "\n".join(f"{name}: {value}" for name, value in getattr(answer, "headers", [])) + "\n"


def replaced(value, form):
    if isinstance(value, str):
        return value.replace("{}", form)
    if isinstance(value, list):
        return [replaced(v, form) for v in value]
    if isinstance(value, dict):
        return {replaced(k, form): replaced(v, form) for k, v in value.items()}
    return value


def spelt(path):
    """A space ends a path."""
    return path.replace(" ", "%20")


def knows(a, s, w):
    return a.status < 300 and SECRET in a.text


def good(a, s, w):
    return 100 < a.status < 300


def gone(kind, key):
    """What ann had is not there any more."""
    return lambda a, s, w: w.ann.call("GET", f"/{kind}/{s[key]}" + ("/json" if kind in ("containers", "images") else "")).status == 404


def mentions(*keys):
    """Something of ann's is in a good answer."""
    return lambda a, s, w: a.status < 300 and any(s[key].removeprefix("sha256:") in a.text for key in keys)


__all__ = [name for name in dir() if not name.startswith("_")]
