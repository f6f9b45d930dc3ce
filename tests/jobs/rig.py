"""What the campaign and the figures stand on: an engine of their own, a gateway in front of it, and clients of both.

A client in a job is a child of ours in the cgroup of the job's container: by that the gateway knows it.
"""

import contextlib
import errno
import fcntl
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.parse

REPO = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPO / "tests/lib"))

from rawhttp import Conn  # noqa: E402

E2E = REPO / "tests/e2e"
CACHE = pathlib.Path(
    os.environ.get("DOCKGATE_E2E_CACHE")
    or pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "dockgate-e2e"
)
DOCKGATE = os.environ.get("DOCKGATE") or str(REPO / "target/release/dockgate")
FIRST = int(os.environ.get("JOBS_INDEX") or 80)
ENGINES = {"20.10": (FIRST, "-"), "28": (FIRST + 1, str(CACHE / "suite-forky/bin"))}
# what only something that never comes takes
PATIENCE = 180
KINDS = ("/containers/json?all=1", "/networks", "/volumes", "/images/json")


def missing(engine):
    """Why there is no such engine here."""
    binary = pathlib.Path(ENGINES[engine][1]) / "dockerd"
    if engine != "20.10" and not binary.exists():
        return f"SKIPPED engine {engine}: no {binary}; tests/e2e/setup.sh installs it"
    return None


def call(address, method, path, body=None, seconds=60, kind="application/json", version="/v1.41"):
    """An answer; status 0 where there is none, whatever the reason is."""
    data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    head = f"{method} {version}{path} HTTP/1.1\r\nHost: engine\r\nContent-Type: {kind}\r\nContent-Length: {len(data)}\r\n\r\n"
    try:
        with Conn(str(address), seconds=seconds) as conn:
            return conn.send(head.encode() + data).answer(method)
    except (OSError, EOFError, ValueError):
        return Conn.Answer()


def until(good, what, seconds=PATIENCE):
    """Until it is so; what never comes is said with what was there last."""
    end = time.monotonic() + seconds
    while True:
        wrong = good()
        if not wrong:
            return
        if time.monotonic() > end:
            raise AssertionError(f"{what}: {wrong}")
        time.sleep(0.05)


def filters(**by):
    return urllib.parse.quote(json.dumps(by))


class Child:
    """Something done beside us, in the cgroup of a container where that is given; what comes of it is nobody's business."""

    def __init__(self, deed, cgroup_of=None):
        self.pid = os.fork()
        if self.pid:
            return
        code = 1
        try:
            signal.alarm(PATIENCE)
            if cgroup_of:
                enter(cgroup_of)
            deed()
            code = 0
        except (OSError, ValueError, KeyError, AssertionError) as error:
            if os.environ.get("JOBS_DEBUG"):
                print(f"  (client: {error!r})", file=sys.stderr)
        finally:
            sys.stdout.flush()
            os._exit(code)

    def wait(self):
        if self.pid:
            self.code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
            self.pid = None
        return self.code


def enter(pid):
    """The cgroups of a process."""
    for line in pathlib.Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        name = controllers.removeprefix("name=")
        for root in (pathlib.Path("/sys/fs/cgroup") / name, pathlib.Path("/sys/fs/cgroup/unified"), pathlib.Path("/sys/fs/cgroup")):
            procs = root / path.lstrip("/") / "cgroup.procs"
            if procs.exists() and path != "/":
                procs.write_text(str(os.getpid()))
                break


class Rig:
    def __init__(self, engine, ledger="8m"):
        self.index, self.bin = ENGINES[engine]
        # one run of an engine at a time, for the names are fixed
        CACHE.mkdir(parents=True, exist_ok=True)
        self.lock = open(CACHE / f"jobs-{self.index}.lock", "a")
        fcntl.flock(self.lock, fcntl.LOCK_EX)
        self.ledger = ledger  # the size of its disk: small, for it is to be full at times
        self.work = pathlib.Path(tempfile.mkdtemp(prefix="dgj.", dir="/tmp"))
        self.dir, self.state, self.jobs_dir = self.work / "e", self.work / "state", self.work / "jobs"
        self.socket, self.admin_socket = self.dir / "docker.sock", self.work / "admin.sock"
        self.gateway, self.log = None, self.work / "gateway.log"

    def up(self):
        self.dir.mkdir()
        (self.dir / "daemon.json").write_text(json.dumps({"iptables": False, "shutdown-timeout": 1}))
        self.engine_sh("up", self.bin)
        subprocess.run([E2E / "image.sh", self.socket], check=True, stdout=subprocess.DEVNULL)
        self.state.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"mode=700,size={self.ledger}", "dockgate-jobs", self.state], check=True)
        (self.work / "g.toml").write_text(self.config())
        self.serve()

    def config(self):
        listeners = "".join(
            f'[[listener]]\nname = "{name}"\nurl = "unix://{self.listener(name)}"\npolicies = ["conservative", "{name}"]\n'
            f'[policy.{name}]\nkind = "temporary-listener"\nwhen = {{ label = "type=build" }}\npolicies = ["conservative"]\n'
            f'namespace = "inside"\n{more}'
            for name, more in (("stays", ""), ("dies", 'ends = "die"\ngrace = "1s"\n'))
        )
        return (
            f'state_dir = "{self.state}"\ndrain_timeout = "2s"\n[jobs]\ndir = "{self.jobs_dir}"\n[engine]\nurl = "unix://{self.socket}"\n'
            f'[admin]\nlisten = ["unix://{self.admin_socket}"]\n{listeners}'
            f'[policy.inside]\nkind = "namespace"\nname = "{{listener}}"\nnetwork_pool = "10.216.0.0/16"\nshared = ["docker.io/library/busybox"]\n'
        )

    def listener(self, name):
        return self.work / f"{name}.sock"

    # ---- what is started, ended and killed ----

    def engine_sh(self, action, *more):
        done = subprocess.run(
            [E2E / "engine.sh", action, f"dgj{self.index}", self.dir, str(self.index), *more],
            env={**os.environ, "ENGINE_MEMORY": "1"},
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise SystemExit(f"engine.sh {action}: {done.stderr.strip()}")

    def engine_pid(self):
        try:
            return int((self.dir / "pid").read_text())
        except (OSError, ValueError):
            return None

    def signal_engine(self, number):
        with contextlib.suppress(ProcessLookupError, TypeError):
            os.kill(self.engine_pid(), number)

    def engine_there(self):
        return call(self.socket, "GET", "/_ping", seconds=5).status == 200

    def engine_back(self):
        """Whatever has become of it."""
        self.signal_engine(signal.SIGCONT)
        for _ in range(20):
            if self.engine_there():
                return
            if not self.engine_pid() or not pathlib.Path(f"/proc/{self.engine_pid()}").exists():
                break
            time.sleep(0.1)
        self.engine_anew()

    def engine_anew(self):
        """Ended, with what a kill has left of it, and started; on a machine that is busy its containerd may be too late."""
        for tries in range(5):
            self.engine_sh("stop")
            try:
                return self.engine_sh("start", self.bin)
            except SystemExit:
                if tries == 4:
                    raise

    def command(self):
        return ["setpriv", "--pdeathsig", "KILL", DOCKGATE, "serve", "-c", self.work / "g.toml"]

    def serve(self):
        with open(self.log, "ab") as log:
            self.gateway = subprocess.Popen(
                self.command(),
                stdout=subprocess.DEVNULL,
                stderr=log,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )

    def kill_gateway(self, number=signal.SIGKILL):
        self.gateway.send_signal(number)
        self.gateway.wait(60)

    def gateway_back(self):
        if self.gateway.poll() is not None:
            self.serve()
        for name in ("stays", "dies"):
            until(lambda: self.gateway.poll() or call(self.listener(name), "GET", "/_ping", seconds=5).status != 200, "the gateway answers")

    def fill(self):
        """The disk of the ledger, to its last byte."""
        with contextlib.suppress(OSError), open(self.state / "filler", "wb", buffering=0) as file:
            for size in (65536, 4096, 1):
                with contextlib.suppress(OSError):
                    while file.write(b"x" * size):
                        pass

    def empty(self):
        (self.state / "filler").unlink(missing_ok=True)

    def down(self):
        if self.gateway and self.gateway.poll() is None:
            self.kill_gateway()
        with contextlib.suppress(SystemExit):
            self.signal_engine(signal.SIGCONT)
            self.engine_sh("down")
        for _ in range(20):
            if subprocess.run(["umount", self.state], capture_output=True).returncode or not os.path.ismount(self.state):
                break
        shutil.rmtree(self.work, ignore_errors=True)

    # ---- what is there ----

    def engine(self, method, path, body=None, **more):
        return call(self.socket, method, path, body, **more)

    def admin(self, method, path):
        return call(self.admin_socket, method, path, version="")

    def things(self):
        """All that the engine has, by names that stay the same."""
        answers = [self.engine("GET", path) for path in KINDS]
        if any(answer.status != 200 for answer in answers):
            return None
        containers, networks, volumes, images = (answer.json() for answer in answers)
        found = {f"container {sorted(one['Names'] or [one['Id']])[0]}" for one in containers}
        found |= {f"network {one['Name']}" for one in networks}
        found |= {f"volume {one['Name']}" for one in volumes["Volumes"] or []}
        return found | {f"image {name}" for one in images for name in one["RepoTags"] or [] if name != "<none>:<none>"}

    def all_jobs(self):
        answer = self.admin("GET", "/jobs")
        return answer.json()["jobs"] if answer.status == 200 else None

    def job_of(self, container):
        """Its id, and the process of its container."""
        of = self.engine("GET", f"/containers/{container}/json").json()
        return of["Config"]["Labels"]["io.dockgate.job"], of["State"]["Pid"]

    def job_socket(self, job):
        return self.jobs_dir / job / "docker.sock"

    def records(self):
        """The ledger, by id; what cannot be read is said."""
        found, folder = {}, self.state / "jobs"
        for file in folder.iterdir() if folder.exists() else ():
            try:
                found[file.stem] = json.loads(file.read_text())
            except (OSError, ValueError) as error:
                if getattr(error, "errno", None) != errno.ENOENT:
                    found[file.name] = {"wrong": str(error)}
        return found


def create(address, name, more=None, seconds=60):
    body = {"Image": "busybox", "Cmd": ["sleep", "9000"], "StopTimeout": 0, **(more or {})}
    return call(address, "POST", f"/containers/create?name={name}", body, seconds)


def start(address, name):
    return call(address, "POST", f"/containers/{name}/start").status
