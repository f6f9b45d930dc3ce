"""404-414: what bob can tell of ann's things by how he is refused."""

import os
import re

from lib.case import fill
from lib.tenants import ALONE, OPEN, PATH, SITE, absent, head_of, leaks, names, of, tenants

from .smuggling import tar
from .tenants_join import ran


@tenants(404, "whether something is there, by the errors of calls on it")
def errors(j):
    """Each of these is refused for what the thing is, where it is there."""
    known = lambda *statuses: lambda a, s, w: a.status in statuses  # noqa: E731
    few = {"name": "{web}", "12 digits": "{web_12}"}
    j.call("remove one that runs", "DELETE", "/containers/{}", bites=known(409), forms=few, sure=tuple(few))
    j.call("start one that runs", "POST", "/containers/{}/start", bites=known(304), forms=few, sure=tuple(few))
    for path, statuses in (("/kill", (409,)), ("/pause", (409,)), ("/unpause", (409, 500)), ("/stop", (304,)), ("/top", (409, 500))):
        method = "GET" if path == "/top" else "POST"
        j.call(f"{path} of one that does not run", method, "/containers/{db}" + path, bites=known(*statuses))
    j.call("a process in one that does not run", "POST", "/containers/{db}/exec", {"Cmd": ["x"]}, bites=known(409))
    j.call("files for a path that is not there", "PUT", "/containers/{db}/archive?path=/nowhere", tar(x=b"x"), bites=lambda a, s, w: "Could not find the file" in a.text)
    j.call("a file that is not there", "GET", "/containers/{db}/archive?path=/nowhere", bites=lambda a, s, w: "Could not find the file" in a.text)
    j.call("a bad signal", "POST", "/containers/{web}/kill?signal=NONE", bites=lambda a, s, w: "nvalid signal" in a.text and w.is_open, same=True)
    j.call("a volume in use", "DELETE", "/volumes/{}", bites=known(409), forms=names("data"), sure=("name",))
    j.call("a network in use", "DELETE", "/networks/{}", bites=known(403, 409), forms=of("front", few), sure=tuple(few))
    j.call("an exec that has ended", "POST", "/exec/{exec}/start", {"Detach": True}, bites=known(409), setup=ended)


def ended(w):
    ident = w.exec_of(w.ann, w.state["web"])
    w.make(w.ann, f"/exec/{ident}/start", {"Detach": True}, wanted=200)
    w.rig.wait(lambda: not w.ann.call("GET", f"/exec/{ident}/json").json()["Running"])
    return {"exec": ident}


@tenants(405, "whose container is on an image, by the conflict when it is removed")
def image_conflict(j):
    """Both have named the image; ann's name is gone, her container is still there. The engine says by its id what stands in
    the way."""

    def on_it(w):
        from .tenants_remove import fresh

        s = fresh("images")(w)
        container = w.container(w.ann, "annsv" + os.urandom(4).hex(), Image=s["web"])
        engine = s["engine_web"]
        if not w.is_open:
            other = engine.replace(w.prefix("ann"), w.prefix("bob"))
            repo, _, tag = other.rpartition(":")
            assert w.rig.admin("POST", f"/images/{s['web_id']}/tag?repo={repo}&tag={tag}").status == 201
            w.rig.admin("DELETE", f"/images/{engine}")
        return {**s, "other_id": container, "other_12": container[:12]}

    told = lambda a, s, w: s["other_12"] in a.text  # noqa: E731
    for label, form in {"name": "{web}", "id": "{web_id}"}.items():
        for query in ("", "?force=0"):
            j.call(f"{label}{query}", "DELETE", f"/images/{form}{query}", bites=told, setup=on_it, same=False, told=False)


@tenants(406, "how another's ids begin, by what is ambiguous")
def ambiguous(j):
    """Of two containers whose ids begin with the same digit, bob has one."""

    def both(w):
        digits = w.state["web_id"][0]
        for _ in range(400):
            ident = w.container(w.bob, "bobsv" + os.urandom(5).hex())
            if ident[0] == digits:
                break
            w.bob.call("DELETE", f"/containers/{ident}")
        mine = [c["Id"] for c in w.bob.call("GET", "/containers/json?all=1").json()]
        # as much of it as is only bob's among bob's own
        others = [i for i in mine if i != ident] if not w.is_open else []
        size = next(n for n in range(1, 64) if not any(o.startswith(ident[:n]) for o in others))
        shared = os.path.commonprefix([ident, w.state["web_id"]])
        return {"begins": ident[:size] if not w.is_open else shared, "own": ident}

    j.call("inspect", "GET", "/containers/{begins}/json", bites=lambda a, s, w: a.status != 200, setup=both, same=False)


@tenants(407, "whether something is there, by the time that it takes")
def effort(j):
    """The engine does as much for what is another's as for what is nobody's: so many calls, and these."""
    log = j.rig.dir / "log"

    def calls(send):
        before = log.stat().st_size
        answer = send()
        with open(log, "rb") as file:
            file.seek(before)
            said = file.read().decode(errors="replace")
        return answer, re.findall(r'msg="(?:Calling|handling) (\w+)', said)

    for label, method, path, body in (
        *((f"inspect, {label}", "GET", f"/containers/{form}/json", None) for label, form in PATH.items()),
        *((f"remove, {label}", "DELETE", f"/containers/{form}", None) for label, form in PATH.items()),
        *((f"network, {label}", "GET", f"/networks/{form}", None) for label, form in of("front").items()),
        *((f"image, {label}", "GET", f"/images/{form}/json", None) for label, form in of("image").items()),
        ("volume", "GET", "/volumes/{data}", None),
        ("exec", "GET", "/exec/{exec}/json", None),
        ("volumes from", "POST", "/containers/create?name=bobsnever", {"Image": "busybox", "HostConfig": {"VolumesFrom": ["{web_id}"]}}),
    ):
        def send(bob, s, method=method, path=path, body=body):
            answer, done = calls(lambda: bob.call(method, fill(path, s), fill(body, s)))
            nothing = absent(s)
            other, others = calls(lambda: bob.call(method, fill(path, nothing), fill(body, nothing)))
            answer.differs = answer.status != other.status or done != others
            answer.line += f" calls {done} and {others}"
            return answer

        j.probe(label, send, lambda a, s, w: a.differs, setup=lambda w: w.victim(), maybe=True, same=False)


def of_own(number, title):
    """What goes wrong with bob's own things is told as it is where no policy is: the names that he knows, and no other."""

    def put(run):
        @tenants(number, title)
        def case(j):
            told = {name: [] for name in (OPEN, ALONE, SITE)}
            for name, said in told.items():
                world = j.rig.worlds[name]
                for label, answer in run(world):
                    said.append((label, answer))
                    if found := leaks(answer, world.state, b""):
                        j.case.fail(f"{label} at {name}", f"tells {found}: {answer}", world.bob)
            # (`conservative` has words of its own)
            for (label, one), (_, two) in zip(told[OPEN], told[ALONE]):
                if (one.status, one.words) != (two.status, two.words):
                    j.case.fail(label, f"is said in other words:\n      {one.status} {one.words}\n      {two.status} {two.words}")
            j.case.expect("the same words", len(told[OPEN]) == len(told[ALONE]) == len(told[SITE]))

        return run

    return put


def worded(answer, *ids):
    """Without the ids of what is new in each world."""
    text = answer.text
    for ident in ids:
        text = text.replace(ident, "<id>").replace(ident[:12], "<id>")
    text = re.sub(r"\b(sha256:)?[0-9a-f]{64}\b|\b[0-9a-f]{12}\b", "<id>", text)
    answer.words = text.strip()
    return answer


@of_own(408, "errors about one's own things: in the engine's words, by visible names")
def own_errors(world):
    bob, n = world.bob, "bobserr" + os.urandom(3).hex()
    out = []

    def say(label, method, path, body=None, **more):
        answer = worded(bob.call(method, path, body, **more))
        answer.words = answer.words.replace(n, "<n>")
        out.append((label, answer))
        return answer

    def made(label, body, name=n):
        a = say(label, "POST", f"/containers/create?name={name}", {"Image": "busybox", **body})
        return a.json().get("Id") if a.status == 201 else None

    ident = made("create", {"Cmd": ["sleep", "1000"], "HostConfig": {"NetworkMode": "none"}})
    made("the name is taken", {})
    made("a bad name", {}, "x")
    made("an odd name", {}, "a%20b")
    made("no such image", {"Image": "nosuch:1"}, n + "b")
    made("no image", {"Image": ""}, n + "b")
    made("a bad image", {"Image": "UPPER"}, n + "b")
    made("no such network", {"HostConfig": {"NetworkMode": n + "net"}}, n + "c")
    say("start it", "POST", f"/containers/{n}c/start")
    made("no such container's network", {"HostConfig": {"NetworkMode": f"container:{n}no"}}, n + "d")
    made("volumes from nobody", {"HostConfig": {"VolumesFrom": [n + "no"]}}, n + "e")
    made("a bad volume", {"HostConfig": {"Binds": ["a b:/x"]}}, n + "f")
    made("a relative target", {"HostConfig": {"Binds": [f"{n}:x"]}}, n + "g")
    made("two at one place", {"HostConfig": {"Binds": [f"{n}v:/x", f"{n}w:/x"]}}, n + "h")
    made("a link to nobody", {"HostConfig": {"Links": [n + "no:x"]}}, n + "i")
    made("a bad mode", {"HostConfig": {"Binds": [f"{n}:/x:zz"]}}, n + "j")
    made("no command", {"Cmd": ["nosuchcommand"], "HostConfig": {"NetworkMode": "none"}}, n + "k")
    say("start it", "POST", f"/containers/{n}k/start")
    say("kill what does not run", "POST", f"/containers/{n}/kill")
    say("pause what does not run", "POST", f"/containers/{n}/pause")
    say("exec in what does not run", "POST", f"/containers/{n}/exec", {"Cmd": ["x"]})
    say("no command to exec", "POST", f"/containers/{n}/exec", {"Cmd": []})
    say("no such exec", "GET", "/exec/nosuch/json")
    say("a file that is not there", "GET", f"/containers/{n}/archive?path=/nowhere")
    say("a folder that is not there", "PUT", f"/containers/{n}/archive?path=/nowhere", tar(x=b"x"))
    say("rename to what is taken", "POST", f"/containers/{n}/rename?name=bobsweb")
    say("rename to its own name", "POST", f"/containers/{n}/rename?name={n}")
    say("rename to nothing", "POST", f"/containers/{n}/rename?name=")
    say("a bad update", "POST", f"/containers/{n}/update", {"Memory": 1})
    say("remove what runs", "DELETE", "/containers/bobsweb")
    say("commit to a bad name", "POST", f"/commit?container={n}&repo=UPPER")
    say("tag to a bad name", "POST", "/images/busybox/tag?repo=UPPER")
    say("tag to a bad tag", "POST", "/images/busybox/tag?repo=x&tag=a%20b")
    say("no such image", "GET", "/images/nosuch:1/json")
    say("a bad image", "GET", "/images/UPPER/json")
    say("history of none", "GET", "/images/nosuch/history")
    say("tag none", "POST", "/images/nosuch/tag?repo=x")
    say("remove none", "DELETE", "/images/nosuch:1")
    say("a network twice", "POST", "/networks/create", {"Name": "bobsfront", "CheckDuplicate": True})
    say("a bad subnet", "POST", "/networks/create", {"Name": n, "IPAM": {"Config": [{"Subnet": "10.0.0.0/99"}]}})
    say("connect twice", "POST", "/networks/bobsfront/connect", {"Container": "bobsweb"})
    say("connect nobody", "POST", "/networks/bobsfront/connect", {"Container": n + "no"})
    say("connect to nothing", "POST", f"/networks/{n}/connect", {"Container": "bobsweb"})
    say("disconnect what is not in it", "POST", "/networks/bobsfront/disconnect", {"Container": n})
    say("remove a network in use", "DELETE", "/networks/bobsfront")
    say("no such network", "GET", f"/networks/{n}")
    say("remove no network", "DELETE", f"/networks/{n}")
    say("remove a predefined network", "DELETE", "/networks/host")
    say("make a predefined network", "POST", "/networks/create", {"Name": "bridge"})
    say("a volume in use", "DELETE", "/volumes/bobsdata")
    say("no such volume", "GET", f"/volumes/{n}")
    say("remove no volume", "DELETE", f"/volumes/{n}")
    say("a volume by a bad name", "POST", "/volumes/create", {"Name": "a b"})
    say("a volume with bad options", "POST", "/volumes/create", {"Name": n, "DriverOpts": {"x": "y"}})
    say("a bad filter", "GET", "/containers/json?filters=%7B%22nosuch%22%3A%5B%22x%22%5D%7D")
    say("a bad filter of networks", "GET", "/networks?filters=%7B%22nosuch%22%3A%5B%22x%22%5D%7D")
    say("a bad filter of volumes", "GET", "/volumes?filters=%7B%22nosuch%22%3A%5B%22x%22%5D%7D")
    say("before nobody", "GET", f"/containers/json?filters=%7B%22before%22%3A%5B%22{n}no%22%5D%7D")
    say("build of nothing", "POST", "/build?version=1", tar(Dockerfile=b"# nothing\n"), kind="application/x-tar")
    say("wait for nobody", "POST", f"/containers/{n}no/wait")
    say("start nobody", "POST", f"/containers/{n}no/start")
    world.state.setdefault("errors", []).append(ident)
    return out


@tenants(409, "the engine's own names: in nothing that bob is shown of his own things")
def own_answers(j):
    def start_fails(bob):
        """What the engine keeps of a start that has failed."""
        name = "bobsv" + os.urandom(4).hex()
        bob.call("POST", f"/containers/create?name={name}", {"Image": "busybox", "Cmd": ["nosuch"], "HostConfig": {"NetworkMode": "bobsfront"}})
        bob.call("POST", f"/containers/{name}/start")
        return name

    for name in (ALONE, SITE):
        world = j.rig.worlds[name]
        bob = world.bob
        failed = start_fails(bob)
        paths = [
            *(f"/containers/{c}/{what}" for c in ("bobsweb", "bobsdb", failed) for what in ("json", "json?size=1", "changes")),
            *("/containers/bobsweb/" + what for what in ("top", "stats?stream=0&one-shot=1", "logs?stdout=1&stderr=1&details=1")),
            *("/networks", "/networks/bobsfront", "/networks/bobsfront?verbose=1", "/networks/bridge", "/networks/host", "/networks/none"),
            *("/volumes", "/volumes/bobsdata", "/images/json?all=1&digests=1", "/images/team/bobsimage:1/json", "/images/team/bobsimage:1/history"),
            *("/containers/json?all=1&size=1", "/system/df", "/info", "/version", "/_ping", "/plugins", "/build/prune"),
            *("/images/busybox/json", "/images/busybox/history"),
        ]
        for path in paths:
            answer = bob.call("POST" if path.endswith("prune") else "GET", path)
            found = leaks(answer, world.state, b"")
            j.case.expect(path, not found, f"tells {found}: {head_of(answer)}{answer.text[:3000]}")


@tenants(410, "what a container's own processes can tell of others")
def inside(j):
    """Its hostname, its files for names, its environment: no name of the engine's, and nobody else's."""
    script = "hostname; cat /etc/hosts /etc/resolv.conf /proc/self/mountinfo; env; nslookup $(hostname) 127.0.0.11; for i in 1 2 3 4 5 6; do nslookup 10.216.0.$i 127.0.0.11; done"
    # Where a volume or a container's own files are mounted from, the kernel says, with the engine's names of them.
    for name in (ALONE, SITE):
        world = j.rig.worlds[name]
        answer = ran(world.bob, {"Cmd": ["sh", "-c", script], "HostConfig": {"NetworkMode": "bobsfront", "Binds": ["bobsdata:/data"]}})
        text = re.sub(r"\S*/volumes/dg\S+", "", answer.text)
        said = [t for t in ("annsweb", "annsfront", "annsdata", world.state["web_12"]) if t in text]
        j.case.expect(f"inside at {name}", answer.status == 200 and not said, f"{said} {text}")
