"""223-237: BuildKit by hand: what is another's. Sessions, builds, histories, caches, contents."""

import os
import time

from lib.case import vector
from lib.kit import BRIDGE, CONTROL, Files, Gateway, Grpc, Refused, Session, bridged, call, fetching, secret, shell, solve, solve_message, unique
from lib.proto import get, msg, read
from lib.wire import SECONDS

from .kit_reach import evaluated, kit

SECRET = "the-secret-of-another"


def other(c, target):
    """Where another caller's calls go: to the engine as well, or to another listener."""
    return target if target.direct else c.rig.gates["other"]


def stealing(c, label, send, *, answers=None, prefix="", **more):
    """`send(target, session id)`; bites when the other one's process is asked for anything."""

    def once(target, _):
        with Session(other(c, target), answers={**secret(SECRET), "DiffCopy": Files(Dockerfile="FROM busybox\n", secret=SECRET), **(answers or {})}) as theirs:
            answer = send(target, theirs.ident)
            answer.stolen = theirs.was_asked()
            return answer

    c.probe(label, once, lambda a, _: bool(a.stolen), **more)


def with_secret(ident):
    """A graph that reads a secret of the build's session."""
    return shell(f"grep {ident} /run/s", mounts=[msg((1, -1), (3, "/run/s"), (4, -1), (6, 1), (21, msg((1, "s"))))])


@vector(223, "BuildKit: another's session, for secrets and files")
def sessions(c):
    stealing(c, "Session, a secret", lambda t, s: solve(t, with_secret(SECRET), session=s))
    stealing(c, "Session, a Dockerfile", lambda t, s: solve(t, frontend="dockerfile.v0", session=s))
    stealing(c, "Session, an agent", lambda t, s: solve(t, shell("ls -l /run/a", mounts=[msg((1, -1), (3, "/run/a"), (4, -1), (6, 2), (22, msg((1, "default"))))]), session=s))
    stealing(c, "Session, an output", lambda t, s: solve(t, shell("true"), session=s, exporter="local", seconds=10), answers={"FileSend/DiffCopy": 0}, maybe=True)
    old = c.rig.engine == "20.10"  # asks the build's own session first

    def with_mine(send):
        def once(t, s):
            with Session(t) as own:
                return send(t, s, own.ident)

        return once

    local = lambda s: fetching("local://context", {"local.session": s})  # noqa: E731
    stealing(c, "LLB, local.session", with_mine(lambda t, s, own: solve(t, local(s), session=own)), maybe=old)
    stealing(c, "LLB, oci.session", with_mine(lambda t, s, own: solve(t, fetching(f"oci-layout://x/y@sha256:{'0' * 64}", {"oci.session": s, "oci.store": "x"}), session=own)), maybe=True)
    stealing(
        c,
        "local-sessionid of a frontend",
        with_mine(lambda t, s, own: solve(t, session=own, frontend="dockerfile.v0", attrs={"local-sessionid:dockerfile": s, "local-sessionid:context": s})),
        maybe=old,
    )
    stealing(
        c,
        "FrontendInputs",
        with_mine(lambda t, s, own: solve(t, session=own, frontend="dockerfile.v0", inputs={"context": local(s), "dockerfile": local(s)})),
        maybe=old,
    )
    stealing(c, "SourcePolicySession", with_mine(lambda t, s, own: solve(t, shell("true"), session=own, more=[(15, s)])), maybe=True)
    stealing(c, "LLBBridge.Solve", lambda t, s: bridged(t, "Solve", evaluated(local(s))), maybe=old)
    stealing(c, "LLBBridge.Solve, a frontend", lambda t, s: bridged(t, "Solve", msg((2, "dockerfile.v0"), (3, {"local-sessionid:dockerfile": s}))), maybe=old)
    stealing(
        c,
        "a policy's update",
        with_mine(
            lambda t, s, own: solve(
                t,
                fetching("local://context"),
                session=own,
                policy=msg((1, 1), (2, msg((1, 2), (2, msg((1, "local://*"))), (3, msg((1, "local://context"), (2, {"local.session": s})))))),
            )
        ),
        maybe=True,
    )


@vector(224, "BuildKit: ids that lead to another's session")
def spelled(c):
    # BuildKit's session manager looks `x:ID` up as `ID`
    def begun(prefix):
        def once(t, s):
            try:
                with Session(t, prefix + s):
                    return solve(t, with_secret(SECRET), session=prefix + s)
            except Refused as refused:
                return refused.answer

        return once

    for prefix in ("x:", ":"):
        stealing(c, f"{prefix}ID, begun", begun(prefix))
        stealing(c, f"{prefix}ID, not begun", lambda t, s, p=prefix: solve(t, with_secret(SECRET), session=p + s))
        stealing(c, f"{prefix}ID in a graph", lambda t, s, p=prefix: solve(t, fetching("local://context", {"local.session": p + s}), session=s if t.direct else None))
    for label, spell in (("in capitals", str.upper), ("with a space", lambda s: s + " "), ("with a zero", lambda s: s + "\0"), ("two", lambda s: f"{s},{s}")):
        stealing(c, label, lambda t, s, spell=spell: solve(t, with_secret(SECRET), session=spell(s), seconds=7), maybe=True)


@vector(225, "BuildKit: a session that is begun again")
def again(c):
    """Its id is another's: who begins it again is asked in its place."""

    def once(target, _):
        with Session(other(c, target)) as theirs:
            try:
                with Session(target, theirs.ident, answers=secret("planted")) as mine:
                    answer = solve(other(c, target), with_secret("planted"), session=theirs.ident)
                    answer.planted = bool(mine.was_asked())
                    return answer
            except Refused as refused:
                refused.answer.planted = False
                return refused.answer

    # the gate's answer is one with which a client waits to be asked, for ever
    c.probe("the same id", once, lambda a, _: a.planted, inert="the engine knows that it is there already", may_pass=True)


def theirs(c, target, **more):
    """A build of another's that goes on."""
    return Gateway(other(c, target), **more)


@vector(226, "BuildKit: another's log")
def logs(c):
    def once(target, _):
        with theirs(c, target) as build:
            started = build.grpc.start(BRIDGE + "Solve", evaluated(shell("echo logged226; sleep 1")), build.metadata)
            with Grpc(target) as grpc:
                ident = grpc.start(CONTROL + "Status", msg((1, build.ref)))
                build.grpc.wait(started)
                # an answer that has no end
                stream = grpc.h2.stream(ident)
                while not stream.done and b"logged226" not in stream.data and grpc.h2.step():
                    pass
                answer = grpc.wait(ident, 0.1)
            # an answer that goes on is one
            answer.status = answer.status if answer.code else 200
            return answer

    c.probe("Status", once, lambda a, _: "logged226" in a.text)


@vector(227, "BuildKit: files of another's result")
def results(c):
    def reading(method, message):
        def once(target, _):
            with theirs(c, target) as build:
                _, ref = build.solved(shell("echo found227 > /found"))
                return call(target, BRIDGE + method, message(ref), build.metadata, seconds=8 if method == "Warn" else SECONDS)

        return once

    kit_as(c, "ReadFile", reading("ReadFile", lambda ref: msg((1, ref), (2, "/found"))), lambda a: "found227" in a.text)
    kit_as(c, "ReadDir", reading("ReadDir", lambda ref: msg((1, ref), (2, "/"))), lambda a: "found" in a.text)
    kit_as(c, "StatFile", reading("StatFile", lambda ref: msg((1, ref), (2, "/found"))), lambda a: "found" in a.text)
    for method, message in (("Ping", b""), ("Inputs", b""), ("Return", msg((2, msg((1, 2), (2, "ended227"))))), ("Warn", msg((1, "x"), (3, "warned")))):
        kit_as(c, method, reading(method, lambda _, m=message: m), lambda a: getattr(a, "good", False), maybe=method == "Warn")
    kit_as(c, "Solve in it", reading("Solve", lambda _: evaluated(fetching("docker-image://docker.io/library/busybox:latest"))), lambda a: getattr(a, "good", False))
    kit_as(c, "NewContainer in it", reading("NewContainer", lambda ref: msg((1, "dgv"), (2, msg((3, "/"), (23, ref))))), lambda a: getattr(a, "good", False))


def kit_as(c, label, once, bites, **more):
    c.probe(label, once, lambda a, _: bites(a), **more)


@vector(228, "BuildKit: whose build it is, said twice")
def twice(c):
    def once(order):
        def send(target, _):
            with theirs(c, target) as build, Gateway(target) as mine:
                ids = {"mine": mine.ref, "theirs": build.ref}
                metadata = [("buildkit-controlapi-buildid", ids[which]) for which in order]
                return call(target, BRIDGE + "Ping", b"", metadata, seconds=8 if order[1:] else SECONDS)

        return send

    kit_as(c, "theirs only", once(["theirs"]), lambda a: a.good)
    for order in (["mine", "theirs"], ["theirs", "mine"], ["theirs", "theirs"]):
        kit_as(c, "-".join(order), once(order), lambda a: a.good, maybe=True)

    def capitals(target, _):
        with theirs(c, target) as build:
            return call(target, BRIDGE + "Ping", b"", [("BuildKit-ControlAPI-BuildID", build.ref)], seconds=3)

    kit_as(c, "a name in capitals", capitals, lambda a: a.good, maybe=True)


@vector(229, "BuildKit: another's history")
def histories(c):
    if c.rig.engine == "20.10":
        return c.declare("this engine keeps no history")

    def setup():
        ref = unique("hist")
        answer = solve(c.rig.direct, shell("true"), ref=ref)
        assert answer.good, answer
        return ref

    listing = CONTROL + "ListenBuildHistory"
    c.probe("all of it", lambda t, _: call(t, listing, msg((3, True))), lambda a, ref: ref in a.text, setup=setup, may_pass=True)
    c.probe("one of it", lambda t, ref: call(t, listing, msg((2, ref), (3, True))), lambda a, ref: ref in a.text, setup=setup, may_pass=True)
    c.probe("by a filter", lambda t, ref: call(t, listing, msg((3, True), (4, f"ref=={ref}"))), lambda a, ref: ref in a.text, setup=setup, may_pass=True)

    def gone(_, ref):
        return ref not in call(c.rig.direct, listing, msg((2, ref), (3, True))).text

    update = CONTROL + "UpdateBuildHistory"
    c.probe("deleted", lambda t, ref: call(t, update, msg((1, ref), (3, True))), gone, setup=setup)
    c.probe("pinned", lambda t, ref: call(t, update, msg((1, ref), (2, True))), lambda a, _: a.good, setup=setup)
    c.probe("finalized", lambda t, ref: call(t, update, msg((1, ref), (4, True))), lambda a, _: a.good, setup=setup, maybe=True)


@vector(230, "BuildKit: what others have built, and an end to it")
def cache(c):
    def built():
        assert solve(c.rig.direct, shell(f"echo {os.urandom(4).hex()} > /x")).good
        return records()

    def records():
        return len(c.rig.admin("GET", "/system/df").json()["BuildCache"] or [])

    c.probe("DiskUsage", lambda t, _: call(t, CONTROL + "DiskUsage"), lambda a, _: len(a.data) > 20, setup=built)
    c.probe("DiskUsage with a filter", lambda t, _: call(t, CONTROL + "DiskUsage", msg((1, "type==regular"))), lambda a, _: len(a.data) > 20, setup=built)
    c.probe("Prune", lambda t, _: call(t, CONTROL + "Prune", msg((2, True))), lambda _, before: records() < before, setup=built)
    c.probe("Prune of old ones", lambda t, _: call(t, CONTROL + "Prune", msg((2, True), (3, 1))), lambda _, before: records() < before, setup=built, maybe=True)
    c.rig.admin("POST", "/build/prune?all=1")


def of_another(c, content):
    """The digest of what no gate has ever told: why a build failed that went to the engine itself. (Of builds through a gate
    there is the same, and that is its callers' to read.)"""
    if not call(c.rig.direct, content + "List").good:
        return None
    mark = unique()
    solve(c.rig.direct, shell(f"exit 3 # {mark}"))
    until = time.monotonic() + SECONDS
    while time.monotonic() < until:
        listed = call(c.rig.direct, content + "List")
        infos = [info for message in listed.messages for number, info in read(message) if number == 1]
        for digest in (get(info, 1).decode() for info in infos):
            if mark.encode() in call(c.rig.direct, content + "Read", msg((1, digest))).data:
                return digest
        time.sleep(0.2)
    raise AssertionError("the engine does not keep why a build has failed")


@vector(231, "BuildKit: contents by digest")
def contents(c):
    content = "/containerd.services.content.v1.Content/"
    digest = of_another(c, content)
    why = None if digest else "this engine serves no contents"
    digest = digest or "sha256:" + "0" * 64
    for method, message in (("List", b""), ("Info", msg((1, digest))), ("Read", msg((1, digest))), ("Read", msg((1, digest), (2, 1)))):
        kit(c, f"{method} {len(message)}", lambda t, m=method, b=message: call(t, content + m, b), lambda a, _: a.good and len(a.data) > 5, inert=why)
    for method, message in (("Delete", msg((1, digest))), ("Abort", msg((1, "x"))), ("Status", msg((1, "x"))), ("ListStatuses", b""), ("Write", msg((1, 1), (2, "x")))):
        kit(c, method, lambda t, m=method, b=message: call(t, content + m, b), maybe=True)


@vector(232, "BuildKit: services that are no business of a client's")
def services(c):
    asked = msg((7, ""))
    paths = [
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
        *(f"/containerd.services.{name}" for name in (
            "containers.v1.Containers/List", "tasks.v1.Tasks/List", "namespaces.v1.Namespaces/List", "images.v1.Images/List",
            "leases.v1.Leases/List", "snapshots.v1.Snapshots/List", "events.v1.Events/Subscribe", "introspection.v1.Introspection/Plugins",
            "diff.v1.Diff/Diff", "version.v1.Version/Version", "transfer.v1.Transfer/Transfer",
        )),
        "/moby.buildkit.v1.Control/Unknown",
        "/moby.filesync.v1.FileSync/DiffCopy",
        "/moby.buildkit.secrets.v1.Secrets/GetSecret",
        "/moby.buildkit.v1.Worker/List",
        "/grpc.channelz.v1.Channelz/GetServers",
        "/moby.extension.v1.Extension/Do",
    ]
    for path in paths:
        kit(c, path[1:40], lambda t, p=path: call(t, p, asked), inert="this engine serves none of them")


@vector(233, "BuildKit: traces that a client gives the engine's collector")
def traces(c):
    path = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
    span = msg((1, b"0" * 16), (2, b"0" * 8), (5, "dgv"), (7, 1))
    message = msg((1, msg((2, msg((2, span))))))
    base = c.rig.dir / "log"

    def send(target, _):
        before = base.stat().st_size
        answer = call(target, path, message)
        answer.grown = base.stat().st_size - before
        return answer

    # what it says is dockgate's own, for nothing goes on
    c.probe("Export", send, lambda a, _: False, inert="without a collector the engine drops them", may_pass=True)


@vector(234, "BuildKit: a build of another's id")
def claimed(c):
    def once(target, _):
        with theirs(c, target) as build:
            answer = solve(target, shell("true"), ref=build.ref)
            look = call(target, BRIDGE + "Ping", b"", build.metadata)
            answer.looked = look.good
            return answer

    c.probe("Solve, and then in it", once, lambda a, _: a.looked)


@vector(236, "BuildKit: sessions by gRPC")
def by_grpc(c):
    """`Control/Session` instead of `/session`: the same ids."""

    def once(target, _):
        with Session(other(c, target), answers=secret(SECRET)) as victim, Grpc(target) as grpc:
            metadata = [("x-docker-expose-session-uuid", "x:" + victim.ident)]
            ident = grpc.start(CONTROL + "Session", b"", metadata, raw=b"", end=False)
            answer = grpc.wait(ident, 0.5)
            with Session(target) as mine:
                del mine
            leak = solve(target, with_secret(SECRET), session="x:" + victim.ident)
            leak.stolen = bool(victim.was_asked())
            leak.opened = answer
            return leak

    c.probe("with a prefix", once, lambda a, _: a.stolen)


@vector(237, "BuildKit: processes in another's container")
def processes(c):
    def once(target, _):
        with theirs(c, target) as build:
            message = msg((1, "p"), (2, msg((1, "dgv"), (2, msg((1, ["/bin/true"]), (3, "/"))), (3, [0, 1, 2]))))
            with Grpc(target) as grpc:
                return grpc.call(BRIDGE + "ExecProcess", message, build.metadata, seconds=6)

    c.probe("ExecProcess", once, lambda a, _: a.engines and "no such job" not in a.message)
