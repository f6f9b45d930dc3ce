"""What a run stands on: an engine in a network namespace of its own, gates in front of it, a server that notes who calls."""

import contextlib
import fcntl
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time

from .wire import Conn, exchange, request

from ports import free_port  # noqa: E402  isort: skip (tests/lib, which wire has found)

REPO = pathlib.Path(__file__).resolve().parents[3]
E2E = REPO / "tests/e2e"
CACHE = pathlib.Path(
    os.environ.get("DOCKGATE_E2E_CACHE")
    or pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "dockgate-e2e"
)
DOCKGATE = os.environ.get("DOCKGATE") or str(REPO / "target/release/dockgate")
# index of the namespace, folder of the binaries, newest API version
FIRST = int(os.environ.get("VECTORS_INDEX") or 41)
ENGINES = {"20.10": (FIRST, "-", "1.41"), "28": (FIRST + 1, str(CACHE / "suite-forky/bin"), "1.51")}


class Target:
    """The engine itself, or a listener of the gate: what a request is sent to."""

    def __init__(self, name, address, version):
        self.name, self.address, self.version = name, address, version
        self.direct = name == "engine"
        self.last = b""

    def path(self, path, version=None):
        version = f"/v{self.version}" if version is None else version and f"/v{version}"
        return version + path

    def call(self, method, path, body=None, *, version=None, **more):
        return self.raw(request(method, self.path(path, version), body, **more))

    def signed(self, data):
        """With what says who calls, where this target is somebody's."""
        return data

    def raw(self, data):
        self.last = data
        return exchange(self.address, data)


class Canary(threading.Thread):
    """Notes every connection, answers each with 404: has the engine gone where a client sent it?"""

    def __init__(self, host):
        super().__init__(daemon=True)
        self.sock = socket.create_server((host, 0))
        self.host, self.port = self.sock.getsockname()[:2]
        self.at = f"{self.host}:{self.port}"
        self.hits = 0

    def run(self):
        while True:
            try:
                conn, _ = self.sock.accept()
            except OSError:
                return
            self.hits += 1
            conn.settimeout(0.2)
            try:
                conn.recv(4096)
                conn.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            except OSError:
                pass
            conn.close()


class Watcher:
    """GETs on a connection that stays open: most of a run is looking at what is there."""

    def __init__(self, address):
        self.address, self.conn = address, None

    def answer(self, path):
        for _ in range(2):
            self.conn = self.conn or Conn(self.address)
            a = self.conn.send(request("GET", path, keep=True)).answer()
            if a.status:
                return a
            self.conn = None
        return a


class Rig:
    def __init__(self, engine, tier="all"):
        self.engine, self.tier = engine, tier
        self.index, self.bin, self.version = ENGINES[engine]
        self.gates, self.ports, self.processes, self.canary = {}, {}, [], None
        self.worlds = {}  # lib/tenants.py's
        self.changes = 0  # by the administrator
        self.endings = []  # what else ends with the run
        self.claim()
        self.work = pathlib.Path(tempfile.mkdtemp(prefix="dgv.", dir="/tmp"))
        self.lock.write(str(self.work))
        self.lock.flush()

    def claim(self):
        """One run of an engine at a time, for the names are fixed; what a killed one has left is ended."""
        CACHE.mkdir(parents=True, exist_ok=True)
        self.lock = open(CACHE / f"vectors-{self.index}.lock", "a+")
        fcntl.flock(self.lock, fcntl.LOCK_EX)
        self.lock.seek(0)
        if left := self.lock.read():
            self.work = pathlib.Path(left)
            self.dir = self.work / "e"
            self.down()
        self.lock.truncate(0)

    # ---- start and end ----

    def up(self, config):
        """`config(rig)` is the gate's; its listeners become `self.gates` by name."""
        self.dir = self.work / "e"
        self.dir.mkdir()
        self.devices()
        (self.dir / "daemon.json").write_text(json.dumps({**ENGINE_SETTINGS, **self.more_settings()}))
        certs = self.dir / "certs"
        subprocess.run([DOCKGATE, "certs", certs, "--host", self.address], check=True, stdout=subprocess.DEVNULL)
        self.engine_sh(
            "up",
            self.bin,
            "--label",
            "secret=label-of-the-daemon",
            "--host",
            f"tcp://{self.address}:2376",
            "--tlsverify",
            "--tlscacert",
            certs / "ca.pem",
            "--tlscert",
            certs / "server-cert.pem",
            "--tlskey",
            certs / "server-key.pem",
        )
        self.socket = str(self.dir / "docker.sock")
        self.plugins = self.dir / "run/docker/plugins"
        self.direct = Target("engine", self.socket, self.version)
        self.watcher = Watcher(self.socket)
        subprocess.run([E2E / "image.sh", self.socket], check=True, stdout=subprocess.DEVNULL)
        # holds the image, whatever is pruned
        keeper = {"Image": "busybox", "Cmd": ["sleep", "1000000"], "StopTimeout": 0, "HostConfig": {"NetworkMode": "none"}}
        ident = self.admin("POST", "/containers/create", keeper).json()["Id"]
        self.admin("POST", f"/containers/{ident}/start")
        self.endings.append(lambda: self.admin("DELETE", f"/containers/{ident}?force=1"))
        self.canary = Canary(f"10.66.{self.index}.1")
        self.canary.start()
        self.serve("gate", config(self))

    def more_settings(self):
        """What BuildKit may be asked for: all that an engine can be told to grant."""
        entitlements = {"network-host": True, "security-insecure": True, "device": True}
        if self.engine == "20.10":
            return {}
        return {"builder": {"entitlements": entitlements}, "features": {"cdi": True}, "cdi-spec-dirs": [str(self.dir / "cdi")]}

    def devices(self):
        """A device of the host's that a build may be given by its name."""
        (self.dir / "cdi").mkdir()
        null = {"name": "null", "containerEdits": {"env": ["DGV_DEVICE=1"], "deviceNodes": [{"path": "/dev/dgv", "hostPath": "/dev/null"}]}}
        (self.dir / "cdi/dgv.json").write_text(json.dumps({"cdiVersion": "0.6.0", "kind": "dgv.test/null", "devices": [null]}))

    @property
    def address(self):
        return f"10.66.{self.index}.2"

    def engine_sh(self, action, *more):
        done = subprocess.run(
            [E2E / "engine.sh", action, f"dgv{self.index}", self.dir, str(self.index), *more],
            env={**os.environ, "ENGINE_MEMORY": "1"},
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise SystemExit(f"engine.sh {action}: {done.stderr.strip()}")

    def serve(self, name, text):
        """A dockgate of its own, ended with the run; its unix listeners by name."""
        file = self.work / f"{name}.toml"
        file.write_text(text)
        log = open(self.work / f"{name}.log", "wb")
        # it must not outlive a run that is killed
        process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", DOCKGATE, "serve", "-c", file],
            stdout=log,
            stderr=log,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        self.processes.append(process)
        listeners = [line.split('"')[1] for line in text.splitlines() if line.startswith("name = ")]
        for _ in range(2400):
            said = (self.work / f"{name}.log").read_text(errors="replace")
            if said.count("listening on") >= len(listeners):
                break
            if process.poll() is not None:
                raise SystemExit(f"dockgate does not start: {said}")
            time.sleep(0.05)
        else:
            raise SystemExit(f"dockgate does not listen: {said}")
        for listener in listeners:
            address = ("127.0.0.1", self.ports[listener]) if listener in self.ports else self.gate_socket(listener)
            self.gates[listener] = Target(listener, address, self.version)
        return process

    def wait(self, good, what="what was waited for"):
        """Until it is so: only what never comes takes the minute."""
        for _ in range(1200):
            if found := good():
                return found
            time.sleep(0.05)
        raise AssertionError(f"{what} never comes")

    def port(self, listener):
        """A port for it that is free now."""
        self.ports[listener] = free_port()
        return self.ports[listener]

    def check(self, text):
        """What `dockgate check` complains about."""
        file = self.work / "checked.toml"
        file.write_text(text)
        return subprocess.run([DOCKGATE, "check", "-c", file], capture_output=True, text=True).stderr

    def gate_socket(self, listener):
        return str(self.work / f"{listener}.sock")

    def down(self):
        for end in self.endings:
            with contextlib.suppress(OSError):  # of an engine that is gone
                end()
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
        if self.canary:
            self.canary.sock.close()
        if (self.work / "e").exists():
            self.engine_sh("down")
        shutil.rmtree(self.work, ignore_errors=True)
        self.lock.truncate(0)

    # ---- what is in the engine ----

    def admin(self, method, path, body=None, **more):
        self.changes += method != "GET"
        return self.direct.call(method, path, body, **more)

    def state(self):
        """Everything that a request could have left behind."""

        def get(path):
            a = self.watcher.answer(self.direct.path(path))
            return a.json() if a.status == 200 else []

        found = {("containers", c["Id"]) for c in get("/containers/json?all=1")}
        found |= {
            ("networks", n["Id"]) for n in get("/networks") if n["Name"] not in ("bridge", "host", "none", "ingress", "docker_gwbridge")
        }
        found |= {("volumes", v["Name"]) for v in get("/volumes").get("Volumes") or []}
        found |= {("plugins", p["Id"]) for p in get("/plugins")}
        for i in get("/images/json?all=1"):
            found.add(("images", i["Id"]))
            found |= {("tags", t) for t in i["RepoTags"] or [] if t != "<none>:<none>"}
        return found

    def clean(self, keep, now=None):
        """Back to `keep`, from `now` where that is known; what cannot be removed. Containers first, for they hold the rest."""
        extra = (self.state() if now is None else now) - keep
        if not extra:
            return extra
        # (a network that configures others goes after them)
        for kind in ("containers", "networks", "networks", "volumes", "plugins", "tags", "images"):
            for _, ident in sorted(e for e in extra if e[0] == kind):
                path = {"tags": "images"}.get(kind, kind)
                self.admin("DELETE", f"/{path}/{ident}" + {"containers": "?force=1&v=1", "networks": ""}.get(kind, "?force=1"))
        return self.state() - keep


ENGINE_SETTINGS = {
    "debug": True,
    "experimental": True,
    "iptables": False,  # nothing here needs its rules, and they make every network slow
    "runtimes": {"weaker": {"path": "/usr/sbin/runc"}},
}
