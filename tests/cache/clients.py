#!/usr/bin/env python3
"""apt, pip, npm and cargo through dockgate, twice, with this machine's own configured registries.

clients.py [apt|pip|npm|cargo]...

A client runs in a mount namespace of its own, whose resolver knows nobody. By name: its /etc/hosts says that the registry's
hosts are a loopback address where dockgate listens, it trusts an authority of ours, and the rules are the built-in ones with
`ecosystems`. By path: it knows no name at all and trusts nobody else than before, its registry is one of dockgate's own paths.
dockgate itself resolves as this machine does. The second time the client has forgotten everything, and no origin may send
an artifact again. Which registries: asked of the clients.
"""

import argparse
import ipaddress
import json
import os
import pathlib
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import tomllib
import traceback
import urllib.parse
import urllib.request

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

from lib import subjects  # noqa: E402

BUNDLES = ("CURL_CA_BUNDLE", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "PIP_CERT", "CARGO_HTTP_CAINFO", "NODE_EXTRA_CA_CERTS",
           "npm_config_cafile")


class Unreachable(Exception):
    """This machine cannot do that without dockgate either."""


def main():
    parser = argparse.ArgumentParser(prog="clients.py")
    parser.add_argument("client", nargs="*", choices=[[], *CLIENTS], default=[])
    args = parser.parse_args()
    failed = 0
    for name, how in ((name, how) for name in args.client or CLIENTS for how in ("by name", "by path")):
        with tempfile.TemporaryDirectory(prefix=f"dockgate-{name}.") as folder:
            os.chmod(folder, 0o755)
            try:
                print(f"ok {name} {how}: {twice(CLIENTS[name], how, pathlib.Path(folder))}", flush=True)
            except (Unreachable, subjects.Missing) as why:
                print(f"SKIPPED {name} {how}: {why}", flush=True)
            except Failed as why:
                failed += 1
                print(f"FAIL {name} {how}: {why}", flush=True)
            except Exception:
                failed += 1
                print(f"FAIL {name} {how}: {traceback.format_exc()}", flush=True)
    return 1 if failed else 0


class Failed(Exception):
    pass


def twice(client, how, folder):
    client = client(folder)
    client.look()
    with gate(folder, client, how) as subject:
        names = client.hosts
        if how == "by path":
            client.lead(f"http://{subject.address}")
            names = ()
        namespace = Namespace(folder, subject, names)
        rounds = []
        for number in (1, 2):
            before = subject.statistics()
            got = client.run(folder / f"round{number}", namespace)
            after = subject.statistics()
            rounds.append((got, *(after[name] - before[name] for name in ("bytes_fetched", "bytes_saved"))))
        (first, cold, _), (second, warm, saved) = rounds
        if not first or first != second:
            raise Failed(f"the artifacts differ: {first} and {second}")
        size = sum(length for _, length in first.values())
        if cold < size:
            raise Failed(f"the first time the origins sent {cold} bytes, though the artifacts have {size}: not through dockgate?")
        # indexes may come again where an origin gives them no validator; they are as long as they were
        if warm > cold - size or saved < size:
            raise Failed(f"the origins sent {cold} bytes, then {warm} ({saved} saved); the artifacts have {size}")
        return f"{len(first)} artifacts of {size} bytes; the origins sent {cold} bytes, then {warm}"


def gate(folder, client, how):
    """dockgate for a client's hosts, at a loopback address of its own, on the ports that clients expect."""
    address, hosts = free_address(), client.hosts
    subjects.certificate(folder, hosts)
    # only this machine's own special networks are allowed, and only where its resolver points into them
    private = {ipaddress.ip_address(found[4][0]) for host in hosts for found in socket.getaddrinfo(host, 443)}
    allowed = json.dumps([str(one) + ("/128" if one.version == 6 else "/32") for one in sorted(private, key=str) if not one.is_global])
    (folder / "store").mkdir()
    # by path nobody else can be asked
    hosts = f"domains = {json.dumps(sorted(hosts))}" if how == "by name" else f"mirror = {{ {client.mirror()} }}"
    text = f"""
[admin]
listen = ["unix://{folder}/admin.sock"]
[cache.clients]
listen = ["http://{address}:80", "https://{address}:443"]
dir = "{folder}/store"
size = "4GB"
{hosts}
ecosystems = ["deb", "pypi", "npm", "cargo"]
tls = {{ cert = "{folder}/cert.pem", key = "{folder}/key.pem" }}
allow_private = {allowed}
"""
    return subjects.start("dockgate", folder, 0, toml=text, address=address, ports=(80, 443))


def free_address():
    for last in range(1, 255):
        address = f"127.66.{os.getpid() % 250 + 1}.{last}"
        try:
            for port in (80, 443):
                with socket.socket() as probe:
                    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    probe.bind((address, port))
            return address
        except OSError:
            continue
    raise Unreachable("no loopback address has its ports 80 and 443 free")


class Namespace:
    """Where a client finds only dockgate: under the registry's names, or, where there are none, by its address."""

    def __init__(self, folder, subject, names):
        self.hosts, self.resolver = folder / "hosts", folder / "resolv.conf"
        self.hosts.write_text("127.0.0.1 localhost\n" + "".join(f"{subject.address} {name}\n" for name in names))
        self.resolver.write_text("nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")
        self.environment = {name: value for name, value in os.environ.items() if not re.search("(?i)proxy|^pip_|^npm_", name)}
        if names:
            self.environment |= dict.fromkeys(BUNDLES, str(folder / "ca.pem"))

    def run(self, *words, **options):
        script = 'mount --bind "$1" /etc/hosts && mount --bind "$2" /etc/resolv.conf && shift 2 && exec "$@"'
        return command("unshare", "-m", "sh", "-c", script, "sh", self.hosts, self.resolver, *words,
                       env=self.environment | options.pop("more", {}), **options)


def command(*words, error=Failed, **options):
    options = {"timeout": 180, "stdin": subprocess.DEVNULL} | options
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, check=False, **options)
    if done.returncode:
        raise error(f"{' '.join(map(str, words[-4:]))}: status {done.returncode}\n{(done.stdout + done.stderr)[-1500:]}")
    return done.stdout


def artifacts(folder, pattern):
    import hashlib

    return {path.name: (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_size)
            for path in sorted(folder.rglob(pattern)) if path.is_file()}


def site(url):
    """Scheme and host."""
    return "{0.scheme}://{0.netloc}".format(urllib.parse.urlsplit(url))


def host_of(url):
    return urllib.parse.urlsplit(url).hostname


def read(url):
    try:
        with urllib.request.urlopen(url, timeout=30) as answer:
            return answer.geturl(), answer.read().decode("utf-8", "replace")
    except OSError as why:
        raise Unreachable(f"{host_of(url)} does not answer: {why}") from why


class Client:
    program = None

    def __init__(self, folder):
        self.folder, self.hosts = folder, set()
        if not shutil.which(self.program):
            raise Unreachable(f"no {self.program} on this machine")


class Apt(Client):
    program, package = "apt-get", "tzdata"

    def look(self):
        targets = command("apt-get", "indextargets", "--format", "$(REPO_URI) $(SUITE) $(COMPONENT) $(SIGNED_BY)",
                          "Created-By: Packages", error=Unreachable)
        lines = [line.split(None, 3) for line in targets.splitlines() if line.startswith("http://")]
        if not lines:
            raise Unreachable("no source of apt over http")
        uri, suite, component, *key = lines[0]
        self.hosts = {host_of(uri)}
        option = f"[signed-by={key[0].strip()}] " if key and key[0].startswith("/") else ""
        self.uri, self.source = uri, lambda uri: f"deb {option}{uri} {suite} {component}\n"

    def mirror(self):
        return f"deb = {json.dumps([site(self.uri)])}"

    def lead(self, base):
        self.uri = f"{base}/deb/{self.uri.split('://')[1]}"

    def run(self, folder, namespace):
        for name in ("state/lists/partial", "cache/archives/partial", "out"):
            (folder / name).mkdir(parents=True)
        (folder / "sources.list").write_text(self.source(self.uri))
        options = [f"Dir::State={folder}/state", "Dir::State::status=/var/lib/dpkg/status", f"Dir::Cache={folder}/cache",
                   f"Dir::Etc::sourcelist={folder}/sources.list", "Dir::Etc::sourceparts=/dev/null", "APT::Sandbox::User=root",
                   "Acquire::Languages=none", "Acquire::Retries=0", "Acquire::http::Proxy=DIRECT"]
        options = [word for option in options for word in ("-o", option)]
        namespace.run("apt-get", *options, "-q", "update", "--error-on=any")
        namespace.run("apt-get", *options, "-q", "download", self.package, cwd=folder / "out")
        return artifacts(folder / "out", "*.deb")


class Pip(Client):
    program, package = "python3", "idna==3.10"

    def look(self):
        asked = subprocess.run(["python3", "-m", "pip", "config", "get", "global.index-url"], capture_output=True, text=True, check=False)
        self.index = asked.stdout.strip() or command(
            "python3", "-c", "from pip._internal.models.index import PyPI; print(PyPI.simple_url)", error=Unreachable).strip()
        url, page = read(f"{self.index.rstrip('/')}/{self.package.split('=')[0]}/")
        links = re.findall(r'href="([^"#]+)', page)
        self.links = {urllib.parse.urljoin(url, link) for link in links}
        self.hosts = {host_of(self.index)} | {host_of(link) for link in self.links}

    def mirror(self):
        return f"pypi = {json.dumps([self.index, *sorted({site(link) for link in self.links})])}"

    def lead(self, base):
        self.index = f"{base}/pypi/simple/"

    def run(self, folder, namespace):
        folder.mkdir()
        namespace.run("python3", "-m", "pip", "--isolated", "--no-cache-dir", "download", "-q", "--no-deps", "-i", self.index,
                      "-d", folder, self.package)
        return artifacts(folder, "*.whl")


class Npm(Client):
    program, package = "npm", "semver@7.6.3"

    def look(self):
        self.registry = command("npm", "config", "get", "registry", error=Unreachable).strip()
        tarball = command("npm", "view", self.package, "dist.tarball", error=Unreachable).strip()
        self.hosts = {host_of(self.registry), host_of(tarball)}
        self.sites = [self.registry, site(tarball)]

    def mirror(self):
        return f"npm = {json.dumps(self.sites)}"

    def lead(self, base):
        self.registry = f"{base}/npm/"

    def run(self, folder, namespace):
        folder.mkdir()
        namespace.run("npm", "pack", "--registry", self.registry, "--cache", folder / "npm", self.package, cwd=folder,
                      more={"HOME": str(folder)})
        return artifacts(folder, "*.tgz")


class Cargo(Client):
    program, package = "cargo", ("itoa", "=1.0.15")
    settings = None

    def look(self):
        """Where cargo goes by itself: it leaves the name of the index and its configuration in its home."""
        self.fetch(self.folder / "look", lambda *words, **options: command(*words, error=Unreachable, **options), os.environ)
        for config in (self.folder / "look/home/registry/index").glob("*/config.json"):
            dl = json.loads(config.read_text())["dl"]
            self.hosts |= {config.parent.name.rpartition("-")[0], host_of(dl)}
            self.sites = [self.index(), site(dl)]
        if not self.hosts:
            raise Unreachable("cargo left no index in its home")

    @staticmethod
    def home():
        return pathlib.Path(os.environ.get("CARGO_HOME") or pathlib.Path.home() / ".cargo", "config.toml")

    def index(self):
        """What stands in the place of crates.io."""
        sources = tomllib.loads(self.home().read_text()).get("source", {}) if self.home().exists() else {}
        source = sources.get("crates-io", {})
        while "replace-with" in source:
            source = sources.get(source["replace-with"], {})
        return source.get("registry", "sparse+https://index.crates.io/").removeprefix("sparse+")

    def mirror(self):
        return f"crates = {json.dumps(self.sites)}"

    def lead(self, base):
        self.settings = ('[source.crates-io]\nreplace-with = "dockgate"\n'
                         f'[source.dockgate]\nregistry = "sparse+{base}/crates/"\n')

    def fetch(self, folder, run, environment):
        (folder / "src").mkdir(parents=True)
        (folder / "src/lib.rs").touch()
        name, version = self.package
        (folder / "Cargo.toml").write_text(
            f'[package]\nname = "probe"\nversion = "0.0.0"\nedition = "2021"\n[dependencies]\n{name} = "{version}"\n[workspace]\n')
        home = folder / "home"
        home.mkdir()
        if self.settings:
            (home / "config.toml").write_text(self.settings)
        elif self.home().exists():
            shutil.copy(self.home(), home)
        more = {"CARGO_HOME": str(home), "RUSTUP_HOME": os.environ.get("RUSTUP_HOME") or str(pathlib.Path.home() / ".rustup")}
        if environment is os.environ:
            run("cargo", "fetch", "-q", cwd=folder, env=os.environ | more)
        else:
            run("cargo", "fetch", "-q", cwd=folder, more=more)

    def run(self, folder, namespace):
        self.fetch(folder, namespace.run, namespace.environment)
        return artifacts(folder / "home/registry/cache", "*.crate")


CLIENTS = {"apt": Apt, "pip": Pip, "npm": Npm, "cargo": Cargo}

if __name__ == "__main__":
    sys.exit(main())
