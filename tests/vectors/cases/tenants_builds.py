"""390-403: what bob's builds begin with, read, join and write."""

import os

from lib.kit import CONTROL, Refused, Session, call, dockerfile, secret, shell, solve, unique
from lib.proto import msg
from lib.tenants import SECRET, SURE, TEXT, encoded, of, replaced, tenants
from lib.case import fill

from .kit_others import with_secret
from .smuggling import tar


def classic(bob, text, query="", **files):
    """A build by the classic builder; its whole output."""
    context = tar(Dockerfile=text.encode(), **files)
    return bob.call("POST", f"/build?version=1&nocache=1&rm=1&forcerm=1&{query}", context, kind="application/x-tar")


def building(j, label, text, *, forms, query="", bites=None, sure=SURE, **more):
    for name, form in forms.items():
        def send(bob, s, form=form):
            return classic(bob, fill(replaced(text, form), s), fill(replaced(query, form), s))

        # step numbers and ids of what is made on the way are new each time
        j.probe(f"{label} {name}", send, bites or built, maybe=name not in sure, same=False, **more)


def built(a, s, w):
    return "Successfully built" in a.text


IMAGE = of("image", TEXT)


@tenants(390, "builds: FROM another's image")
def begun(j):
    building(j, "FROM", "FROM {}\nLABEL x=1\n", forms=IMAGE, sure=("name", "id"))
    building(j, "FROM by an argument", "ARG BASE={}\nFROM $BASE\nLABEL x=1\n", forms={"name": "{image}"})
    building(j, "FROM with a digest", "FROM team/annsimage@{image_id}\nLABEL x=1\n", forms={"": ""}, sure=())


@tenants(391, "builds: files of another's image")
def copied(j):
    for line in ("COPY --from={} / /stolen/", "COPY --from={} /bin/busybox /stolen"):
        building(j, line, f"FROM busybox\n{line}\n", forms=IMAGE, sure=("name", "id"))


@tenants(392, "builds: steps of another's image for a cache")
def cached(j):
    """The engine takes a step from there rather than to run it."""
    building(j, "cachefrom", "FROM busybox\nLABEL x=2\n", query="cachefrom=" + encoded('["{}"]').replace("%7B%7D", "{}"), forms=IMAGE, bites=lambda a, s, w: "Using cache" in a.text, sure=())
    j.case.declare("an image that has no steps of this build is no cache for it")


@tenants(393, "builds: another's name for what is built")
def named(j):
    from .tenants_images import moved, repo_of

    for repo in ("team/annsimage:1", "{engine_repo}:1"):
        building(j, f"t={repo}", "FROM busybox\nLABEL x=3\n", query=f"t={repo}", forms={"": ""}, bites=moved, sure=("",) if repo[0] == "t" else (), setup=repo_of)


@tenants(394, "builds: within another's container's namespaces")
def network_mode(j):
    def bites(a, s, w):
        found = w.rig.admin("GET", f"/containers/{s['web_id']}/json").json()
        address = next(iter(found["NetworkSettings"]["Networks"].values()))["IPAddress"]
        return address in a.text

    text = "FROM busybox\nRUN ip -4 addr\n"
    building(j, "container", text, query="networkmode=container:{}", forms=TEXT, bites=bites)
    inside = lambda a, s, w: "Successfully built" in a.text  # noqa: E731
    building(j, "network", text, query="networkmode={}", forms=of("front", TEXT), bites=inside, sure=("name",))


@tenants(395, "builds: cancelled by another")
def cancelled(j):
    """By the id that its client chose."""

    def send(bob, s):
        import threading

        world, ident = s["world"], "annsbuild" + os.urandom(4).hex()
        text = "FROM busybox\nRUN echo begun; i=0; while [ ! -e /never ] && [ $i -lt 10 ]; do sleep 0.1; i=$((i+1)); done\n"
        out = {}
        thread = threading.Thread(target=lambda: out.update(a=classic(world.ann, text, f"buildid={ident}")))
        thread.start()
        answer = bob.call("POST", f"/build/cancel?id={ident}")
        thread.join()
        answer.cancelled = "Successfully built" not in out["a"].text
        return answer

    # (the classic builder takes no heed of it: it is BuildKit's)
    j.probe("the classic builder's", send, lambda a, s, w: a.cancelled, setup=lambda w: {"world": w}, same=False, maybe=True)
    j.case.declare("the classic builder ends no build by its id")


def buildkit(number, title):
    def put(run):
        @tenants(number, f"BuildKit: {title}")
        def case(j):
            if j.rig.engine == "20.10":
                return j.case.declare("in a namespace BuildKit is for engines from 24 on")
            run(j)

        return run

    return put


def kit_good(a, s, w):
    return getattr(a, "good", False)


def solved(j, label, text, *, forms, sure=("name",), **more):
    for name, form in forms.items():
        def send(bob, s, form=form):
            attrs = {k: fill(replaced(v, form), s) for k, v in more.get("attrs", {}).items()}
            written = fill(replaced(text, form), s)
            bob.said += (written + str(attrs)).encode()
            return dockerfile(bob, written, attrs=attrs)

        j.probe(f"{label} {name}", send, more.get("bites", kit_good), maybe=name not in sure, same=False)


@buildkit(396, "FROM another's image")
def kit_from(j):
    solved(j, "FROM", "FROM {}\n", forms=IMAGE)
    solved(j, "COPY --from", "FROM busybox\nCOPY --from={} / /x\n", forms=IMAGE)
    solved(j, "a mount of it", "FROM busybox\nRUN --mount=type=bind,from={},target=/x true\n", forms=IMAGE)


@buildkit(397, "another's image as a context")
def kit_context(j):
    solved(j, "context", "FROM base\n", attrs={"context:base": "docker-image://{}"}, forms={"name": "docker.io/team/annsimage:1", "the engine's name": "{engine_image}"})
    solved(j, "replaced", "FROM busybox\n", attrs={"context:busybox": "docker-image://{}"}, forms={"name": "docker.io/team/annsimage:1", "the engine's name": "{engine_image}"})


@buildkit(398, "another's name for what is built")
def kit_named(j):
    from .tenants_images import moved, repo_of

    for name in ("docker.io/team/annsimage:1", "team/annsimage:1", "{engine_repo}:1"):
        def send(bob, s, name=name):
            attrs = {"name": fill(name, s), "unpack": "true"}
            bob.said += str(attrs).encode()
            return dockerfile(bob, f"FROM busybox\nLABEL n={unique()}\n", exporter="moby", exporter_attrs=attrs)

        j.probe(f"exporter {name}", send, moved, setup=repo_of, maybe=name.startswith("{"), same=False)


@buildkit(399, "another's session")
def kit_session(j):
    """Two users of one listener: the id of a session is no key to it."""

    def send(bob, s):
        with Session(s["world"].ann, answers=secret(SECRET)) as theirs:
            answer = solve(bob, with_secret(SECRET), session=theirs.ident)
            answer.stolen = theirs.was_asked()
            return answer

    j.probe("a secret", send, lambda a, s, w: bool(a.stolen), setup=lambda w: {"world": w}, same=False)


@buildkit(400, "another's session, begun again")
def kit_again(j):
    def send(bob, s):
        ann = s["world"].ann
        with Session(ann, answers=secret("hers")) as hers:
            try:
                with Session(bob, hers.ident, answers=secret("planted")) as mine:
                    answer = solve(ann, with_secret("planted"), session=hers.ident)
                    answer.planted = bool(mine.was_asked())
            except Refused as refused:
                answer = refused.answer
                answer.planted = False
            return answer

    j.probe("the same id", send, lambda a, s, w: a.planted, setup=lambda w: {"world": w}, same=False, maybe=True)
    j.case.declare("the engine knows that it is there already")


@buildkit(401, "another's build: its log, its files, its end")
def kit_build(j):
    from lib.kit import BRIDGE, Gateway

    for method, message in (("Ping", b""), ("Inputs", b""), ("Return", msg((2, msg((1, 2), (2, "ended")))))):
        def send(bob, s, method=method, message=message):
            with Gateway(s["world"].ann) as build:
                return call(bob, BRIDGE + method, message, build.metadata)

        j.probe(method, send, kit_good, setup=lambda w: {"world": w}, same=False)


@buildkit(402, "what others have built")
def kit_history(j):
    listing = CONTROL + "ListenBuildHistory"

    def done(w):
        ref = unique("hist")
        answer = solve(w.ann, built_by(w), ref=ref)
        assert answer.good or not w.is_open, answer
        return {"ref": ref}

    j.probe("history", lambda bob, s: call(bob, listing, msg((3, True))), lambda a, s, w: s["ref"] in a.text, setup=done, same=False, told=False)
    j.probe("one of it", lambda bob, s: call(bob, listing, msg((2, s["ref"]), (3, True))), lambda a, s, w: s["ref"] in a.text, setup=done, same=False)
    j.probe("what the cache holds", lambda bob, s: call(bob, CONTROL + "DiskUsage"), lambda a, s, w: len(a.data) > 20, setup=done, same=False)


def built_by(w):
    return shell(f"echo {os.urandom(4).hex()} > /x")


# Without the builds' own cache their mounts are new ones as well.
CACHED = {"no-cache": None}


@buildkit(403, "another's cache of a mount")
def kit_cache_mount(j):
    """`RUN --mount=type=cache`: what ann's build has left in it."""
    target = "annscache" + os.urandom(3).hex()

    def left(w):
        made = dockerfile(w.ann, f"FROM busybox\nRUN --mount=type=cache,id={target},target=/c echo x{unique()} > /c/of\n", attrs=CACHED)
        assert made.good, made
        return {}

    def send(bob, s):
        return dockerfile(bob, f"FROM busybox\nRUN --mount=type=cache,id={target},target=/c echo {unique()}; test -e /c/of\n", attrs=CACHED)

    j.probe("the same id", send, kit_good, setup=left, same=False)

    def named(bob, s):
        attrs = {**CACHED, "build-arg:BUILDKIT_CACHE_MOUNT_NS": "ann"}
        return dockerfile(bob, f"FROM busybox\nRUN --mount=type=cache,id={target},target=/c echo {unique()}; test -e /c/of\n", attrs=attrs)

    j.probe("in a place that bob names", named, kit_good, setup=left, same=False, maybe=True)
