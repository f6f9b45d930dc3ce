#!/usr/bin/env python3
"""What namespaces have, pulled and pushed by dockerd with tokens of the gateway's own, and by nobody else.

    namespaces.py [NAME]...     20.10, 28, 28-containerd, or `by-hand` (no engine); default: all

GRANTS=path of the example `registry_grants` (default: built by cargo); DOCKGATE=path of the binary. Engines need root, and what tests/e2e/setup.sh
installs. Each step that fails is said; a line each, `ok NAME` or `FAIL NAME`.
"""

import base64
import http.client
import json
import os
import pathlib
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import urllib.parse

import engines
from engines import E2E, ENGINES, FORKY, Engine, run
from rig import DOCKGATE, MANIFEST, Rig, Server, Wrong, expect, free_port, toml, until

ROOT = pathlib.Path(__file__).resolve().parents[2]
OURS, THEIRS = "dgaaaaaaaaaa", "dg2222222222"
LOGIN = ("ann", "s3cret")
# beside the e2e cases' and engines.py's own
engines.INDEX = int(os.environ.get("DOCKGATE_ENGINE_INDEX", 190))


def header(host, login=LOGIN):
    said = {"username": login[0], "password": login[1], "serveraddress": host}
    return base64.urlsafe_b64encode(json.dumps(said).encode()).decode()


class Granting(Server):
    """A registry whose tokens a case has issued."""

    def __init__(self, folder, upstreams, within=(), extra=""):
        folder.mkdir(parents=True)
        self.port, self.folder = free_port(), folder
        lines = [
            "[registry.main]",
            f'listen = "{self.url}"',
            f'dir = "{folder / "cache"}"',
            'allow_private = ["127.0.0.1"]',
            'tag_ttl = "0s"',
            'negative_ttl = "0s"',
        ]
        for name, upstream in upstreams.items():
            lines.append(f'[registry.main.upstream."{name}"]')
            lines += [f"{key} = {toml(value)}" for key, value in upstream.items()]
        (folder / "dockgate.toml").write_text("\n".join([*lines, extra]) + "\n")
        self.log = (folder / "log").open("ab")
        self.process = subprocess.Popen(
            [*within, GRANTS, folder / "dockgate.toml"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log, text=True
        )
        expect(self.process.stdout.readline(), "listening\n", f"it begins ({(folder / 'log').read_text()[:600]})")

    def issue(self, repository, actions, own="-"):
        self.process.stdin.write(f"issue {repository} {actions} {own}\n")
        self.process.stdin.flush()
        number, auth = self.process.stdout.readline().split()
        return Issued(self, number, auth)

    def stop(self):
        self.process.kill()
        self.process.wait()
        self.log.close()


class Issued:
    def __init__(self, gate, number, auth):
        self.gate, self.number, self.header = gate, number, auth
        self.token = json.loads(base64.urlsafe_b64decode(auth))["registrytoken"]
        self.fields = {"Authorization": f"Bearer {self.token}", "Accept": MANIFEST}

    def end(self):
        self.gate.process.stdin.write(f"end {self.number}\n")
        self.gate.process.stdin.flush()
        expect(self.gate.process.stdout.readline(), "ended\n", "its call ends")


class ByHand(http.client.HTTPConnection):
    """The engine's API without a client that knows better."""

    def __init__(self, path):
        super().__init__("engine", timeout=60)
        self.path = str(path)

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(60)
        self.sock.connect(self.path)

    def call(self, method, target, auth=None):
        self.request(method, target, headers={"X-Registry-Auth": auth} if auth else {})
        answer = self.getresponse()
        text = answer.read().decode()
        self.close()
        return answer.status, text


def refused(answer, why):
    status, text = answer
    if status < 400 and '"error"' not in text:
        raise Wrong(f"{why}: {status} {text[-400:]}")


def taken(answer, what):
    status, text = answer
    if status >= 400 or '"error"' in text:
        raise Wrong(f"{what}: {status} {text[-400:]}")


def by_hand(rig):
    """The registry alone: which token is good for what."""
    upstream = rig.registry(login=LOGIN)
    gate = Granting(rig.place("gate"), {"private.example": {"url": upstream.url, "credentials": {"kind": "client"}}})
    rig.all.append(gate)
    manifest = upstream.push("team/app", "v1", [b"one"], login=LOGIN)
    name = f"{OURS}/private.example/team/app"
    asked = f"/v2/{name}/manifests/v1"
    own = gate.issue(name, "pull", header("private.example"))
    got = gate.ask("GET", asked, fields=own.fields)
    expect((got.status, got.body), (200, manifest), "with its token")
    before = len(upstream.asked())
    others = {
        "without a token": {},
        "with the client's own name and password": {"Authorization": "Basic " + base64.b64encode(b"ann:s3cret").decode()},
        "with a token of the registry's own": {"Authorization": f"Bearer {gate.ask('GET', '/token', login=LOGIN).json()['token']}"},
        "with another namespace's": gate.issue(f"{THEIRS}/private.example/team/app", "both", header("private.example")).fields,
        "with another repository's": gate.issue(f"{OURS}/private.example/team/other", "both", header("private.example")).fields,
        "with one to push": gate.issue(name, "push", header("private.example")).fields,
    }
    for what, fields in others.items():
        answer = gate.ask("GET", asked, fields=fields)
        expect((answer.status, answer.code()), (401, "UNAUTHORIZED"), what)
    for odd in (f"{OURS}/team/app", f"{OURS}/u0_private.example/team/app", f"{OURS}/docker.io/app"):
        expect(gate.ask("GET", f"/v2/{odd}/manifests/v1", fields=own.fields).status, 401, odd)
    expect(gate.ask("POST", f"/v2/{name}/blobs/uploads/", fields=own.fields).status, 401, "a push with one to pull")
    expect(gate.ask("DELETE", asked, fields=others["with one to push"]).status, 401, "a deletion")
    expect(len(upstream.asked()), before, "requests that the upstream has seen meanwhile")
    # whoever asks it has credentials of their own, or none
    for what, auth in (("a wrong password", header("private.example", ("ann", "guess"))), ("none", "-"),
                       ("for another host", header("other.example"))):
        answer = gate.ask("GET", asked, fields=gate.issue(name, "pull", auth).fields)
        if answer.status not in (401, 403) or manifest in answer.body:
            raise Wrong(f"{what}: {answer.status}")
    # what is known of one is no word for another
    digest = json.loads(manifest)["layers"][0]["digest"]
    expect(gate.ask("GET", f"/v2/{name}/blobs/{digest}", fields=own.fields).body, b"one", "a blob")
    theirs = f"{THEIRS}/private.example/team/app"
    answer = gate.ask("GET", f"/v2/{theirs}/blobs/{digest}", fields=gate.issue(theirs, "pull").fields)
    if b"one" == answer.body:
        raise Wrong("a stored blob is given to who has shown nothing")
    # the call has ended: its last questions are answered
    own.end()
    expect(gate.ask("GET", asked, fields=own.fields).status, 200, "within the minute after its call")
    mounts(gate, upstream, name)
    rules(rig)
    # where it goes on is for this namespace's token alone
    begun = gate.ask("POST", f"/v2/{name}/blobs/uploads/", fields=gate.issue(name, "push", header("private.example")).fields)
    expect(begun.fields["location"].startswith(f"/v2/{name}/blobs/uploads/"), True, "where it goes on")
    stolen = begun.fields["location"].replace(OURS, THEIRS)
    answer = gate.ask("PATCH", stolen, b"x", gate.issue(theirs, "push", header("private.example")).fields)
    expect(answer.code(), "BLOB_UPLOAD_UNKNOWN", "another namespace's upload")


def rules(rig):
    """They are for the names that users see; without any nobody pushes with what is the operator's."""
    upstream = rig.registry(login=LOGIN)
    upstream.push("team/app", "v1", login=LOGIN)
    login = {"kind": "login", "username": LOGIN[0], "password_file": rig.file("password", LOGIN[1])}
    own = {"db:5000": {"url": upstream.url, "credentials": login}}
    rule = '[[registry.main.rule]]\nrepositories = ["db:5000/team/app"]'
    for extra, pulls, pushes, others in (("", 200, 403, 200), (rule, 200, 202, 403)):
        gate = Granting(rig.place("gate"), own, extra=extra)
        rig.all.append(gate)
        name = f"{OURS}/db__5000/team/app"
        token = gate.issue(name, "both")
        expect(gate.ask("GET", f"/v2/{name}/manifests/v1", fields=token.fields).status, pulls, "a pull")
        expect(gate.ask("POST", f"/v2/{name}/blobs/uploads/", fields=token.fields).status, pushes, "a push")
        other = f"{OURS}/db__5000/team/other"
        answer = gate.ask("GET", f"/v2/{other}/tags/list", fields=gate.issue(other, "pull").fields)
        expect(answer.status in (others, 404), True, f"another's ({answer.status})")
        if extra:
            expect(answer.code(), "DENIED", "by the rule")


def mounts(gate, upstream, name):
    """`from` of another namespace says nothing."""
    blob = upstream.upload("team/app", b"layer to mount", login=LOGIN)
    other = f"{OURS}/private.example/team/mounted"
    push = gate.issue(other, "push", header("private.example"))
    for source, status in ((name, 201), (name.replace(OURS, THEIRS), 202), ("team/app", 202), ("private.example/team/app", 202)):
        query = f"mount={blob}&from={urllib.parse.quote(source, safe='')}"
        answer = gate.ask("POST", f"/v2/{other}/blobs/uploads/?{query}", fields=push.fields)
        expect(answer.status, status, f"a mount from {source}")
        expect(answer.fields["location"].startswith(f"/v2/{other}/"), True, "`Location`")


def tour(engine, rig):
    """What dockerd does with the header, at registries that know who asks and at one that does not."""
    within = ["ip", "netns", "exec", engine.name]
    private, public = rig.registry(within=within, login=LOGIN), rig.registry(within=within)
    gate = Granting(rig.place("gate"), {
        "private.example": {"url": private.url, "credentials": {"kind": "client"}},
        "db:5000": {"url": public.url},
        "plain": {"url": public.url},
    }, within, '[[registry.main.rule]]\nrepositories = ["**"]')
    rig.all.append(gate)
    api = ByHand(engine.folder / "docker.sock")
    run(E2E / "image.sh", engine.folder / "docker.sock")
    for host, place, auth in (("private.example", "private.example", header("private.example")), ("db:5000", "db__5000", "-")):
        name = f"{OURS}/{place}/team/app"
        image = f"{gate.host}/{name}"
        quoted = urllib.parse.quote(image, safe="")
        taken(api.call("POST", f"/images/busybox:latest/tag?repo={quoted}&tag=v1"), "the tag")
        push = f"/images/{image}/push?tag=v1"
        pull = f"/images/create?fromImage={quoted}&tag=v1"
        refused(api.call("POST", push, base64.urlsafe_b64encode(b"{}").decode()), "a push without a token")
        refused(api.call("POST", push, gate.issue(name, "pull", auth).header), "a push with one to pull")
        mine = gate.issue(name, "push", auth)
        taken(api.call("POST", push, mine.header), f"the push to {host}")
        mine.end()
        taken(api.call("DELETE", f"/images/{image}:v1"), "the tag goes")
        for what, other in (
            ("without a token", None),
            ("with another namespace's", gate.issue(name.replace(OURS, THEIRS), "pull", auth).header),
            ("with another repository's", gate.issue(f"{name}2", "pull", auth).header),
            ("with the client's own", header(gate.host)),
        ):
            refused(api.call("POST", pull, other), f"a pull {what}")
        taken(api.call("POST", pull, gate.issue(name, "pull", auth).header), f"the pull from {host}")
        status, _ = api.call("GET", f"/images/{image}:v1/json")
        expect(status, 200, "the image is there")
        # layers that the registry has: the engine offers what it knows of every repository of this address
        other = f"{OURS}/{place}/team/second"
        quoted = urllib.parse.quote(f"{gate.host}/{other}", safe="")
        taken(api.call("POST", f"/images/busybox:latest/tag?repo={quoted}&tag=v1"), "another tag")
        taken(api.call("POST", f"/images/{gate.host}/{other}/push?tag=v1", gate.issue(other, "push", auth).header), "a second push")
    refused(api.call("POST", pull.replace("db__5000", "private.example"), gate.issue(
        f"{OURS}/private.example/team/app", "pull", header("private.example", ("ann", "guess"))).header), "a wrong password")
    # others come as before, while tokens are out
    taken(api.call("POST", f"/images/create?fromImage={gate.host}/plain/team/app&tag=v1"), "another client's pull")
    if "panicked" in (gate.folder / "log").read_text():
        raise Wrong((gate.folder / "log").read_text()[-800:])


class Gateway(Server):
    """Between tenants and an engine, with the registry that their images come by, in the engine's own network."""

    def __init__(self, engine, folder, upstreams, tenants):
        folder.mkdir(parents=True)
        self.engine, self.port, self.folder, self.told = engine, free_port(), folder, []
        (folder / "key").write_bytes(bytes(range(32)))
        (folder / "key").chmod(0o600)
        lines = [
            f'[engine]\nurl = "unix://{engine.folder}/docker.sock"',
            f'[policy.t]\nkind = "namespace"\nname = "{{listener}}"\nkey = "{folder}/key"\nregistry = "main"',
            'network_pool = "10.214.0.0/16"\nshared = ["docker.io/library/busybox"]',
            f'[registry.main]\nlisten = "{self.url}"\ndir = "{folder}/cache"\nallow_private = ["127.0.0.1"]',
            'tag_ttl = "0s"\nnegative_ttl = "0s"\n[[registry.main.rule]]\nrepositories = ["**"]',
        ]
        for name, upstream in upstreams.items():
            lines.append(f'[registry.main.upstream."{name}"]')
            lines += [f"{key} = {toml(value)}" for key, value in upstream.items()]
        for name in tenants:
            lines.append(f'[[listener]]\nname = "{name}"\nurl = "unix://{folder}/{name}.sock"\npolicies = ["t"]')
        (folder / "dockgate.toml").write_text("\n".join(lines) + "\n")
        self.log = (folder / "log").open("ab")
        within = ["ip", "netns", "exec", engine.name]
        self.process = subprocess.Popen(
            [*within, DOCKGATE, "serve", "-c", folder / "dockgate.toml"], stdout=self.log, stderr=self.log
        )
        until("the gateway listens", lambda: self.process.poll() is not None or self.text().count("listening on") > len(tenants))
        expect(self.process.poll(), None, f"it runs ({self.text()[-800:]})")

    def text(self):
        return (self.folder / "log").read_text()

    def stop(self):
        self.process.kill()
        self.process.wait()
        self.log.close()


class Tenant:
    """A user of a gateway's, with logins of their own."""

    def __init__(self, gateway, name):
        self.gateway, self.config = gateway, gateway.folder / f"config-{name}"
        self.config.mkdir()
        plugins = FORKY / "usr/libexec/docker/cli-plugins"
        if plugins.exists():
            (self.config / "cli-plugins").symlink_to(plugins)
        self.socket = gateway.folder / f"{name}.sock"
        is_new = gateway.engine.label != "20.10"
        self.cli = FORKY / "usr/bin/docker" if is_new else "docker"

    def call(self, *words, kit=0):
        env = os.environ | {
            "DOCKER_HOST": f"unix://{self.socket}", "DOCKER_CONFIG": str(self.config),
            "DOCKER_BUILDKIT": str(kit), "BUILDKIT_PROGRESS": "plain",
        }
        done = subprocess.run(
            [self.cli, *map(str, words)], env=env, capture_output=True, text=True, check=False, timeout=240
        )
        self.gateway.told.append(done.stdout + done.stderr)
        return done.returncode, done.stdout + done.stderr

    def docker(self, *words, **options):
        code, said = self.call(*words, **options)
        if code:
            raise Wrong(f"{' '.join(map(str, words))} {options}: {said[-1500:]}\n{self.gateway.text()[-1500:]}")
        return said

    def refused(self, why, *words, **options):
        code, said = self.call(*words, **options)
        if not code or not re.search(why, said):
            raise Wrong(f"{' '.join(map(str, words))} {options} is not refused: {said[-1500:]}")

    def says(self, wanted, image):
        expect(self.docker("run", "--rm", image).strip().splitlines()[-1], wanted, f"what {image} says")


NOT_FOR_YOU = "denied|[Uu]nauthorized|authorization|authentication|401"
BASE = "private.example/team/base:1"


def builds(engine, rig):
    """Builds pull what they begin with, as whoever builds; nobody else's."""
    within = ["ip", "netns", "exec", engine.name]
    private = rig.registry(within=within, login=LOGIN)
    own = {"private.example": {"url": private.url, "credentials": {"kind": "client"}}}
    gateway = Gateway(engine, rig.place("gateway"), own, "abc")
    rig.all.append(gateway)
    ann, bob, carol = (Tenant(gateway, name) for name in "abc")
    logins(private, ann)
    bob.docker("login", "-u", LOGIN[0], "-p", LOGIN[1], "private.example")

    def context(name, **files):
        (gateway.folder / name).mkdir(exist_ok=True)
        for file, text in files.items():
            (gateway.folder / name / file).write_text(text)
        return gateway.folder / name

    def push_base(text):
        bob.docker("build", "-t", BASE, context("base", v=text + "\n", Dockerfile="FROM busybox\nCOPY v /v\n"))
        bob.docker("push", BASE)
        bob.docker("rmi", "-f", BASE)

    app = context("app", Dockerfile=f'FROM {BASE}\nRUN cat /v > /w\nCMD ["cat", "/w"]\n')
    copies = context("copies", Dockerfile=f'FROM busybox\nCOPY --from={BASE} /v /w\nCMD ["cat", "/w"]\n')
    kits = (0,) if engine.label == "20.10" else (0, 1)
    for kit in kits:
        push_base(f"one {kit}")
        for folder in (app, copies):
            ann.docker("build", "-t", "app", folder, kit=kit)
            ann.says(f"one {kit}", "app")
            ann.call("rmi", "-f", BASE)
            # what is there by now is for nobody who may not pull it
            carol.refused(NOT_FOR_YOU, "build", "-t", "app", folder, kit=kit)
        guessed = f"{gateway.host}/dgaaaaaaaaaa/private.example/team/base:1"
        ann.docker("pull", BASE)
        named = engine.docker("images", "--format", "{{.Repository}}:{{.Tag}}").split()
        for name in [guessed, *(name for name in named if name.endswith("team/base:1"))]:
            folder = context("stolen", Dockerfile=f"FROM {name}\nRUN true\n")
            code, _ = carol.call("build", folder, kit=kit)
            gateway.told.pop()  # it has named it itself
            expect(code != 0, True, f"{name} is another's")
        # of what is there the newest is had by who asks for it
        push_base(f"two {kit}")
        ann.docker("build", "-t", "app", app, kit=kit)
        ann.says(f"one {kit}", "app")
        ann.docker("build", "--pull", "-t", "app", app, kit=kit)
        ann.says(f"two {kit}", "app")
        ann.call("rmi", "-f", BASE)
    if 1 in kits:
        pushes(engine, private, (ann, carol), app)
    digest = distribution(ann, carol)
    folder = context("digest", Dockerfile=f"FROM private.example/team/base@{digest}\nRUN cat /v\n")
    for kit in kits:
        carol.refused(NOT_FOR_YOU, "build", folder, kit=kit)
    for said in gateway.told:
        if found := re.search("dg[a-z2-7]{10}", said):
            raise Wrong(f"a name of the engine's is shown: {said[max(0, found.start() - 300):found.end() + 300]}")
    for word in ("panicked", LOGIN[1]):
        if word in gateway.text():
            raise Wrong(f"{word}: {gateway.text()[-1500:]}")


def logins(private, ann):
    """A name and a password are shown to the registry that they are for."""
    before = len(private.asked())
    ann.refused(NOT_FOR_YOU, "login", "-u", "ann", "-p", "guess", "private.example")
    ann.refused(".", "login", "-u", LOGIN[0], "-p", LOGIN[1], "127.0.0.1:1")
    said = ann.docker("login", "-u", LOGIN[0], "-p", LOGIN[1], "private.example")
    expect("Login Succeeded" in said, True, said)
    expect(len(private.asked()) > before, True, "the registry was asked")


def pushes(engine, private, who, app):
    """What BuildKit pushes by itself, and keeps its cache by."""
    ann, carol = who
    image, cache = "private.example/team/built:1", "private.example/team/cache:1"
    more = []
    if engine.label == "28-containerd":
        more = [f"--cache-to=type=registry,ref={cache},mode=max", f"--cache-from=type=registry,ref={cache}"]
    ann.docker("buildx", "build", "--push", "-t", image, *more, app)
    expect(bool(private.asked('"PUT"', "team/built/manifests/")), True, "what was pushed is there")
    ann.call("rmi", "-f", image)
    ann.docker("pull", image)
    ann.says("two 1", image)
    own = ann.gateway.folder / "base"
    carol.refused(NOT_FOR_YOU, "buildx", "build", "--push", "-t", "private.example/team/other:1", own)
    if more:
        engine.docker("builder", "prune", "-af")
        again = ann.docker("buildx", "build", "-t", image, *more, app)
        expect("CACHED" in again, True, "the cache at the registry is used")
        carol.refused(NOT_FOR_YOU, "buildx", "build", "-t", "x", more[0], own)


def distribution(ann, carol):
    """What a registry has by a name (`GET /distribution/NAME/json`)."""
    asked = f"/distribution/{BASE}/json"
    status, text = ByHand(ann.socket).call("GET", asked, header("private.example"))
    expect((status, "sha256:" in text), (200, True), text)
    ann.gateway.told.append(text)
    digest = json.loads(text)["Descriptor"]["digest"]
    for auth in (None, header("private.example", ("ann", "guess"))):
        status, text = ByHand(carol.socket).call("GET", asked, auth)
        expect(status >= 400, True, f"{status} {text}")
        ann.gateway.told.append(text)
    return digest


def main():
    failed = 0
    for number, name in enumerate(sys.argv[1:] or ["by-hand", *ENGINES], 1):
        if name in ENGINES and ENGINES[name][0] != "-" and not pathlib.Path(ENGINES[name][0]).exists():
            print(f"SKIPPED {name}: tests/e2e/setup.sh has not unpacked it", flush=True)
            continue
        # short: sockets lie below it
        folder, engine = pathlib.Path(tempfile.mkdtemp(prefix="dgrn.")), None
        try:
            with Rig(folder) as rig:
                if name == "by-hand":
                    by_hand(rig)
                else:
                    engine = Engine(name, number, folder)
                    tour(engine, rig)
                    builds(engine, rig)
            print(f"ok {name}", flush=True)
        except Exception as error:
            failed += 1
            print(f"FAIL {name}: {error}", flush=True)
        finally:
            if engine:
                engine.stop()
            shutil.rmtree(folder, ignore_errors=True)
    sys.exit(1 if failed else 0)


def built():
    """The example, as cargo says where it is."""
    told = subprocess.run(
        ["cargo", "build", "-q", "--example", "registry_grants", "--message-format=json"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout
    found = [json.loads(line) for line in told.splitlines()]
    return next(one["executable"] for one in found if one.get("executable"))


if __name__ == "__main__":
    GRANTS = os.environ.get("GRANTS") or built()
    main()
