"""What the proof stands on: an engine in a network of its own, the world outside of it, and dockgate between them.

In the engine's network namespace: `outside.py` at its own address, dockgate's cache at the bridge's, on the ports 80 and 443.
dockgate resolves names by a resolv.conf of its own, where the origins that `outside.py` plays are found; the engine's containers
ask the same server.
"""

import contextlib
import fcntl
import hashlib
import io
import ipaddress
import json
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile

import images

REPO = pathlib.Path(__file__).resolve().parents[2]
E2E = REPO / "tests/e2e"
HERE = pathlib.Path(__file__).resolve().parent
DOCKGATE = os.environ.get("DOCKGATE") or str(REPO / "target/release/dockgate")
FORKY = images.CACHE.parent / "suite-forky"
FIRST = int(os.environ.get("TRANSPARENT_INDEX") or 160)
# its namespace, its programs, its command line
ENGINES = {"20.10": (FIRST, "-", "/usr/bin/docker"), "28": (FIRST + 1, str(FORKY / "bin"), str(FORKY / "usr/bin/docker"))}
# what only something that never comes takes
PATIENCE = 300
BUNDLE = "/etc/ssl/certs/ca-certificates.crt"
ORIGIN_CA = "/srv/origin.pem"


class Wrong(Exception):
    pass


def missing(engine):
    """Why there is no such engine here."""
    _, folder, cli = ENGINES[engine]
    for program in ([] if folder == "-" else [f"{folder}/dockerd"]) + [cli]:
        if not os.access(program, os.X_OK):
            return f"no {program}; tests/e2e/setup.sh installs it"
    return None


def until(good, what, seconds=PATIENCE):
    """Until it is so; what never comes is said with what was there last."""
    end = time.monotonic() + seconds
    while wrong := good():
        if time.monotonic() > end:
            raise Wrong(f"{what}: {wrong}")
        time.sleep(0.05)


def expect(found, wanted, what):
    if found != wanted:
        raise Wrong(f"{what}: {found!r}, expected {wanted!r}")


def run(*words, seconds=PATIENCE, **options):
    """Its status and all that it says."""
    try:
        done = subprocess.run([str(word) for word in words], stdin=options.pop("stdin", subprocess.DEVNULL), stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, errors="replace", check=False, timeout=seconds, **options)
    except subprocess.TimeoutExpired as late:
        return 124, f"{(late.stdout or b'')[-1000:]!r}: nothing more came for {seconds} s"
    return done.returncode, done.stdout


def good(*words, **options):
    """What it says; it must be well."""
    status, said = run(*words, **options)
    if status:
        raise Wrong(f"{' '.join(str(word) for word in words)[-300:]}: status {status}\n{said[-1500:]}")
    return said


def toml(value):
    return json.dumps(value)


class Rig:
    """`hosts`: those that `outside.py` plays; `real`: those that are reached through this machine's own resolver."""

    def __init__(self, engine, hosts, real, foreign, lifetime="48h"):
        self.engine = engine
        self.index, self.bin, self.cli = ENGINES[engine]
        images.CACHE.mkdir(parents=True, exist_ok=True)
        # one run of an engine at a time, for the names are fixed
        self.lock = open(images.CACHE / f"engine-{self.index}.lock", "a")
        fcntl.flock(self.lock, fcntl.LOCK_EX)
        self.hosts, self.real, self.foreign, self.lifetime = list(hosts), list(real), foreign, lifetime
        self.work = pathlib.Path(tempfile.mkdtemp(prefix="dgt.", dir="/tmp"))
        self.name, self.dir = f"dgt{self.index}", self.work / "e"
        self.address, self.bridge = f"10.66.{self.index}.2", None
        self.gateway, self.outside = None, None
        self.log, self.access = self.work / "dockgate.log", self.work / "access.log"

    # ---- what is started and ended ----

    def up(self):
        self.dir.mkdir()
        (self.dir / "daemon.json").write_text(json.dumps({"dns": [self.address], "shutdown-timeout": 1}))
        self.engine_sh("up", self.bin)
        network = json.loads(self.direct("network", "inspect", "bridge"))[0]
        self.bridge = network["IPAM"]["Config"][0].get("Gateway") or "172.17.0.1"
        self.begin_outside()
        (self.work / "dockgate.toml").write_text(self.config())
        good(DOCKGATE, "check", "-c", self.work / "dockgate.toml")
        self.serve()

    def begin_outside(self):
        folder = self.work / "outside"
        folder.mkdir()
        authority(folder, "origin", self.hosts + [self.foreign])
        authority(folder, "other", ["nobody.test"])
        about = {"hosts": [*self.hosts, self.foreign], "walks": self.real, "resolver": nameserver(), "fixed": FIXED}
        (folder / "outside.json").write_text(json.dumps(about))
        repository(folder)
        with open(folder / "output", "ab") as output:
            words = [*self.inside(), sys.executable, HERE / "outside.py", folder, self.address]
            self.outside = subprocess.Popen([str(word) for word in words], stdin=subprocess.DEVNULL, stdout=output, stderr=output)

        def ready():
            if self.outside.poll() is not None:
                raise Wrong(f"outside.py has ended: {(folder / 'output').read_text()[-1500:]}")
            return "" if any(line["event"] == "ready" for line in self.told()) else "it is not there yet"

        until(ready, "outside.py")
        (self.work / "resolv.conf").write_text(f"nameserver {self.address}\noptions timeout:20 attempts:2\n")

    def inside(self):
        """In the engine's network; it ends when we do, however we end."""
        return ["setpriv", "--pdeathsig", "KILL", "nsenter", f"--net=/run/netns/{self.name}"]

    def config(self):
        # the special networks that this machine's resolver points into, and the origin's own
        found = {ipaddress.ip_address(one[4][0]) for host in self.real for one in socket.getaddrinfo(host, 443)}
        private = [self.address, *(str(one) for one in sorted(found, key=str) if not one.is_global)]
        domains = toml(sorted(self.hosts + self.real))
        return f"""
state_dir = "{self.work}/state"
drain_timeout = "2s"
[engine]
url = "unix://{self.dir}/docker.sock"
[admin]
listen = ["unix://{self.work}/admin.sock"]
[ca]
lifetime = "{self.lifetime}"
[[listener]]
name = "plain"
url = "unix://{self.work}/plain.sock"
policies = ["packages"]
[[listener]]
name = "ci"
url = "unix://{self.work}/ci.sock"
policies = ["conservative", "packages", "own"]
[policy.own]
kind = "namespace"
name = "{{listener}}"
network_pool = "10.216.0.0/16"
shared = ["docker.io/library/debian"]
[policy.packages]
kind = "transparent-cache"
cache = "packages"
domains = {domains}
[cache.packages]
listen = ["http://{self.bridge}:80", "https://{self.bridge}:443"]
intercept = "on"
domains = {domains}
dir = "{self.work}/store"
size = "4GB"
ecosystems = ["deb", "pypi", "npm", "cargo"]
upstream_ca = "{self.work}/outside/origin-ca.pem"
allow_private = {toml(private)}
"""

    def serve(self):
        script = 'mount --bind "$1" /etc/resolv.conf && shift && exec "$@"'
        words = [*self.inside(), "unshare", "--mount", "--propagation", "slave", "sh", "-c", script, "sh", self.work / "resolv.conf",
                 DOCKGATE, "serve", "-c", self.work / "dockgate.toml"]
        with open(self.log, "ab") as log, open(self.access, "ab") as access:
            self.gateway = subprocess.Popen([str(word) for word in words], stdin=subprocess.DEVNULL, stdout=access, stderr=log,
                                            start_new_session=True)

        def answers():
            if self.gateway.poll() is not None:
                raise Wrong(f"dockgate has ended with status {self.gateway.returncode}: {self.tail()}")
            for listener in ("plain", "ci"):
                status, said = run(self.cli, "-H", f"unix://{self.work}/{listener}.sock", "version", seconds=60)
                if status:
                    return said
            return ""

        until(answers, "dockgate answers")

    def end_gateway(self):
        self.gateway.terminate()
        try:
            self.gateway.wait(60)
        except subprocess.TimeoutExpired:
            self.gateway.kill()
            self.gateway.wait()

    def tail(self):
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-15:]) if self.log.exists() else ""

    def engine_sh(self, action, *more):
        status, said = run(E2E / "engine.sh", action, self.name, self.dir, self.index, *more,
                           env=os.environ | {"ENGINE_MEMORY": "1", "ENGINE_NAT": "1"})
        if status:
            raise Wrong(f"engine.sh {action}: {said}")

    def down(self):
        for one in (self.gateway, self.outside):
            if one and one.poll() is None:
                one.kill()
                one.wait()
        with contextlib.suppress(Wrong):
            self.engine_sh("down")
        if os.environ.get("TRANSPARENT_KEEP"):
            print(f"kept: {self.work}", flush=True)
        else:
            shutil.rmtree(self.work, ignore_errors=True)

    # ---- what clients do ----

    def client(self, socket_path, *words):
        environment = {name: value for name, value in os.environ.items() if not name.startswith("DOCKER_")}
        environment |= {"DOCKER_CONFIG": str(self.work / "config"), "DOCKER_BUILDKIT": "0"}
        return [self.cli, "-H", f"unix://{socket_path}", *words], environment

    def direct(self, *words, **options):
        """At the engine itself, where nobody looks."""
        words, environment = self.client(self.dir / "docker.sock", *words)
        return good(*words, env=environment, **options)

    def docker(self, *words, listener="plain", **options):
        words, environment = self.client(self.work / f"{listener}.sock", *words)
        return good(*words, env=environment, **options)

    def tries(self, *words, listener="plain", **options):
        """Status, and what it says."""
        words, environment = self.client(self.work / f"{listener}.sock", *words)
        return run(*words, env=environment, **options)

    def import_image(self, tar, name, *changes):
        more = [word for change in changes for word in ("-c", change)]
        self.direct("import", *more, tar, name)

    def image_with(self, base, name, lines=(), files=()):
        """A further layer: an image with an id of its own."""
        folder = pathlib.Path(tempfile.mkdtemp(dir=self.work))
        for target, content in files:
            (folder / pathlib.Path(target).name).write_bytes(content)
        text = [f"FROM {base}", *(f"COPY {pathlib.Path(target).name} {target}" for target, _ in files), *lines,
                f'LABEL proof="{name}"']
        (folder / "Dockerfile").write_text("\n".join(text) + "\n")
        self.direct("build", "-q", "-t", name, folder)

    def origin_ca(self):
        return (self.work / "outside/origin-ca.pem").read_bytes()

    # ---- what is seen ----

    def told(self):
        lines = (self.work / "outside/outside.log")
        return [json.loads(line) for line in lines.read_text().splitlines() if line] if lines.exists() else []

    def requests(self, host, path=None):
        """What the origin was asked for a host."""
        return [line for line in self.told() if line["event"] == "request" and line["host"] == host and path in (None, line["path"])]

    def connections(self):
        return sum(line["event"] == "connection" for line in self.told())

    def statistics(self):
        """The sums of all domains."""
        said = good(DOCKGATE, "cache", "stats", "--json", "-c", self.work / "dockgate.toml")
        return json.loads(said)["caches"][0]["total"]

    def purge(self):
        good(DOCKGATE, "cache", "purge", "--all", "-c", self.work / "dockgate.toml")

    def tree(self, container, listener=None):
        """All that a container shows itself to be made of when it is exported."""
        target = self.work / "export.tar"
        with contextlib.suppress(FileNotFoundError):
            target.unlink()
        words = ("export", "-o", target, container)
        self.docker(*words, listener=listener) if listener else self.direct(*words)
        return tree_of(target)


def tree_of(tar):
    found = {}
    with tarfile.open(tar) as archive:
        for one in archive:
            name = "/" + one.name.removeprefix("./").strip("/")
            body = hashlib.sha256(archive.extractfile(one).read()).hexdigest() if one.isreg() else None
            found[name] = (one.type.decode(), oct(one.mode), one.uid, one.gid, one.linkname, body)
    return found


def differences(one, other):
    """Names of what is not the same in two trees; folders' own names do not count."""
    return sorted(name for name in one.keys() | other.keys() if one.get(name) != other.get(name))


def authority(folder, name, hosts):
    """NAME-ca.pem, and what it has signed for the hosts: cert.pem and key.pem of the first one."""
    def openssl(*words):
        good("openssl", *words)

    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    at = lambda rest: folder / f"{name}-{rest}"  # noqa: E731
    openssl("req", "-x509", *key, "-keyout", at("ca-key.pem"), "-out", at("ca.pem"), "-days", "3", "-subj", f"/CN=tests of dockgate, {name}",
            "-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign,cRLSign")
    if name != "origin":
        return
    openssl("req", *key, "-keyout", folder / "key.pem", "-out", at("request.pem"), "-subj", "/CN=tests of dockgate, a leaf")
    at("extensions").write_text(f"subjectAltName={','.join(f'DNS:{host}' for host in hosts)}\nbasicConstraints=critical,CA:FALSE\n"
                                "keyUsage=critical,digitalSignature\nextendedKeyUsage=serverAuth\n"
                                "authorityKeyIdentifier=keyid\nsubjectKeyIdentifier=hash\n")
    openssl("x509", "-req", "-in", at("request.pem"), "-CA", at("ca.pem"), "-CAkey", at("ca-key.pem"), "-CAcreateserial", "-days", "3",
            "-extfile", at("extensions"), "-out", folder / "cert.pem")


def repository(folder):
    """A git repository with one commit."""
    work = folder / "repo"
    identity = ["-c", "user.name=tests", "-c", "user.email=tests@example.com", "-c", "init.defaultBranch=main"]
    good("git", *identity, "init", "-q", work)
    (work / "file").write_text("kept in git\n")
    good("git", "-C", work, "add", "file")
    good("git", "-C", work, *identity, "commit", "-q", "-m", "one")
    good("git", *identity, "clone", "-q", "--bare", work, folder / "repo.git")


def nameserver():
    for line in pathlib.Path("/etc/resolv.conf").read_text().splitlines():
        words = line.split()
        if words[:1] == ["nameserver"] and "." in words[1]:
            return words[1]
    raise Wrong("no nameserver in resolv.conf of this machine")


def zipped(name, content):
    """The same bytes each time."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr(zipfile.ZipInfo(name), content)
    return made.getvalue().decode("latin-1")


# what a Go module proxy has of one module
MODULE = "/example.com/m/@v/"
FIXED = {
    f"{MODULE}list": "v1.0.0\n",
    f"{MODULE}v1.0.0.info": '{"Version":"v1.0.0","Time":"2026-01-01T00:00:00Z"}',
    f"{MODULE}v1.0.0.mod": "module example.com/m\n",
    f"{MODULE}v1.0.0.zip": zipped("example.com/m@v1.0.0/go.mod", "module example.com/m\n"),
}
