"""107-112, 182: builds, classic and by BuildKit."""

import gzip
import io
import json
import os
import subprocess
import tarfile

from lib import rig as rigs
from lib.case import vector
from lib.wire import Conn, request

from .attributes import quote
from .smuggling import host_netns, tar
from .transport import Upgraded, tunnels


def build(c, label, query, dockerfile, bites, **more):
    """A classic build; `bites(output)`."""
    context = tar(Dockerfile=dockerfile.encode())
    c.call(
        label, "POST", f"/build?version=1&nocache=1&{query}", context, kind="application/x-tar", bites=lambda a, _: bites(a.text), **more
    )


@vector(107, "options of a build")
def options(c):
    netns = host_netns(c)
    look = "FROM busybox\nRUN readlink /proc/self/ns/net\n"
    for query in ("networkmode=host", "networkmode=%68ost", "network%6dode=host", "networkmode=host&networkmode=default"):
        build(c, query, query, look, lambda out: netns in out)
    c.make("foreign107", start=True, HostConfig={"NetworkMode": "host"})
    ident = c.inspect("foreign107")["Id"]
    for known in ("foreign107", ident[:12]):
        build(c, f"networkmode=container:{known[:10]}", f"networkmode=container:{known}", look, lambda out: netns in out)
    host = next(n["Id"] for n in c.rig.admin("GET", "/networks").json() if n["Name"] == "host")
    for known in (host,):
        build(c, f"the host network's id {len(known)}", f"networkmode={known}", look, lambda out: netns in out, maybe=True)
    build(c, "cgroupparent", "cgroupparent=/other107", "FROM busybox\nRUN cat /proc/self/cgroup\n", lambda out: "other107" in out)
    for limits in ([{"Name": "rtprio", "Hard": 0, "Soft": 0}],):
        build(
            c,
            f"ulimits {limits[0]['Name']}",
            "ulimits=" + quote(json.dumps(limits)),
            "FROM busybox\nRUN echo ran\n",
            lambda out: "ran" in out and "errorDetail" not in out,
            maybe=True,
        )
    canary = c.rig.canary
    for url in (
        f"http://{canary.at}/x",
        f"{canary.at}/x.git",
        f"git://{canary.at}/x",
        f"http://{canary.at}/x.git#main:sub",
        f"https://{canary.at}/x",
    ):
        c.call(
            f"remote {url.replace(canary.at, 'CANARY')}",
            "POST",
            "/build?version=1&remote=" + quote(url),
            setup=lambda: canary.hits,
            bites=lambda _, before: canary.hits > before,
            maybe=not url.startswith("http://"),
        )
    build(
        c,
        "memory through limits",
        "memory=1099511627776&memswap=-1",
        "FROM busybox\nRUN cat /sys/fs/cgroup/memory/memory.limit_in_bytes || cat /sys/fs/cgroup/memory.max\n",
        lambda out: "1099511627776" in out,
        via="sizes",
    )
    build(
        c,
        "shmsize through limits",
        "shmsize=1073741824",
        "FROM busybox\nRUN df -k /dev/shm | tail -n 1\n",
        lambda out: "1048576" in out,
        via="sizes",
    )
    build(
        c,
        "extrahosts",
        "extrahosts=a:10.0.0.1",
        "FROM busybox\nRUN true\n",
        lambda _: False,
        inert="of the build's containers themselves",
        may_pass=True,
    )
    for query in (
        "securityopt=" + quote('["seccomp=unconfined"]'),
        "outputs=" + quote('[{"Type":"local","Attrs":{"dest":"/tmp/dgv"}}]'),
        "version=2",
        "version=2&session=x",
        "version=02",
        "version=1&version=2",
        "session=x",
        "isolation=hyperv",
        "unknown=1",
    ):
        path = "/build?" + (query if "version" in query else "version=1&" + query)
        c.call(
            query[:30],
            "POST",
            path,
            tar(Dockerfile=b"FROM busybox\n"),
            kind="application/x-tar",
            bites=lambda *_: False,
            inert="the classic builder of Linux has no such option; BuildKit: see 108",
        )


def buildx(c, target, *arguments, dockerfile):
    """`docker buildx build` with the engine's own BuildKit behind `target`; what it says and its status."""
    folder = c.rig.work / "context"
    (folder / "config/cli-plugins").mkdir(parents=True, exist_ok=True)
    tools = rigs.CACHE / "suite-forky/usr"
    plugin = folder / "config/cli-plugins/docker-buildx"
    if not plugin.is_symlink():
        plugin.symlink_to(tools / "libexec/docker/cli-plugins/docker-buildx")
    (folder / "Dockerfile").write_text(dockerfile)
    env = {
        "PATH": "/usr/bin:/bin",
        "HOME": str(folder),
        "DOCKER_CONFIG": str(folder / "config"),
        "DOCKER_HOST": f"unix://{target.address}",
        "BUILDX_NO_DEFAULT_ATTESTATIONS": "1",
    }
    command = [tools / "bin/docker", "buildx", "build", "--no-cache", "--progress=plain", "-t", f"dgv{c.number}", *arguments, folder]
    target.last = f"docker buildx build {' '.join(arguments)}\r\n\r\n{dockerfile}".encode()
    try:
        done = subprocess.run(command, env=env, capture_output=True, timeout=300, stdin=subprocess.DEVNULL)
    except subprocess.TimeoutExpired:
        return Built(99, "no end within five minutes")
    return Built(done.returncode, (done.stdout + done.stderr).decode(errors="replace"))


class Built:
    """What a client said, as an answer: refused when it repeats dockgate's words."""

    def __init__(self, code, text):
        self.code, self.text = code, text
        self.status = 200 if code == 0 else 403
        # buildx shows the reason, or goes on to a builder of its own, which it does not get
        self.engines = not ("dockgate: " in text or "docker-container driver" in text)
        self.body = b"x"

    def json(self):
        return {} if self.engines else {"message": "dockgate: (rule of the client's own words)"}

    def header(self, _):
        return None

    def __str__(self):
        return f"status {self.code}: {self.text[-500:]}"


def kit(c, label, *arguments, dockerfile, bites, **more):
    c.probe(label, lambda target, _: buildx(c, target, *arguments, dockerfile=dockerfile), lambda a, _: bites(a), **more)


@vector(108, "BuildKit's entitlements")
def entitlements(c):
    netns = host_netns(c)
    look = "FROM busybox\nRUN --network=host readlink /proc/self/ns/net\n"
    kit(
        c, "network.host", "--allow", "network.host", dockerfile=look, bites=lambda a: netns in a.text, maybe=c.rig.engine == "20.10"
    )  # not in the Dockerfiles of its BuildKit
    kit(
        c,
        "network of the whole build",
        "--allow",
        "network.host",
        "--network",
        "host",
        dockerfile="FROM busybox\nRUN readlink /proc/self/ns/net\n",
        bites=lambda a: netns in a.text,
    )
    kit(
        c,
        "security.insecure",
        "--allow",
        "security.insecure",
        dockerfile="# syntax=docker/dockerfile:1-labs\nFROM busybox\nRUN --security=insecure true\n",
        bites=lambda a: a.code == 0,
        inert="the engine does not grant it unless it is told to",
    )


@vector(109, "frontends of a client's choice")
def frontends(c):
    """Of an image that the rules do not let the engine ask for: its registry hears of it where it bites."""
    image = f"{c.rig.canary.at}/frontend"
    for label, arguments, dockerfile in (
        ("# syntax=", (), f"# syntax={image}\nFROM busybox\n"),
        ("BUILDKIT_SYNTAX", ("--build-arg", f"BUILDKIT_SYNTAX={image}"), "FROM busybox\n"),
    ):
        c.probe(
            label,
            lambda target, _, arguments=arguments, dockerfile=dockerfile: buildx(c, target, *arguments, dockerfile=dockerfile),
            lambda _, before: c.rig.canary.hits > before,
            setup=lambda: c.rig.canary.hits,
            # what the engine's own source policy refuses it refuses in its own words
            may_pass=True,
        )


@vector(110, "mounts of RUN: bind, cache")
def run_mounts(c):
    kit(
        c,
        "cache of a common id",
        dockerfile="FROM busybox\nRUN --mount=type=cache,id=shared110,target=/c echo planted > /c/x\n",
        bites=lambda _: False,
        inert="the image store and the caches are everybody's until there are namespaces",
        may_pass=True,
    )
    kit(
        c,
        "bind of another image",
        dockerfile="FROM busybox\nRUN --mount=type=bind,from=busybox,source=/etc,target=/e cat /e/passwd\n",
        bites=lambda _: False,
        inert="the image store and the caches are everybody's until there are namespaces",
        may_pass=True,
    )
    build(
        c,
        "classic builder",
        "t=x110",
        "FROM busybox\nRUN --mount=type=bind,source=/,target=/x true\n",
        lambda out: '"stream":"Successfully built' in out,
        inert="the classic builder has no such mounts",
        may_pass=True,
    )


@vector(111, "raw LLB, a second Dockerfile in the tar")
def raw_llb(c):
    # the tunnel that a raw solve needs, whatever it holds
    tunnels(c)
    double = tar(Dockerfile=b"FROM busybox\nRUN echo first\n")[:-10240] + tar(Dockerfile=b"FROM busybox\nRUN echo second\n")
    c.call(
        "two Dockerfiles",
        "POST",
        "/build?version=1",
        double,
        kind="application/x-tar",
        bites=lambda *_: False,
        inert="nothing in a Dockerfile of the classic builder reaches beyond a container",
        may_pass=True,
    )


@vector(112, "shared caches, histories, sessions")
def shared(c):
    # sessions, histories and the content store: 223 and on
    for query in ("session=foreign112&version=2&remote=client-session", "session=foreign112&version=2"):
        c.call(f"build in it {query[-10:]}", "POST", "/build?" + query, bites=lambda a, _: a.engines, maybe=True)

    def cached():
        buildx(c, c.rig.direct, dockerfile=f"FROM busybox\nRUN echo {os.urandom(4).hex()}\n")
        return {"n": records()}

    def records():
        return len(c.rig.admin("GET", "/system/df").json()["BuildCache"] or [])

    for query in ("all=1", "all=true&keep-storage=0"):
        c.call(f"build/prune?{query}", "POST", f"/build/prune?{query}", setup=cached, bites=lambda _, s: records() < s["n"])
    c.rig.admin("POST", "/build/prune?all=1")


def linked(*entries):
    """An archive of files and, where the content is a text, symbolic links."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as t:
        for name, content in entries:
            info = tarfile.TarInfo(name)
            if isinstance(content, str):
                info.type, info.linkname = tarfile.SYMTYPE, content
                t.addfile(info)
            else:
                info.size = len(content)
                t.addfile(info, io.BytesIO(content))
    return out.getvalue()


@vector(182, "what a Dockerfile has the engine fetch")
def fetched(c):
    canary = c.rig.canary
    add = f"FROM busybox\nADD http://{canary.at}/x /x\n"
    plain = b"FROM busybox\n"

    def context(label, query, body, **more):
        c.call(
            label,
            "POST",
            "/build?version=1&nocache=1" + query,
            body,
            kind="application/x-tar",
            setup=lambda: canary.hits,
            bites=lambda _, before: canary.hits > before,
            **more,
        )

    for label, dockerfile in (
        ("FROM", f"FROM {canary.at}/x\n"),
        ("FROM $X", f"ARG X={canary.at}\nFROM ${{X:-busybox}}/x\n"),
        ("COPY --from", f"FROM busybox\nCOPY --from={canary.at}/x /x /x\n"),
        ("ADD", add),
        ("add in pieces", f"from busybox\n\n\tadd \\\n# http://github.com/\nht\\\ntp://{canary.at}/x \\ \n/x\n"),
        ("ADD of a list", f'FROM busybox\nADD ["http://{canary.at}/x", "/x"]\n'),
        ("ADD in quotes", f"FROM busybox\nADD ht\"tp\"://'{canary.host}':{canary.port}/x /x\n"),
        ("ENV", f"FROM busybox\nENV A=http://{canary.at}\nENV B=$A/x\nADD ${{B}} /x\n"),
        ("another escape", f"# escape=`\nFROM busybox\nADD http:`\n//{canary.at}/x /x\n"),
    ):
        context(label, "", tar(Dockerfile=dockerfile.encode()))
    given = "&buildargs=" + quote(json.dumps({"X": canary.at}))
    context("a build argument", given, tar(Dockerfile=b"ARG X=busybox\nFROM $X/x\n"))
    context("dockerfile", "", tar(dockerfile=add.encode()))
    context("dockerfile=", "&dockerfile=a/../sub//x", linked(("Dockerfile", plain), ("sub/x", add.encode())))
    context("gzip", "", gzip.compress(tar(Dockerfile=add.encode())))
    context("a link", "", linked(("evil", add.encode()), ("Dockerfile", "evil")))
    context("a second one", "", linked(("Dockerfile", plain), ("./Dockerfile", add.encode())))
    context("through a folder that is a link", "", linked(("Dockerfile", plain), ("d", "."), ("d/Dockerfile", add.encode())))
    context("a folder that is a link", "&dockerfile=d/x", linked(("e/x", add.encode()), ("d", "e")))
    context("behind a heredoc", "", tar(Dockerfile=f"FROM busybox\nRUN true <<USER\nADD http://{canary.at}/x /x\nUSER root\n".encode()), maybe=True)
