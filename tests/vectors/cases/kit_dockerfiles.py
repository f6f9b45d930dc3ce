"""219-222: BuildKit by hand: Dockerfiles that reach an engine without source policies by another way than its session, or unseen."""

import json
import urllib.parse

from lib.case import vector
from lib.kit import BUSYBOX, Files, Graph, Refused, Reply, Session, bridged, dockerfile, fetching, solve
from lib.proto import msg

from .kit_reach import evaluated, reaching


def add(c):
    return f"FROM busybox\nADD http://{c.rig.canary.at}/x /x\n"


def by_query(target, text, *, query=None, answers=None, session=None):
    """As docker below 23 asks: the refusal stands in the stream of progress."""

    def ask(session):
        said = {"version": "2", "remote": "client-session", "session": session.ident, "nocache": "1", **(query or {})}
        return target.call("POST", "/build?" + urllib.parse.urlencode({k: v for k, v in said.items() if v is not None}))

    try:
        if session:
            answer = ask(session)
        else:
            with Session(target, answers={"FileSync/DiffCopy": Files(Dockerfile=text, x="x\n"), **(answers or {})}) as session:
                answer = ask(session)
    except Refused as refused:
        return refused.answer
    for line in answer.text.splitlines():
        error = json.loads(line).get("error", "") if line.startswith("{") else ""
        if "dockgate: " in error:
            reply = Reply(why=error[error.find("dockgate: ") :])
            reply.status = 403
            return reply
    return answer


@vector(219, "BuildKit: a Dockerfile that was judged for another build")
def rebuilt(c):
    at = c.rig.canary.at

    def twice(first, second):
        """Two builds of one file in one session: the engine asks for the file once."""

        def send(t):
            try:
                with Session(t, answers={"FileSync/DiffCopy": Files(Dockerfile="ARG A=busybox\nFROM $A\n")}) as session:
                    for attrs in (first, second):
                        asked = {"filename": "Dockerfile", "no-cache": "", **attrs}
                        answer = solve(t, session=session.ident, frontend="dockerfile.v0", attrs=asked)
                    return answer
            except Refused as refused:
                return refused.answer

        return send

    evil = {"build-arg:A": f"{at}/x"}
    reaching(c, "with an argument", twice({}, evil))
    reaching(c, "with another one", twice({"build-arg:A": "busybox:latest"}, evil))

    def again(t):
        """The session is opened again by its id, in which the engine has found the file."""
        try:
            with Session(t, answers={"FileSync/DiffCopy": Files(Dockerfile="ARG A=busybox\nFROM $A\n")}) as session:
                solve(t, session=session.ident, frontend="dockerfile.v0", attrs={"filename": "Dockerfile"})
            with Session(t, session.ident, answers={"FileSync/DiffCopy": 5}) as session:
                return solve(t, session=session.ident, frontend="dockerfile.v0", attrs={"filename": "Dockerfile", **evil})
        except Refused as refused:
            return refused.answer

    def by_query_twice(first, second):
        def send(t):
            try:
                with Session(t, answers={"FileSync/DiffCopy": Files(Dockerfile="ARG A=busybox\nFROM $A\n")}) as session:
                    # no such stage: it fails once the file is read, and leaves no image
                    by_query(t, "", query={"buildargs": json.dumps(first), "target": "none"}, session=session)
                    return by_query(t, "", query={"buildargs": json.dumps(second)}, session=session)
            except Refused as refused:
                return refused.answer

        return send

    reaching(c, "by query", by_query_twice({}, {"A": f"{at}/x"}))

    # there a gate with source policies lets BuildKit say it, and one without asks a client that says nothing
    reaching(c, "in a session that is opened again", again, maybe=True, may_pass=True)


@vector(220, "BuildKit: what a Dockerfile fetches, by query")
def queried(c):
    at = c.rig.canary.at
    for label, text in (
        ("ADD", add(c)),
        ("FROM", f"FROM {at}/x\n"),
        ("COPY --from", f"FROM busybox\nCOPY --from={at}/x /x /x\n"),
        ("# syntax=", f"# syntax={at}/x\nFROM busybox\n"),
    ):
        reaching(c, label, lambda t, text=text: by_query(t, text))
    args = json.dumps({"A": f"{at}/x"})
    reaching(c, "a build argument", lambda t: by_query(t, "ARG A=busybox\nFROM $A\n", query={"buildargs": args}))
    syntax = json.dumps({"BUILDKIT_SYNTAX": f"{at}/x"})
    reaching(c, "BUILDKIT_SYNTAX", lambda t: by_query(t, "FROM busybox\n", query={"buildargs": syntax}))
    scanner = json.dumps({"BUILDKIT_ATTEST_SBOM": f"generator={at}/x"})
    reaching(c, "a scanner", lambda t: by_query(t, "FROM busybox\n", query={"buildargs": scanner}), maybe=True)
    reaching(c, "ADD, an escaped repository", lambda t: by_query(t, f"FROM busybox\nADD http://{at}/x%2egit /x\n"), maybe=True)
    reaching(c, "a cache", lambda t: by_query(t, "FROM busybox\n", query={"cachefrom": json.dumps([f"{at}/x"]), "nocache": None}))
    for label, place in (("an archive", f"http://{at}/x"), ("a repository", f"http://{at}/x.git")):
        reaching(c, f"{label} as the context", lambda t, place=place: by_query(t, "FROM busybox\n", query={"remote": place}))
    reaching(c, "the body as the context", lambda t: t.call("POST", "/build?version=2", add(c), kind="application/x-tar"))


@vector(221, "BuildKit: a Dockerfile under another name")
def named(c):
    text = add(c)

    def files(label, files, filename=None, links=()):
        attrs = {"filename": filename} if filename else {}
        sent = lambda: {"FileSync/DiffCopy": Files(links=dict(links), **files)}  # noqa: E731
        reaching(c, label, lambda t: dockerfile(t, text, answers=sent(), attrs=attrs))

    good = {"Dockerfile": "FROM busybox\n"}
    files("in lower case", {"dockerfile": text})
    files("what is ignored, a link", {".dockerignore": text}, links={"Dockerfile": ".dockerignore"})
    files("what is ignored for it, a link", {"Z.dockerignore": text}, links={"a": "Z.dockerignore"}, filename="a")
    files("what is ignored, by its name", {**good, "Dockerfile.dockerignore": text}, filename="Dockerfile.dockerignore")
    files("another one, a link", {"x": text}, links={"Dockerfile": "x"})
    files("another one, behind a link", {"x": text}, links={"y": "x"}, filename="y")
    files("with dots", {**good, "x": text}, filename="./y/../x")
    files("from above", {**good, "x": text}, filename="../../x")
    files("with slashes", {**good, "x": text}, filename="//x")


@vector(222, "BuildKit: a Dockerfile that comes from elsewhere")
def elsewhere(c):
    at = c.rig.canary.at
    text, old = add(c), c.rig.engine == "20.10"
    made = Graph()
    made.run(f"printf '{text.replace(chr(10), chr(92) + 'n')}' > /Dockerfile", made.source(BUSYBOX))
    made = made.definition()
    reaching(c, "a graph makes it", lambda t: dockerfile(t, "FROM busybox\n", inputs={"dockerfile": made}))
    both = lambda t: bridged(t, "Solve", msg((2, "dockerfile.v0"), (3, {"filename": "Dockerfile"}), (13, {"dockerfile": made}), (14, True)))  # noqa: E731
    reaching(c, "a graph makes it, LLBBridge.Solve", both, maybe=True)
    for key in ("x", "context", "dockerfile-2"):
        reaching(c, f"dockerfilekey={key}", lambda t, key=key: dockerfile(t, text, attrs={"dockerfilekey": key}))
    reaching(c, "contextkey", lambda t: dockerfile(t, text, attrs={"contextkey": "x"}))

    def kept(t):
        """First a graph has the engine take the folder, which nobody builds, and then a build finds it."""
        try:
            with Session(t, answers={"FileSync/DiffCopy": Files(Dockerfile=text)}) as session:
                paths = json.dumps(["Dockerfile", "Dockerfile.dockerignore", "dockerfile"])
                attrs = {"local.session": session.ident, "local.followpaths": paths, "local.sharedkeyhint": "dockerfile"}
                solve(t, fetching("local://dockerfile", attrs), session=session.ident)
                return solve(t, session=session.ident, frontend="dockerfile.v0", attrs={"filename": "Dockerfile", "no-cache": ""})
        except Refused as refused:
            return refused.answer

    reaching(c, "a graph takes it first", kept)
    reaching(c, "the graph alone", lambda t: bridged(t, "Solve", evaluated(fetching(f"http://{at}/x"))), maybe=old)
