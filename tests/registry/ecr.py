#!/usr/bin/env python3
"""Amazon ECR as an upstream, with moto as its API and Debian's docker-registry behind: a line each.

    tests/registry/ecr.py [--dockgate target/debug/dockgate] [--docker unix:///path/docker.sock --reach 10.66.9.1] [NAME...]

Needs moto (`pip install 'moto[server]'`), docker-registry, htpasswd, openssl and skopeo. moto takes every signature and says
that every token expired in 2015, so a front of it (`Api`) checks signatures with botocore and puts the time right;
docker-registry makes every repository by itself and knows nothing of tokens, so a front of it (`Registry`) does both.
"""

import argparse
import base64
import collections
import concurrent.futures
import gzip
import hashlib
import http.client
import http.server
import json
import os
import pathlib
import re
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import traceback

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))

from ports import free_port  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parents[2]
PATIENCE = 60  # what only a hang reaches
KEYS = {"AWS_ACCESS_KEY_ID": "AKID", "AWS_SECRET_ACCESS_KEY": "SECRET", "AWS_SESSION_TOKEN": "SESSION/+="}
CASES = []


class Wrong(Exception):
    pass


def case(function):
    CASES.append(function)
    return function


def expect(found, wanted, what):
    if found != wanted:
        raise Wrong(f"{what}: {found!r}, expected {wanted!r}")


def wait_for(what, ready):
    deadline = time.monotonic() + PATIENCE
    while not ready():
        if time.monotonic() > deadline:
            raise Wrong(f"{what} does not come")
        time.sleep(0.02)


def listens(port):
    with socket.socket() as s:
        return s.connect_ex(("127.0.0.1", port)) == 0


def ask(port, method, path, headers=None, body=None, host="127.0.0.1"):
    connection = http.client.HTTPConnection(host, port, timeout=PATIENCE)
    connection.request(method, path, body=body, headers=headers or {})
    answer = connection.getresponse()
    return answer.status, answer.headers, answer.read()


def run(*command, check=True, env=None):
    done = subprocess.run(command, capture_output=True, text=True, timeout=10 * PATIENCE, env=env)
    if check and done.returncode:
        raise Wrong(f"{' '.join(command)}: {done.stderr or done.stdout}")
    return done


class Front(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def body(self):
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            whole = b""
            while size := int(self.rfile.readline().split(b";")[0], 16):
                whole += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return whole
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def say(self, status, headers, body):
        self.send_response(status)
        for name, value in headers:
            if name.lower() not in ("connection", "transfer-encoding", "content-length", "server", "date"):
                self.send_header(name, value)
        of_get = dict((name.lower(), value) for name, value in headers).get("content-length", 0)
        self.send_header("Content-Length", str(of_get if self.command == "HEAD" else len(body)))
        self.end_headers()
        self.wfile.write(b"" if self.command == "HEAD" else body)

    def do_GET(self):
        self.server.owner.answer(self, self.body())

    do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_GET


class Server:
    def __init__(self, tls=None):
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Front)
        self.server.owner, self.port = self, self.server.server_address[1]
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*tls)
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


class Api(Server):
    """moto, with signatures that count and times that are to come."""

    def __init__(self, moto):
        self.moto, self.mode, self.counts, self.token = moto, "well", collections.Counter(), 0
        self.lock = threading.Lock()
        super().__init__()

    def answer(self, front, body):
        operation = front.headers.get("X-Amz-Target", "").rpartition(".")[2]
        with self.lock:
            self.counts[operation] += 1
            number = self.token = self.token + (operation == "GetAuthorizationToken")
        if self.mode == "down":
            return front.say(500, [], b"{}")
        if not self.is_signed(front, body):
            self.counts["unsigned"] += 1
            return front.say(403, [], b'{"__type":"SignatureDoesNotMatch"}')
        status, headers, said = ask(self.moto, "POST", "/", dict(front.headers), body)
        if operation == "GetAuthorizationToken" and self.mode != "expired":
            said = json.loads(said)
            for one in said["authorizationData"]:
                one["expiresAt"] = time.time() + 12 * 3600
                if self.mode == "numbered":
                    one["authorizationToken"] = base64.b64encode(b"AWS:token-%d" % number).decode()
            said = json.dumps(said).encode()
        front.say(status, [], said)

    def is_signed(self, front, body):
        import botocore.auth
        import botocore.awsrequest
        import botocore.credentials

        keys = botocore.credentials.Credentials(*KEYS.values())
        said = re.fullmatch(
            r"AWS4-HMAC-SHA256 Credential=AKID/(\d{8})/([^/]+)/([^/]+)/aws4_request, SignedHeaders=([^,]+), Signature=(\w+)",
            front.headers.get("Authorization", ""),
        )
        if not said:
            return False
        _, region, service, names, signature = said.groups()
        headers = {name: front.headers[name] for name in names.split(";") if name != "host"}
        request = botocore.awsrequest.AWSRequest("POST", f"http://{front.headers['Host']}/", headers=headers, data=body)
        request.context["timestamp"] = headers["x-amz-date"]
        auth = botocore.auth.SigV4Auth(keys, service, region)
        canonical = auth.canonical_request(request)
        wanted = auth.signature(auth.string_to_sign(request, canonical), request)
        return wanted == signature and "x-amz-security-token" in names

    def has(self, repository):
        fields = {
            "Content-Type": "application/x-amz-json-1.1",
            "X-Amz-Target": "AmazonEC2ContainerRegistry_V20150921.DescribeRepositories",
            "Authorization": "AWS4-HMAC-SHA256 Credential=AKID/20261121/eu-west-1/ecr/aws4_request, SignedHeaders=host, Signature=x",
        }
        body = json.dumps({"repositoryNames": [repository]})
        return ask(self.moto, "POST", "/", fields, body)[0] == 200


class Registry(Server):
    """docker-registry, with tokens that expire and repositories that have to be made."""

    def __init__(self, api, behind, tls=None):
        self.api, self.behind, self.oldest, self.asked = api, behind, 0, []
        super().__init__(tls)

    def answer(self, front, body):
        login = front.headers.get("Authorization", "")
        self.asked.append((front.command, front.path, login))
        token = base64.b64decode(login.removeprefix("Basic ") or b"").decode()
        number = re.fullmatch(r"AWS:token-(\d+)", token)
        if not number:
            return self.refuse(front, 401, "UNAUTHORIZED")
        if int(number[1]) < self.oldest:
            return self.refuse(front, 403, "DENIED")
        upload = re.fullmatch(r"/v2/(.+)/blobs/uploads/(\?.*)?", front.path)
        if front.command == "POST" and upload and not self.api.has(upload[1]):
            return self.refuse(front, 404, "NAME_UNKNOWN")
        ours = ("authorization", "transfer-encoding", "content-length")
        fields = {name: ", ".join(front.headers.get_all(name)) for name in front.headers if name.lower() not in ours}
        fields |= {"Authorization": "Basic " + base64.b64encode(b"AWS:123456789012-auth-token").decode()}
        status, headers, said = ask(self.behind, front.command, front.path, fields, body or None)
        front.say(status, headers.items(), said)

    @staticmethod
    def refuse(front, status, code):
        body = json.dumps({"errors": [{"code": code, "message": "no"}]}).encode()
        front.say(status, [("WWW-Authenticate", 'Basic realm="ecr"')] if status == 401 else [], body)


class Rig:
    def __init__(self, folder, options):
        self.folder, self.options, self.processes, self.count = folder, options, [], 0
        moto, self.behind = free_port(), free_port()
        # A process group is not asked for: what is started here ends with its own id.
        self.start("moto", shutil.which("moto_server"), "-H", "127.0.0.1", "-p", str(moto))
        passwords = run("htpasswd", "-nbB", "AWS", "123456789012-auth-token").stdout
        (folder / "htpasswd").write_text(passwords)
        (folder / "registry.yml").write_text(
            f"version: 0.1\nstorage: {{filesystem: {{rootdirectory: {folder}/objects}}, delete: {{enabled: true}}}}\n"
            f"http: {{addr: '127.0.0.1:{self.behind}'}}\n"
            f"auth: {{htpasswd: {{realm: ecr, path: {folder}/htpasswd}}}}\n"
        )
        self.start("registry", "docker-registry", "serve", str(folder / "registry.yml"))
        wait_for("moto", lambda: listens(moto))
        wait_for("docker-registry", lambda: listens(self.behind))
        self.moto = moto
        self.image = self.make_image()

    def start(self, name, *command, env=None):
        log = open(self.folder / f"{name}.log", "w")
        process = subprocess.Popen(command, stdout=log, stderr=log, env={"PATH": os.environ["PATH"], "HOME": str(self.folder), "MOTO_ACCOUNT_ID": "123456789012", **(env or {})})
        self.processes.append(process)
        return process

    def fronts(self):
        api = Api(self.moto)
        api.mode = "numbered"
        return api, Registry(api, self.behind)

    def gate(self, api, registry_port, upstream="", folder=None, extra="", config=None, env=None):
        """dockgate; its port and its process."""
        self.count += 1
        port, folder = free_port(), folder or self.folder / f"gate{self.count}"
        folder.mkdir(exist_ok=True)
        config = config or f"""
[registry.ecr]
listen = "http://0.0.0.0:{port}"
insecure = true
dir = "{folder}/cache"
allow_private = ["127.0.0.0/8"]
access_ttl = "1s"
{extra}
[registry.ecr.upstream."/"]
url = "http://127.0.0.1:{registry_port}"
credentials = {{ kind = "ecr", region = "eu-west-1", endpoint = "http://127.0.0.1:{api.port}" }}
{upstream}
[[registry.ecr.rule]]
repositories = ["**"]
"""
        file = folder / "dockgate.toml"
        file.write_text(config)
        env = KEYS | {"PORT": str(port), **(env or {})}
        run(self.options.dockgate, "check", "--config", str(file), env={**os.environ, **env})
        process = self.start(f"gate{self.count}", self.options.dockgate, "serve", "--config", str(file), env=env)
        wait_for("dockgate", lambda: listens(port) or process.poll() is not None)
        expect(process.poll(), None, (self.folder / f"gate{self.count}.log").read_text())
        return port, process

    def make_image(self):
        """An OCI layout with one layer, and its manifest's digest."""
        layout = self.folder / "layout"
        blobs = layout / "blobs" / "sha256"
        blobs.mkdir(parents=True)

        def put(data):
            digest = hashlib.sha256(data).hexdigest()
            (blobs / digest).write_bytes(data)
            return {"digest": f"sha256:{digest}", "size": len(data)}

        tar = self.folder / "layer.tar"
        (self.folder / "hello").write_bytes(os.urandom(200_000))
        run("tar", "-C", str(self.folder), "-cf", str(tar), "hello")
        diff = "sha256:" + hashlib.sha256(tar.read_bytes()).hexdigest()
        layer = put(gzip.compress(tar.read_bytes()))
        config = put(json.dumps({"architecture": "amd64", "os": "linux", "config": {"Cmd": ["/hello"]}, "rootfs": {"type": "layers", "diff_ids": [diff]}}).encode())
        oci = "application/vnd.oci.image"
        manifest = put(json.dumps({
            "schemaVersion": 2, "mediaType": f"{oci}.manifest.v1+json",
            "config": {"mediaType": f"{oci}.config.v1+json", **config},
            "layers": [{"mediaType": f"{oci}.layer.v1.tar+gzip", **layer}],
        }).encode())
        (layout / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [{"mediaType": f"{oci}.manifest.v1+json", **manifest}]}))
        (layout / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
        self.layer, self.digest = layer["digest"], manifest["digest"]
        return f"oci:{layout}"

    def push(self, port, name, check=True):
        return run("skopeo", "copy", "--dest-tls-verify=false", self.image, f"docker://127.0.0.1:{port}/{name}", check=check)

    def pull(self, port, name):
        self.count += 1
        target = self.folder / f"pulled{self.count}"
        run("skopeo", "copy", "--src-tls-verify=false", f"docker://127.0.0.1:{port}/{name}", f"dir:{target}")
        return "sha256:" + hashlib.sha256((target / "manifest.json").read_bytes()).hexdigest()

    def close(self):
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()


def counted(answers):
    return collections.Counter(status for status, _, _ in answers)


@case
def clients_without_credentials_push_and_pull(rig):
    """docker-registry lets in nobody but `AWS` with moto's token; names may be nested."""
    api = Api(rig.moto)
    port, _ = rig.gate(api, rig.behind)
    expect(ask(rig.behind, "GET", "/v2/")[0], 401, "docker-registry without a token")
    for name in ("app:1", "team/nested/app:1"):
        rig.push(port, name)
        expect(rig.pull(port, name), rig.digest, "what is pulled")
    expect((api.counts["GetAuthorizationToken"], api.counts["unsigned"]), (1, 0), "tokens asked for")


@case
def a_herd_asks_for_one_token(rig):
    api, registry = rig.fronts()
    port, _ = rig.gate(api, registry.port)
    with concurrent.futures.ThreadPoolExecutor(30) as pool:
        answers = list(pool.map(lambda at: ask(port, "GET", f"/v2/none{at}/manifests/1"), range(30)))
    expect(counted(answers), {404: 30}, "answers")
    expect(api.counts["GetAuthorizationToken"], 1, "tokens asked for")


@case
def a_token_that_is_refused_is_renewed_once_and_the_request_repeated(rig):
    """Also one with a body that is here: a manifest."""
    api, registry = rig.fronts()
    port, _ = rig.gate(api, registry.port, "create_repository = true")
    rig.push(port, "renewed:1")
    manifest = (rig.folder / "layout/blobs/sha256" / rig.digest.removeprefix("sha256:")).read_bytes()
    registry.oldest = 2
    kind = {"Content-Type": "application/vnd.oci.image.manifest.v1+json"}
    expect(ask(port, "PUT", "/v2/renewed/manifests/2", kind, manifest)[0], 201, "a manifest with an old token")
    expect(api.counts["GetAuthorizationToken"], 2, "tokens asked for")
    # What is refused with a new token as well is refused; tokens are not asked for without end.
    registry.oldest = 99
    answers = [ask(port, "GET", f"/v2/renewed/manifests/no{at}") for at in range(5)]
    expect(counted(answers), {403: 5}, "answers")
    expect(api.counts["GetAuthorizationToken"], 2, "tokens asked for")


@case
def a_get_with_an_old_token_is_answered(rig):
    api, registry = rig.fronts()
    port, _ = rig.gate(api, registry.port, "create_repository = true")
    rig.push(port, "old:1")
    registry.oldest = 2
    expect(rig.pull(port, "old:1"), rig.digest, "what is pulled")
    expect(api.counts["GetAuthorizationToken"], 2, "tokens asked for")


@case
def without_the_api_what_is_stored_is_served_and_the_rest_is_an_error(rig):
    api, registry = rig.fronts()
    folder = rig.folder / "kept"
    port, process = rig.gate(api, registry.port, "create_repository = true", folder)
    rig.push(port, "kept:1")
    expect(rig.pull(port, "kept:1"), rig.digest, "what is pulled")
    process.terminate()
    process.wait(PATIENCE)
    api.mode = "down"
    port, process = rig.gate(api, registry.port, "create_repository = true", folder)
    for path in (f"manifests/{rig.digest}", f"blobs/{rig.layer}"):
        expect(ask(port, "GET", f"/v2/kept/{path}")[0], 200, path)
    status, _, body = ask(port, "GET", "/v2/kept/manifests/other")
    expect(status, 502, body)
    status, _, body = ask(port, "GET", f"/v2/kept/blobs/sha256:{'a' * 64}")
    expect((status, b"GetAuthorizationToken" in body), (502, True), body)
    expect(process.poll(), None, "dockgate")
    api.mode = "numbered"
    kind = {"Accept": "application/vnd.oci.image.manifest.v1+json"}
    wait_for("an answer after the failure", lambda: ask(port, "GET", "/v2/kept/manifests/1", kind)[0] == 200)


@case
def a_token_that_has_expired_already_is_not_used(rig):
    """As moto gives them."""
    api, registry = rig.fronts()
    api.mode = "expired"
    port, _ = rig.gate(api, registry.port)
    status, _, body = ask(port, "GET", "/v2/x/manifests/1")
    expect((status, b"expired already" in body), (502, True), body)
    expect([login for _, _, login in registry.asked if login], [], "tokens that were shown")


@case
def a_repository_is_made_by_the_first_push_and_once(rig):
    api, registry = rig.fronts()
    port, _ = rig.gate(api, registry.port, "create_repository = true")
    expect(api.has("made/by/push"), False, "the repository before")
    with concurrent.futures.ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(lambda _: ask(port, "POST", "/v2/made/by/push/blobs/uploads/"), range(10)))
    expect(counted(answers), {202: 10}, "uploads")
    expect(api.counts["CreateRepository"], 1, "repositories made")
    rig.push(port, "made/by/push:1")
    expect(rig.pull(port, "made/by/push:1"), rig.digest, "what is pulled")


@case
def without_being_told_to_no_repository_is_made(rig):
    api, registry = rig.fronts()
    port, _ = rig.gate(api, registry.port)
    status, _, body = ask(port, "POST", "/v2/not/made/blobs/uploads/")
    expect((status, b"NAME_UNKNOWN" in body), (404, True), body)
    expect(api.counts["CreateRepository"], 0, "repositories made")


@case
def the_environment_of_ecr_proxies_is_enough(rig):
    """`examples/ecr-proxy.toml`, over TLS, to a registry over TLS: everybody pulls, nobody pushes."""
    ca, ca_key, cert, key, asked = (str(rig.folder / name) for name in ("ca.pem", "ca.key", "cert.pem", "key.pem", "asked"))
    new = ("openssl", "req", "-newkey", "rsa:2048", "-nodes")
    run(*new, "-x509", "-days", "2", "-subj", "/CN=ours", "-keyout", ca_key, "-out", ca)
    run(*new, "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout", key, "-out", asked)
    run("openssl", "x509", "-req", "-days", "2", "-in", asked, "-CA", ca, "-CAkey", ca_key, "-copy_extensions", "copy", "-out", cert)
    api = Api(rig.moto)
    api.mode = "numbered"
    registry = Registry(api, rig.behind, (cert, key))
    other, _ = rig.gate(Api(rig.moto), rig.behind)
    rig.push(other, "example/app:1")
    example = (ROOT / "examples/ecr-proxy.toml").read_text()
    env = {
        "TLS_CERTIFICATE": str(cert), "TLS_PRIVATE_KEY": str(key), "ECR_REGISTRY": f"localhost:{registry.port}",
        "REGISTRY": "registry.example", "REGION": "eu-west-1", "CACHE_DIR": str(rig.folder / "example"),
        "AWS_ENDPOINT_URL_ECR": f"http://127.0.0.1:{api.port}",
    }
    # What only this machine needs: no address of it is public, and its authority is no one's.
    here = f'[registry.ecr]\nallow_private = ["127.0.0.0/8", "::1"]\nupstream_ca = "{ca}"\n'
    plain = {**os.environ, **KEYS, **env, "ECR_REGISTRY": "123456789012.dkr.ecr.eu-west-1.amazonaws.com",
             "REGION": "", "AWS_ENDPOINT_URL_ECR": ""}
    run(rig.options.dockgate, "check", "--config", str(ROOT / "examples/ecr-proxy.toml"), env=plain)
    port, _ = rig.gate(api, 0, config=example.replace("[registry.ecr]\n", here, 1), env=env)
    certs, target = rig.folder / "certs", rig.folder / "example-pulled"
    certs.mkdir()
    shutil.copy(ca, certs / "ca.crt")
    run("skopeo", "copy", f"--src-cert-dir={certs}", f"docker://localhost:{port}/example/app:1", f"dir:{target}")
    expect("sha256:" + hashlib.sha256((target / "manifest.json").read_bytes()).hexdigest(), rig.digest, "what is pulled")
    pushed = run("skopeo", "copy", f"--dest-cert-dir={certs}", rig.image, f"docker://localhost:{port}/example/app:2", check=False)
    expect((pushed.returncode != 0, "may not push" in pushed.stderr or "denied" in pushed.stderr), (True, True), pushed.stderr)


@case
def docker_pushes_and_pulls(rig):
    if not rig.options.docker:
        return "needs --docker"
    api, registry = rig.fronts()
    port, _ = rig.gate(api, registry.port, "create_repository = true")
    docker = lambda *args: run("docker", "-H", rig.options.docker, *args).stdout.strip()
    at = f"{rig.options.reach}:{port}"
    tar = rig.folder / "layer.tar"
    docker("import", str(tar), f"{at}/docker/app:1")
    pushed = docker("push", f"{at}/docker/app:1")
    # Of another repository: mounted, which is made first.
    docker("tag", f"{at}/docker/app:1", f"{at}/docker/again:1")
    docker("push", f"{at}/docker/again:1")
    digest = re.search(r"digest: (sha256:\w+)", pushed)[1]
    docker("image", "rm", f"{at}/docker/app:1", f"{at}/docker/again:1")
    for name in ("app", "again"):
        expect(digest in docker("pull", f"{at}/docker/{name}:1"), True, f"the digest of {name}")
    expect((api.counts["CreateRepository"], api.counts["GetAuthorizationToken"]), (2, 1), "questions to the API")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--dockgate", default=ROOT / "target/debug/dockgate")
    parser.add_argument("--docker", help="an engine, with the address by which it reaches this machine")
    parser.add_argument("--reach", default="127.0.0.1")
    parser.add_argument("names", nargs="*")
    options = parser.parse_args()
    missing = [name for name in ("moto_server", "docker-registry", "htpasswd", "openssl", "skopeo") if not shutil.which(name)]
    if missing:
        print(f"SKIPPED  all: there is no {', '.join(missing)}")
        return 0
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        rig = Rig(pathlib.Path(folder), options)
        try:
            for function in CASES:
                if options.names and not any(name in function.__name__ for name in options.names):
                    continue
                about = function.__name__.replace("_", " ")
                try:
                    skipped = function(rig)
                    print(f"{'SKIPPED' if skipped else 'ok':8} {about}{f': {skipped}' if skipped else ''}", flush=True)
                except Exception as error:
                    failed += 1
                    print(f"FAIL     {about}: {error}", flush=True)
                    if not isinstance(error, Wrong):
                        traceback.print_exc()
        finally:
            rig.close()
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
