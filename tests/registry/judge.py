#!/usr/bin/env python3
"""Pushes that are judged, with the real registry (Debian's docker-registry) behind and skopeo in front.

    tests/registry/judge.py [--dockgate PATH] [NAME...]
    tests/registry/judge.py --engine /dir/docker.sock --host 10.66.41.1 docker    # `docker push` of such an engine, too

The engine (tests/e2e/engine.sh) must be started with `--insecure-registry 10.66.0.0/16`. Needs docker-registry, skopeo.
"""

import argparse
import gzip
import hashlib
import http.client
import http.server
import io
import json
import os
import pathlib
import socket
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
import traceback

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))

from ports import free_port  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parents[2]
OCI = "application/vnd.oci.image.manifest.v1+json"
ANY = f"{OCI}, application/vnd.docker.distribution.manifest.v2+json, application/vnd.oci.image.index.v1+json"
CASES = []


def case(function):
    CASES.append(function)
    return function


def expect(is_so, what):
    if not is_so:
        raise AssertionError(what)


def digest(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def wait_for(is_so, what, seconds=120):
    deadline = time.monotonic() + seconds
    while not is_so():
        expect(time.monotonic() < deadline, what)
        time.sleep(0.02)


def answers(host, port):
    try:
        socket.create_connection((host, port), 1).close()
        return True
    except OSError:
        return False


def ask(host, port, method, path, body=None, headers=None):
    connection = http.client.HTTPConnection(host, port, timeout=120)
    connection.request(method, path, body, headers or {})
    answer = connection.getresponse()
    return answer.status, {name.lower(): value for name, value in answer.headers.items()}, answer.read()


class Process:
    """A program that is ended with the case."""

    def __init__(self, command, log):
        self.log = log
        with open(log, "wb") as out:
            self.child = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT)

    def stop(self):
        self.child.terminate()
        try:
            self.child.wait(10)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()


class Bench:
    """A registry, and dockgate in front of it that judges by `rules`."""

    def __init__(self, folder, options, rules):
        self.folder, self.options, self.count = folder, options, 0
        self.upstream, self.port = free_port(), free_port(options.host)
        (folder / "registry.yml").write_text(
            f"version: 0.1\nlog: {{level: warn}}\nstorage: {{filesystem: {{rootdirectory: {folder}/data}}, "
            f"delete: {{enabled: true}}}}\nhttp: {{addr: '127.0.0.1:{self.upstream}'}}\n"
        )
        self.registry = Process(["docker-registry", "serve", folder / "registry.yml"], folder / "registry.log")
        self.address = f"{options.host}:{self.port}"
        (folder / "dockgate.toml").write_text(
            f'[registry.hub]\nlisten = "{self.address}"\ninsecure = true\ndir = "{folder}/cache"\n'
            f'allow_private = ["127.0.0.0/8"]\n{rules.replace("@ADDRESS@", self.address)}\n'
            f'[registry.hub.upstream."/"]\nurl = "http://127.0.0.1:{self.upstream}"\n'
            f'[[registry.hub.rule]]\nrepositories = ["**"]\n'
        )
        self.gate = Process([options.dockgate, "serve", "--config", folder / "dockgate.toml"], folder / "dockgate.log")
        wait_for(lambda: answers("127.0.0.1", self.upstream), "the registry does not start")
        wait_for(lambda: answers(options.host, self.port), f"dockgate does not start: {self.said()}")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.gate.stop()
        self.registry.stop()

    def said(self):
        return (self.folder / "dockgate.log").read_text()

    def image(self, labels=None, files=("x",), **config):
        """An OCI layout; its folder and the digest of its one layer."""
        self.count += 1
        layout = self.folder / f"image{self.count}"
        blobs = layout / "blobs" / "sha256"
        blobs.mkdir(parents=True)

        def blob(data, kind):
            (blobs / digest(data).split(":")[1]).write_bytes(data)
            return {"mediaType": kind, "digest": digest(data), "size": len(data)}

        layers, unpacked = [], []
        for text in files:
            out = io.BytesIO()
            with tarfile.open(fileobj=out, mode="w") as tar:
                entry = tarfile.TarInfo("file")
                entry.size = len(text)
                tar.addfile(entry, io.BytesIO(text.encode()))
            unpacked.append(digest(out.getvalue()))
            packed = gzip.compress(out.getvalue(), mtime=0)
            layers.append(blob(packed, "application/vnd.oci.image.layer.v1.tar+gzip"))
        config = {"architecture": "amd64", "os": "linux", "config": {"Labels": labels or {}}} | config
        config["rootfs"] = {"type": "layers", "diff_ids": unpacked}
        manifest = {
            "schemaVersion": 2,
            "mediaType": OCI,
            "config": blob(json.dumps(config).encode(), "application/vnd.oci.image.config.v1+json"),
            "layers": layers,
        }
        named = blob(json.dumps(manifest).encode(), OCI)
        named["annotations"] = {"org.opencontainers.image.ref.name": "one"}
        (layout / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [named]}))
        (layout / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
        return layout

    def push(self, layout, name, *more):
        """Whether skopeo could, and what it printed."""
        command = ["skopeo", "copy", "--insecure-policy", "--dest-tls-verify=false", *more]
        done = subprocess.run(
            [*command, f"oci:{layout}:one", f"docker://{self.address}/{name}"], capture_output=True, text=True
        )
        return done.returncode == 0, done.stdout + done.stderr

    def upstream_asked(self, path, method="GET"):
        return ask("127.0.0.1", self.upstream, method, path, headers={"Accept": ANY})

    def tags(self, name):
        status, _, body = self.upstream_asked(f"/v2/{name}/tags/list")
        return sorted(json.loads(body)["tags"] or []) if status == 200 else []

    def manifest(self, name, tag):
        status, _, body = self.upstream_asked(f"/v2/{name}/manifests/{tag}")
        expect(status == 200, f"{name}:{tag} is {status}")
        return body


def rule(keys):
    return f'[[registry.hub.push_rule]]\nname = "r"\n{keys}'


@case
def what_is_refused_leaves_no_tag(bench_with):
    with bench_with(rule('tags = ["v*"]\nmax_layers = 2\nrequire_labels = { source = "https://*" }')) as bench:
        fine = bench.image({"source": "https://x"})
        for layout, name, why in [
            (fine, "team/app:latest", "`latest` is none of `v*`"),
            (bench.image(), "team/app:v1", "neither label nor annotation `source`"),
            (bench.image({"source": "ftp://x"}), "team/app:v1", "`source` is `ftp://x`"),
            (bench.image({"source": "https://x"}, "abc"), "team/app:v1", "3 layers, of at most 2"),
        ]:
            for form in ([], ["--format", "v2s2"]):
                done, said = bench.push(layout, name, *form)
                expect(not done and why in said and "denied" in said, said)
        expect(bench.tags("team/app") == [], bench.tags("team/app"))
        for form, tag in (([], "v1"), (["--format", "v2s2"], "v2")):
            done, said = bench.push(fine, f"team/app:{tag}", *form)
            expect(done, said)
        expect(bench.tags("team/app") == ["v1", "v2"], bench.tags("team/app"))


@case
def an_immutable_tag_stays(bench_with):
    with bench_with(rule('immutable = ["v*"]')) as bench:
        one, other = bench.image(files="1"), bench.image(files="2")
        for layout, tag, may in [(one, "v1", True), (one, "v1", True), (other, "v1", False), (other, "latest", True)]:
            done, said = bench.push(layout, f"team/app:{tag}")
            expect(done == may, said)
            expect(may or "may not become another" in said, said)
        kept = json.loads(bench.manifest("team/app", "v1"))
        wanted = json.loads((one / "index.json").read_text())["manifests"][0]["digest"]
        expect(digest(bench.manifest("team/app", "v1")) == wanted, kept)
        # In docker's form it is another manifest.
        done, said = bench.push(one, "team/app:v1", "--format", "v2s2")
        expect(not done and "may not become another" in said, said)


@case
def what_is_set_is_what_becomes_visible(bench_with):
    keys = 'rewrite_tag = "{tag}-checked"\nset_annotations = { "org.example.by" = "{registry}" }'
    with bench_with(rule(keys)) as bench:
        done, said = bench.push(bench.image(), "team/app:v1")
        expect(done, said)
        expect(bench.tags("team/app") == ["v1-checked"], bench.tags("team/app"))
        kept = bench.manifest("team/app", "v1-checked")
        expect(json.loads(kept)["annotations"]["org.example.by"] == "hub", kept)
        done, said = bench.push(bench.image(), "team/app:v2", "--format", "v2s2")
        expect(not done and "annotations are to be set" in said, said)


@case
def an_outside_program_reads_the_layers(bench_with):
    """The documented protocol: it fetches each layer by its URL and looks into it."""
    seen = []

    class Scanner(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            push = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            answer = {"allow": True}
            for layer, url in zip(push["layers"], push["urls"]["layers"]):
                _, _, host, path = url.split("/", 3)
                name, port = host.split(":")
                status, _, body = ask(name, int(port), "GET", "/" + path)
                seen.append((status, digest(body) == layer["digest"] or body))
                if status == 200 and b"EICAR" in gzip.decompress(body):
                    answer = {"allow": False, "message": f"`{layer['digest']}` has a virus"}
            body = json.dumps(answer).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    program = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Scanner)
    threading.Thread(target=program.serve_forever, daemon=True).start()
    hook = 'hook = {{ url = "http://127.0.0.1:{}/", base = "http://@ADDRESS@", timeout = "30s" }}'
    with bench_with(rule(hook.format(program.server_port))) as bench:
        done, said = bench.push(bench.image(files=["fine", "EICAR"]), "team/app:v1")
        expect(not done and "has a virus (`hook` of push rule `r`)" in said, said)
        done, said = bench.push(bench.image(files=["fine"]), "team/app:v2")
        expect(done, said)
        expect(bench.tags("team/app") == ["v2"], bench.tags("team/app"))
        expect(len(seen) == 3 and all(one == (200, True) for one in seen), seen)
        program.shutdown()
        program.server_close()
        done, said = bench.push(bench.image(files=["fine"]), "team/app:v3")
        expect(not done and "there is no answer of the outside program" in said, said)
        expect(bench.tags("team/app") == ["v2"], bench.tags("team/app"))


@case
def an_upload_that_is_left_lying_is_deleted(bench_with):
    with bench_with('upload_ttl = "1s"') as bench:
        host, port = bench.address.split(":")
        status, headers, _ = ask(host, int(port), "POST", "/v2/team/app/blobs/uploads/", b"")
        expect(status == 202, status)
        status, headers, _ = ask(host, int(port), "PATCH", headers["location"], b"half of it")
        expect(status == 202, status)
        lying = bench.folder / "data/docker/registry/v2/repositories/team/app/_uploads"
        expect(list(lying.rglob("data")), "it does not lie there")
        wait_for(lambda: not list(lying.rglob("data")), "it is never deleted")
        status, _, _ = ask(host, int(port), "PATCH", headers["location"], b"the rest")
        expect(status == 404, status)


@case
def docker_prints_why(bench_with):
    """With `--engine` only."""
    if not bench_with.options.engine:
        return
    docker = ["docker", "-H", f"unix://{bench_with.options.engine}"]

    def run(*more, data=None):
        done = subprocess.run([*docker, *more], input=data, capture_output=True)
        return done.returncode == 0, (done.stdout + done.stderr).decode()

    rules = rule('tags = ["v*"]\nrequire_labels = { team = "red" }')
    more = '\n[[registry.hub.push_rule]]\nrepositories = ["moved/*"]\nrewrite_tag = "{tag}-checked"\n'
    noted = '[[registry.hub.push_rule]]\nrepositories = ["noted/*"]\nset_annotations = { a = "b" }\n'
    with bench_with(rules + more + noted) as bench:
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w") as tar:
            tar.addfile(tarfile.TarInfo("file"))
        names = [f"{bench.address}/{name}" for name in ("team/app:v1", "team/app:latest", "moved/app:v1", "noted/app:v1")]
        done, said = run("import", "--change", "LABEL team=red", "-", names[0], data=out.getvalue())
        expect(done, said)
        for name in names[1:]:
            expect(run("tag", names[0], name)[0], name)
        done, said = run("push", names[0])
        expect(done, said)
        done, said = run("push", names[1])
        expect(not done and "`latest` is none of `v*` (`tags` of push rule `r`)" in said, said)
        expect(bench.tags("team/app") == ["v1"], bench.tags("team/app"))
        print("   docker:", said.strip().splitlines()[-1])
        done, said = run("push", names[2])
        expect(done and bench.tags("moved/app") == ["v1-checked"], said)
        done, said = run("push", names[3])
        print("   docker, annotations set:", said.strip().splitlines()[-1], bench.tags("noted/app"))
        run("rmi", *names)


def main():
    arguments = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    binary = os.environ.get("DOCKGATE") or ROOT / "target/release/dockgate"
    arguments.add_argument("--dockgate", default=binary)
    arguments.add_argument("--engine", help="the socket of an engine")
    arguments.add_argument("--host", default="127.0.0.1", help="where the engine reaches this machine")
    arguments.add_argument("names", nargs="*", help="parts of names of cases")
    options = arguments.parse_args()
    failed = 0
    for function in CASES:
        name = function.__name__
        if options.names and not any(part in name for part in options.names):
            continue
        with tempfile.TemporaryDirectory() as folder:

            def bench_with(rules):
                return Bench(pathlib.Path(folder), options, rules)

            bench_with.options = options
            began = time.monotonic()
            try:
                function(bench_with)
                print(f"ok   {name} ({time.monotonic() - began:.1f} s)")
            except Exception:
                failed += 1
                print(f"FAIL {name}\n{traceback.format_exc()}")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    os.environ.pop("DOCKER_HOST", None)
    main()
