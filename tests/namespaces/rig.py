"""Four engines, the gateway in front of the first one, and what each of them begins with."""

import fcntl
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

REPO = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPO / "tests/lib"))

from rawhttp import Conn  # noqa: E402

E2E = REPO / "tests/e2e"
CACHE = pathlib.Path(
    os.environ.get("DOCKGATE_E2E_CACHE")
    or pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "dockgate-e2e"
)
DOCKGATE = os.environ.get("DOCKGATE") or str(REPO / "target/release/dockgate")
FIRST = int(os.environ.get("NAMESPACES_INDEX") or 120)
ENGINES = {"20.10": (FIRST + 4, "-"), "28": (FIRST, str(CACHE / "suite-forky/bin"))}
TENANTS = ("ann", "bob", "cat")
# what only something that never comes takes
PATIENCE = 180


def missing(engine):
    """Why there is no such engine here."""
    binary = pathlib.Path(ENGINES[engine][1]) / "dockerd"
    if engine != "20.10" and not binary.exists():
        return f"SKIPPED engine {engine}: no {binary}; tests/e2e/setup.sh installs it"
    return None


def call(address, method, target, body=b"", kind="application/json"):
    head = f"{method} {target} HTTP/1.1\r\nHost: engine\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
    with Conn(str(address), seconds=PATIENCE) as conn:
        return conn.send(head.encode() + body).answer(method)


class Rig:
    def __init__(self, engine, keep):
        self.index, self.bin = ENGINES[engine]
        # one run of an engine at a time, for the names are fixed
        CACHE.mkdir(parents=True, exist_ok=True)
        self.lock = open(CACHE / f"namespaces-{self.index}.lock", "a")
        fcntl.flock(self.lock, fcntl.LOCK_EX)
        self.keep = keep
        self.work = pathlib.Path(f"/tmp/dgn{self.index}") if keep else pathlib.Path(tempfile.mkdtemp(prefix="dgn.", dir="/tmp"))
        self.gateway = None

    def gate(self, tenant):
        return self.work / f"{tenant}.sock"

    def plain(self, tenant):
        return self.socket(TENANTS.index(tenant) + 1)

    def socket(self, number):
        return self.work / f"e{number}/docker.sock"

    def up(self):
        self.work.mkdir(exist_ok=True)
        starts = []
        for number in range(4):
            directory = self.work / f"e{number}"
            if self.keep and directory.exists():
                continue
            directory.mkdir()
            (directory / "daemon.json").write_text(json.dumps({"iptables": False, "shutdown-timeout": 1}))
            starts.append(self.engine_sh("up", number, self.bin))
        if any(start.wait() for start in starts):
            raise SystemExit("an engine does not start")
        for number in range(4):
            self.wipe(self.socket(number))
        self.api = json.loads(call(self.socket(0), "GET", "/version").body)["ApiVersion"]
        (self.work / "g.toml").write_text(self.config())
        self.serve()

    def down(self):
        if self.gateway and self.gateway.poll() is None:
            self.gateway.kill()
            self.gateway.wait(60)
        if self.keep:
            return
        for end in [self.engine_sh("down", number) for number in range(4)]:
            end.wait()
        shutil.rmtree(self.work, ignore_errors=True)

    def engine_sh(self, action, number, *more):
        index = self.index + number
        command = [E2E / "engine.sh", action, f"dgn{index}", self.work / f"e{number}", str(index), *more]
        return subprocess.Popen(command, env={**os.environ, "ENGINE_MEMORY": "1"}, stdout=subprocess.DEVNULL)

    def wipe(self, socket):
        """What another run has left, where the engines are kept."""
        for one in call(socket, "GET", "/containers/json?all=1").json():
            call(socket, "DELETE", f"/containers/{one['Id']}?force=1&v=1")
        for one in call(socket, "GET", "/networks").json():
            call(socket, "DELETE", f"/networks/{one['Id']}")
        for one in call(socket, "GET", "/volumes").json()["Volumes"] or []:
            call(socket, "DELETE", f"/volumes/{one['Name']}?force=1")
        for one in call(socket, "GET", "/images/json").json():
            for name in [*(one["RepoTags"] or []), one["Id"]]:
                call(socket, "DELETE", f"/images/{name}?force=1")
        call(socket, "POST", "/build/prune?all=1")

    def config(self):
        listeners = "".join(
            f'[[listener]]\nname = "{tenant}"\nurl = "unix://{self.gate(tenant)}"\npolicies = ["tenants"]\n' for tenant in TENANTS
        )
        (self.work / "key").write_bytes(bytes(range(32)))
        return (
            f'state_dir = "{self.work}/state"\ndrain_timeout = "2s"\n[engine]\nurl = "unix://{self.socket(0)}"\n{listeners}'
            f'[policy.tenants]\nkind = "namespace"\nname = "{{listener}}"\nkey = "{self.work}/key"\nnetwork_pool = "10.217.0.0/16"\n'
        )

    def serve(self):
        with open(self.work / "gateway.log", "ab") as log:
            self.gateway = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", DOCKGATE, "serve", "-c", self.work / "g.toml"],
                stdout=subprocess.DEVNULL,
                stderr=log,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        for tenant in TENANTS:
            self.await_listener(tenant)

    def await_listener(self, tenant):
        end = time.monotonic() + PATIENCE
        while True:
            try:
                if call(self.gate(tenant), "GET", "/_ping").status == 200:
                    return
            except (OSError, EOFError):
                pass
            if time.monotonic() > end or self.gateway.poll() is not None:
                raise SystemExit("the gateway does not answer\n" + (self.work / "gateway.log").read_text()[-2000:])
            time.sleep(0.02)

    def restart_gateway(self):
        self.gateway.kill()
        self.gateway.wait(60)
        self.serve()

    def image_tar(self):
        """The same root file system for everybody."""
        file = self.work / "root.tar"
        if not file.exists():
            subprocess.run([E2E / "image.sh", "--tar", file], check=True)
        return file.read_bytes()
