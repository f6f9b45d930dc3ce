#!/usr/bin/env python3
"""Three attackers at once, and an honest user whose compose project must go on coming up and down.

soak.py [--engine 20.10|28] [--seconds 600] [--cycles 5]

Each attacker has a listener of its own, and so has the user. First the user's cycles alone are timed, then beside the
attackers. It fails when one of the user's commands fails, when an attack has left its mark, when the gateway or the engine has
ended, or when the gateway's memory has grown by more than a bound. What it prints is for docs/benchmarks.md: the
latency of the user's cycles beside that without attackers, in the same run.
"""

import argparse
import os
import pathlib
import random
import shutil
import socket
import statistics
import subprocess
import sys
import threading
import time

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).parent))

from lib import rig as rigs  # noqa: E402
from lib.wire import Conn, request  # noqa: E402

COMPOSE = rigs.CACHE / "suite-forky/usr/libexec/docker/cli-plugins"
DOCKER = rigs.CACHE / "suite-forky/usr/bin/docker"
PROJECT = """
services:
  web:
    image: busybox
    command: sh -c 'echo served; exec sleep 300'
    init: true
    stop_grace_period: 0s
    volumes: ["data:/data"]
    depends_on: [db]
  db: {image: busybox, command: sleep 300, init: true, stop_grace_period: 0s}
volumes: {data: {}}
"""
# KiB that the gateway may have more after the attacks than before them
MOST_GROWTH = 64 * 1024
LISTENERS = ("honest", "races", "floods", "forms")


def config(rig):
    listeners = "".join(
        f'[[listener]]\nname = "{name}"\nurl = "unix://{rig.gate_socket(name)}"\npolicies = ["conservative"]\nmax_connections = 256\n'
        for name in LISTENERS
    )
    return f'[engine]\nurl = "unix://{rig.socket}"\n{listeners}'


class Attacker(threading.Thread):
    """Does one thing after another until it is told to stop; what goes wrong for it is none of its business."""

    def __init__(self, rig, deed):
        super().__init__(daemon=True, name=deed.__name__)
        self.rig, self.deed, self.over, self.deeds = rig, deed, threading.Event(), 0

    def run(self):
        while not self.over.is_set():
            try:
                self.deed(self)
            except (OSError, ValueError, KeyError, IndexError):
                pass
            self.deeds += 1


def races(me):
    """Names that come and go, of the administrator's containers and of networks."""
    gate, name = me.rig.gates["races"], random.choice(("victim", "victim2"))
    for method, path, body in (
        ("PUT", f"/containers/{name}/archive?path=/data", b"\0" * 1024),
        ("POST", f"/containers/{name}/exec", {"Cmd": ["touch", "/data/mark"]}),
        ("POST", f"/containers/{name}/attach?stdin=1&stream=1", None),
        ("POST", f"/containers/{name}/start", None),
    ):
        answer = gate.call(method, path, body)
        if path.endswith("/exec") and answer.status == 201:
            gate.call("POST", f"/exec/{answer.json()['Id']}/start", {"Detach": True})
    made = gate.call("POST", "/networks/create", {"Name": "race", "CheckDuplicate": True})
    ident = gate.call("POST", "/containers/create", {"Image": "busybox", "Cmd": ["true"], "HostConfig": {"NetworkMode": "race"}})
    if made.status == 201:
        gate.call("DELETE", f"/networks/{made.json()['Id']}")
    if ident.status == 201:
        gate.call("POST", f"/containers/{ident.json()['Id']}/start")
        gate.call("DELETE", f"/containers/{ident.json()['Id']}?force=1")


def floods(me):
    """Connections, heads and bodies that cost memory and time."""
    address, held = me.rig.gates["floods"].address, []
    try:
        for _ in range(200):
            conn = socket.socket(socket.AF_UNIX)
            held.append(conn)
            conn.settimeout(1)
            conn.connect(address)
            conn.sendall(b"GET /_ping HTTP/1.1\r\nHost: a\r\nX: " + b"x" * random.choice((10, 60_000)))
        gate = me.rig.gates["floods"]
        gate.call("POST", "/containers/create", {"Image": "x", "HostConfig": {"Binds": [f"v{n}:/v{n}" for n in range(30_000)]}})
        gate.call("POST", "/containers/create", {"Image": "x", "HostConfig": {"LogConfig": {"Config": {"tag": '{{pad "x" 400000000000 0}}'}}}})
        gate.call("POST", "/containers/create", {"Image": "x", "Labels": {f"l{n}": "x" * 100 for n in range(30_000)}})
        slow = Conn(address).send(b"POST /containers/create HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 4000000\r\n\r\n{")
        held.append(slow.sock)
        time.sleep(0.2)
    finally:
        for conn in held:
            conn.close()


def forms(me):
    """Whatever is no request, or one that is refused."""
    gate = me.rig.gates["forms"]
    for data in (
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + random.randbytes(200),
        random.randbytes(500),
        b"GET /" + b"%2e%2e/" * 100 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
        request("POST", "/containers/create", b'{"Image":"x","HostConfig":{"Privileged":true}}'),
        request("POST", "/session", headers=("Upgrade: h2c", "Connection: Upgrade")),
        request("POST", "/grpc", headers=("Upgrade: h2c", "Connection: Upgrade")) + random.randbytes(100),
        request("GET", "/events"),
        request("POST", "/build?networkmode=host", b"x", kind="application/x-tar"),
        request("POST", "/build", chunked=True, body=b"x" * 10_000, kind="application/x-tar"),
    ):
        conn = Conn(gate.address).send(data)
        conn.sock.settimeout(0.2)
        try:
            conn.sock.recv(1 << 16)
        except OSError:
            pass
        conn.sock.close()


def administrator(me):
    """Containers that nobody else may touch, made and removed."""
    ident = me.rig.admin(
        "POST",
        f"/containers/create?name={random.choice(('victim', 'victim2'))}",
        {"Image": "busybox", "Cmd": ["sleep", "60"], "StopTimeout": 0, "HostConfig": {"Binds": [f"{me.rig.work}/data:/data"], "NetworkMode": "none"}},
    ).json()["Id"]
    me.rig.admin("POST", f"/containers/{ident}/start")
    me.over.wait(0.5)
    me.rig.admin("DELETE", f"/containers/{ident}?force=1")


class User:
    def __init__(self, rig):
        self.folder = rig.work / "project"
        (self.folder / "config/cli-plugins").mkdir(parents=True)
        for plugin in COMPOSE.iterdir():
            (self.folder / "config/cli-plugins" / plugin.name).symlink_to(plugin)
        (self.folder / "compose.yaml").write_text(PROJECT)
        self.env = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "DOCKER_CONFIG": str(self.folder / "config"),
            "DOCKER_HOST": f"unix://{rig.gate_socket('honest')}",
        }

    def cycle(self):
        """Seconds from nothing to nothing."""
        started = time.monotonic()
        for words in (["up", "-d"], ["exec", "-T", "web", "echo", "here"], ["ps"], ["logs"], ["down", "-v"]):
            done = subprocess.run(
                [DOCKER, "compose", "--ansi", "never", *words], cwd=self.folder, env=self.env, capture_output=True, text=True, timeout=120
            )
            if done.returncode:
                raise SystemExit(f"the user's `compose {' '.join(words)}` failed: {done.stdout}{done.stderr}")
        return time.monotonic() - started


def kib(pid, field):
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1])
    raise SystemExit("the gateway is gone")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--engine", default="28", choices=list(rigs.ENGINES))
    parser.add_argument("--seconds", type=int, default=600)
    parser.add_argument("--cycles", type=int, default=5)
    args = parser.parse_args()
    if not DOCKER.exists():
        print("SKIPPED soak: no docker CLI 28 with compose; tests/e2e/setup.sh installs them")
        return 0
    rig = rigs.Rig(args.engine)
    try:
        rig.up(config)
        return soak(rig, args)
    finally:
        rig.down()


def soak(rig, args):
    (rig.work / "data").mkdir()
    gate, user = rig.processes[0].pid, User(rig)
    user.cycle()  # the first one is of caches
    alone = [user.cycle() for _ in range(args.cycles)]
    before = kib(gate, "VmRSS")
    attackers = [Attacker(rig, deed) for deed in (races, floods, forms, administrator)]
    for attacker in attackers:
        attacker.start()
    beside, end = [], time.monotonic() + args.seconds
    while time.monotonic() < end:
        beside.append(user.cycle())
    for attacker in attackers:
        attacker.over.set()
    for attacker in attackers:
        attacker.join()
    after, peak = kib(gate, "VmRSS"), kib(gate, "VmHWM")
    left = [p.name for p in (rig.work / "data").iterdir()]
    ratio = statistics.median(beside) / statistics.median(alone)
    print(f"engine {args.engine}, {args.seconds} s, {os.cpu_count()} processors for attackers, gateway, engine and user together")
    print("deeds: " + ", ".join(f"{a.name} {a.deeds}" for a in attackers))
    print(f"the user's cycle: alone {statistics.median(alone):.2f} s, beside them {statistics.median(beside):.2f} s, {len(beside)} cycles, none failed")
    print(f"ratio {ratio:.2f}, worst {max(beside) / statistics.median(alone):.2f}")
    print(f"gateway: {before} KiB before, {after} after, {peak} at most")
    failures = [f"an attack left {left}"] if left else []
    if rig.direct.call("GET", "/_ping").status != 200:
        failures.append("the engine does not answer")
    if after - before > MOST_GROWTH:
        failures.append(f"the gateway keeps {after - before} KiB")
    for failure in failures:
        print("FAIL " + failure)
    shutil.rmtree(user.folder, ignore_errors=True)
    print(f"{1 - bool(failures)} passed, {len(failures)} failed")
    return bool(failures)


if __name__ == "__main__":
    sys.exit(main())
