"""Registries, token services, a dockgate before them, and a client that speaks the distribution API.

    with Rig(folder) as rig:
        upstream = rig.registry()                     # Debian's docker-registry
        gate = rig.gate({"/": upstream.url})          # [registry.main] in front of it
        gate.ask("GET", "/v2/a/b/tags/list")
"""

import base64
import hashlib
import http.client
import json
import os
import pathlib
import socket
import ssl
import subprocess
import sys
import threading
import time
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))

from ports import free_port  # noqa: E402

DOCKGATE = os.environ.get("DOCKGATE") or str(
    pathlib.Path(__file__).resolve().parents[2] / "target/release/dockgate"
)
# what only a hang reaches, in seconds
PATIENCE = 120
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"


class Wrong(Exception):
    pass


def expect(found, wanted, what):
    if found != wanted:
        raise Wrong(f"{what}: {found!r}, expected {wanted!r}")


def digest_of(body):
    return "sha256:" + hashlib.sha256(body).hexdigest()


def until(what, found):
    """Waits for something that will be so."""
    deadline = time.monotonic() + PATIENCE
    while not (value := found()):
        if time.monotonic() > deadline:
            raise Wrong(f"{what} is not so after {PATIENCE} s")
        time.sleep(0.02)
    return value


def toml(value):
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {toml(inner)}" for key, inner in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(toml(inner) for inner in value) + "]"
    return json.dumps(value)


class Answer:
    def __init__(self, response, body):
        self.status, self.body = response.status, body
        self.fields = {name.lower(): value for name, value in response.getheaders()}

    def json(self):
        return json.loads(self.body)

    def code(self):
        """The first error's."""
        return self.json()["errors"][0]["code"]


class Server:
    """Something with a port of 127.0.0.1."""

    scheme, context = "http", None

    def trust(self, folder):
        """It speaks TLS, with what `dockgate certs` has made there."""
        if folder:
            self.scheme, self.context = "https", ssl.create_default_context(cafile=f"{folder}/ca.pem")

    @property
    def host(self):
        return f"127.0.0.1:{self.port}"

    @property
    def url(self):
        return f"{self.scheme}://{self.host}"

    def ask(self, method, target, body=None, fields=(), login=None):
        kind = http.client.HTTPSConnection if self.context else http.client.HTTPConnection
        options = {"context": self.context} if self.context else {}
        connection = kind("127.0.0.1", self.port, timeout=PATIENCE, **options)
        try:
            connection.putrequest(method, target, skip_accept_encoding=True)
            for name, value in dict(fields).items() if isinstance(fields, dict) else fields:
                connection.putheader(name, value)
            if login:
                token = base64.b64encode(":".join(login).encode()).decode()
                connection.putheader("Authorization", f"Basic {token}")
            if body is not None or method in ("POST", "PUT", "PATCH"):
                connection.putheader("Content-Length", str(len(body or b"")))
            connection.endheaders(body)
            response = connection.getresponse()
            return Answer(response, response.read())
        finally:
            connection.close()

    # the distribution API, as clients speak it

    def upload(self, name, body, **who):
        """A blob in one PUT; its digest."""
        digest = digest_of(body)
        begun = self.ask("POST", f"/v2/{name}/blobs/uploads/", **who)
        expect(begun.status, 202, "the upload is begun")
        location = begun.fields["location"]
        parts = urllib.parse.urlsplit(location)
        target = parts.path + ("?" + parts.query if parts.query else "")
        joint = "&" if parts.query else "?"
        kind = {"Content-Type": "application/octet-stream"}
        ended = self.ask("PUT", f"{target}{joint}digest={digest}", body, kind, **who)
        expect(ended.status, 201, "the upload is ended")
        return digest

    def push(self, name, tag, layers=(b"layer",), config=None, kind=MANIFEST, **who):
        """A made image; the manifest's bytes."""
        config = config if config is not None else json.dumps({"architecture": "amd64", "os": "linux"}).encode()
        described = [
            {"mediaType": LAYER, "digest": self.upload(name, layer, **who), "size": len(layer)} for layer in layers
        ]
        manifest = json.dumps({
            "schemaVersion": 2,
            "mediaType": kind,
            "config": {"mediaType": CONFIG, "digest": self.upload(name, config, **who), "size": len(config)},
            "layers": described,
        }).encode()
        put = self.ask("PUT", f"/v2/{name}/manifests/{tag}", manifest, {"Content-Type": kind}, **who)
        expect(put.status, 201, f"the manifest is taken ({put.body[:300]!r})")
        return manifest

    def pull(self, name, tag, **who):
        """The manifest, and whether all that it names is what it should be."""
        got = self.ask("GET", f"/v2/{name}/manifests/{tag}", fields={"Accept": f"{MANIFEST}, {INDEX}"}, **who)
        expect(got.status, 200, f"the manifest is there ({got.body[:300]!r})")
        expect(got.fields["docker-content-digest"], digest_of(got.body), "the manifest's digest")
        manifest = got.json()
        for one in [manifest["config"], *manifest["layers"]]:
            blob = self.ask("GET", f"/v2/{name}/blobs/{one['digest']}", **who)
            expect((blob.status, digest_of(blob.body)), (200, one["digest"]), "a blob")
        return got.body


class Registry(Server):
    """Debian's docker-registry, and what it was asked."""

    def __init__(self, folder, **options):
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.port, self.options = folder, free_port(), options
        self.login = options.pop("login", None)
        self.within, self.tls = options.pop("within", []), options.pop("tls", None)
        self.trust(self.tls)
        self.log = folder / "log"
        self.process = None
        self.start()

    def start(self):
        if self.log.exists():
            self.log.rename(self.log.with_suffix(f".{len(list(self.folder.glob('log*')))}"))
        config = {
            "version": "0.1",
            "log": {"level": "info", "formatter": "json"},
            "storage": {"filesystem": {"rootdirectory": str(self.folder / "data")}, "delete": {"enabled": True}},
            "http": {"addr": self.host},
        }
        if self.login:
            lines = subprocess.run(["htpasswd", "-Bbn", *self.login], capture_output=True, check=True).stdout
            (self.folder / "htpasswd").write_bytes(lines)
            config["auth"] = {"htpasswd": {"realm": "upstream", "path": str(self.folder / "htpasswd")}}
        if self.tls:
            config["http"]["tls"] = {"certificate": f"{self.tls}/server-cert.pem", "key": f"{self.tls}/server-key.pem"}
        for key, value in self.options.items():
            config[key] = {**config.get(key, {}), **value}
        (self.folder / "config.json").write_text(json.dumps(config))
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*self.within, "docker-registry", "serve", self.folder / "config.json"], stdout=log, stderr=log
            )
        until("the registry listens", self.is_up)

    def is_up(self):
        if self.process.poll() is not None:
            raise Wrong(f"docker-registry ended: {self.log.read_text()[-500:]}")
        return "listening on" in self.log.read_text()

    def asked(self, *words):
        """Requests so far whose line has all of these words."""
        logs = sorted(self.folder.glob("log*"))
        lines = [line for log in logs for line in log.read_text().splitlines()]
        lines = [line for line in lines if '"http.request.method"' in line and '"response completed' in line]
        return [line for line in lines if all(word in line for word in words)]

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()


class Gate(Server):
    """A dockgate that is one registry."""

    def __init__(self, folder, upstreams, **options):
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.port = folder, free_port()
        extra, self.within = options.pop("extra", ""), options.pop("within", [])
        tls = options.pop("certs", None)
        self.trust(tls)
        if tls:
            options |= {"tls": {"cert": f"{tls}/server-cert.pem", "key": f"{tls}/server-key.pem"}}
        lines = [
            "[registry.main]",
            f'listen = "{self.url}"',
            f'dir = "{folder / "cache"}"',
            'allow_private = ["127.0.0.1"]',
            *(f"{key} = {toml(value)}" for key, value in options.items()),
        ]
        for name, upstream in upstreams.items():
            upstream = {"url": upstream} if isinstance(upstream, str) else upstream
            lines.append(f'[registry.main.upstream."{name}"]')
            for key, value in upstream.items():
                lines.append(f"{key} = {toml(value)}")
        self.admin = folder / "admin.sock"
        lines.append(extra or '[[registry.main.rule]]\nrepositories = ["**"]')
        lines.append(f'[admin]\nlisten = ["unix://{self.admin}"]')
        (folder / "dockgate.toml").write_text("\n".join(lines) + "\n")
        self.log, self.process = folder / "log", None
        self.start()

    def start(self):
        checked = subprocess.run(
            [DOCKGATE, "check", "-c", self.folder / "dockgate.toml"], capture_output=True, text=True, check=False
        )
        expect((checked.returncode, checked.stdout + checked.stderr), (0, ""), "the configuration is valid")
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*self.within, DOCKGATE, "serve", "-c", self.folder / "dockgate.toml"], stdout=log, stderr=log
            )
        until("dockgate listens", lambda: "registry=main" in self.text() or self.process.poll() is not None)
        if self.process.poll() is not None:
            raise Wrong(f"dockgate ended: {self.text()[-800:]}")

    def text(self):
        return self.log.read_text()

    def kill(self):
        """SIGKILL, and a new one in its place."""
        self.process.kill()
        self.process.wait()
        self.log.write_text("")

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self.process.kill()

    def stores(self, name, manifest, *more):
        """Whether all of an image is on the disk."""
        listed = self.command("ls", "--json").stdout
        parts = [f"{name}/{part}" for part in more]
        if manifest:
            parts.append(f"{name}/manifests/{digest_of(manifest)}")
            for one in [json.loads(manifest)["config"], *json.loads(manifest)["layers"]]:
                # that the repository has it, and the one copy of it
                parts += [f"{place}/blobs/{one['digest']}" for place in (name, "_")]
        return all(f"/v2/{part}" in listed for part in parts)

    def command(self, *words):
        return subprocess.run(
            [DOCKGATE, "cache", *words, "--socket", f"unix://{self.admin}"],
            capture_output=True, text=True, check=False,
        )

    def metrics(self):
        with socket.socket(socket.AF_UNIX) as one:
            one.connect(str(self.admin))
            one.sendall(b"GET /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            text = b""
            while piece := one.recv(65536):
                text += piece
        return text.decode()


class Handmade(Server):
    """A server that a case writes: `answer(handler)`; every request is in `asked`."""

    def __init__(self, answer, context=None):
        self.asked, outer = [], self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self):
                outer.asked.append((self.command, self.path, dict(self.headers)))
                answer(self)

            do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = handle_any

            def say(self, status, body=b"", fields=()):
                self.send_response(status)
                for name, value in dict(fields).items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()


class Rig:
    def __init__(self, folder):
        self.folder, self.all, self.count = pathlib.Path(folder), [], 0

    def place(self, name):
        self.count += 1
        return self.folder / f"{name}{self.count}"

    def registry(self, **options):
        self.all.append(Registry(self.place("upstream"), **options))
        return self.all[-1]

    def gate(self, upstreams, **options):
        self.all.append(Gate(self.place("gate"), upstreams, **options))
        return self.all[-1]

    def handmade(self, answer):
        self.all.append(Handmade(answer))
        return self.all[-1]

    def file(self, name, text):
        path = self.place("file")
        path.mkdir(parents=True)
        (path / name).write_text(text)
        (path / name).chmod(0o600)
        return str(path / name)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for one in reversed(self.all):
            one.stop()
