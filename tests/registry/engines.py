#!/usr/bin/env python3
"""dockerd pulls and pushes through a registry of dockgate: each engine in its own network namespace.

    engines.py [NAME]...     20.10, 26, 28, 28-containerd; default: all

Needs root, and what tests/e2e/setup.sh installs. Each step prints a line.
"""

import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

from rig import MANIFEST, Rig, Wrong, expect, until

E2E = pathlib.Path(__file__).resolve().parents[1] / "e2e"
CACHE = pathlib.Path(os.environ.get("DOCKGATE_E2E_CACHE") or pathlib.Path.home() / ".cache/dockgate-e2e")
FORKY, TRIXIE = CACHE / "suite-forky", CACHE / "suite-trixie"
CONTAINERD = {"features": {"containerd-snapshotter": True}}
ENGINES = {"20.10": ("-", {}), "26": (TRIXIE / "bin", {}), "28": (FORKY / "bin", {}), "28-containerd": (FORKY / "bin", CONTAINERD)}
INDEX = 180


def run(*command, **options):
    done = subprocess.run([str(one) for one in command], capture_output=True, text=True, check=False, **options)
    if done.returncode:
        raise Wrong(f"{' '.join(map(str, command))}: {done.stdout}{done.stderr}")
    return done.stdout + done.stderr


class Engine:
    def __init__(self, name, number, folder):
        self.label, (self.bin, config) = name, ENGINES[name]
        self.name, self.index, self.folder = f"dgreg{number}", str(INDEX + number), folder / f"e{number}"
        self.folder.mkdir()
        plugins = FORKY / "usr/libexec/docker/cli-plugins"
        (self.folder / "config").mkdir()
        if plugins.exists():
            (self.folder / "config/cli-plugins").symlink_to(plugins)
        extra = []
        if config:
            (self.folder / "daemon.json").write_text(json.dumps(config))
            extra = ["--config-file", self.folder / "daemon.json"]
        run(E2E / "engine.sh", "up", self.name, self.folder, self.index, self.bin, *extra, env=os.environ | {"ENGINE_MEMORY": "1"})

    def docker(self, *words, **options):
        cli = FORKY / "usr/bin/docker"
        env = os.environ | {"DOCKER_HOST": f"unix://{self.folder}/docker.sock", "DOCKER_CONFIG": str(self.folder / "config")}
        return run(cli if cli.exists() else "docker", *words, env=env, **options)

    def stop(self):
        subprocess.run([E2E / "engine.sh", "down", self.name, self.folder, self.index], check=False, capture_output=True)


def tour(engine, rig):
    within = ["ip", "netns", "exec", engine.name]
    upstream = rig.registry(within=within)
    gate = rig.gate({"team": upstream.url, "/": upstream.url}, within=within, tag_ttl="0s")
    image = f"{gate.host}/team/app:v1"
    run(E2E / "image.sh", engine.folder / "docker.sock")
    engine.docker("tag", "busybox:latest", image)
    pushed = engine.docker("push", image)
    # a push whose layers are known: it mounts them, or finds them there
    other = f"{gate.host}/team/other/deep:v2"
    engine.docker("tag", image, other)
    again = engine.docker("push", other)
    if "Mounted from" not in again and "already exists" not in again:
        raise Wrong(f"the layer is sent once more: {again}")
    for name in (image, other):
        engine.docker("rmi", name)
        engine.docker("pull", name)
    engine.docker("rmi", "-f", "busybox:latest", image, other)
    engine.docker("pull", image)
    engine.docker("rmi", "-f", image)
    engine.docker("pull", image)
    fetched = [json.loads(line)["http.request.uri"] for line in upstream.asked('"GET"', "blobs")]
    expect(sorted(fetched), sorted(set(fetched)), "GETs of blobs at the upstream: none twice")
    digest = next(word for word in pushed.split() if word.startswith("sha256:"))
    engine.docker("pull", f"{gate.host}/team/app@{digest}")
    expect(engine.docker("run", "--rm", "--network", "none", image, "echo", "runs").strip().endswith("runs"), True, "it runs")
    # what is not there is said as dockerd says it
    try:
        engine.docker("pull", f"{gate.host}/team/none:v1")
        raise Wrong("what is not there is pulled")
    except Wrong as error:
        if "manifest unknown" not in str(error) and "not found" not in str(error):
            raise
    # multi-arch: an index is made by the CLI of what was pushed
    if engine.label != "20.10":
        index = f"{gate.host}/team/app:all"
        run(*within, "skopeo", "copy", "--all", "--src-tls-verify=false", "--dest-tls-verify=false",
            f"docker://{image}", f"docker://{index}")
        engine.docker("pull", index)
        build(engine, gate)
    for word in ("panicked", "ERROR"):
        if word in gate.text():
            raise Wrong(f"the log of dockgate: {gate.text()[-800:]}")


def build(engine, gate):
    """What BuildKit pushes, and keeps its cache by."""
    context = engine.folder / "context"
    context.mkdir()
    (context / "Dockerfile").write_text(f"FROM {gate.host}/team/app:v1\nRUN echo made > /made\n")
    image, cache = f"{gate.host}/team/built:v1", f"{gate.host}/team/cache:v1"
    more = []
    if engine.label == "28-containerd":
        more = [f"--cache-to=type=registry,ref={cache},mode=max", f"--cache-from=type=registry,ref={cache}"]
    engine.docker("buildx", "build", "--push", "-t", image, *more, context)
    engine.docker("rmi", "-f", image)
    engine.docker("pull", image)
    made = engine.docker("run", "--rm", "--network", "none", image, "cat", "/made")
    expect(made.strip().endswith("made"), True, "what was built, pushed and pulled")
    if more:
        engine.docker("builder", "prune", "-af")
        again = engine.docker("buildx", "build", "--progress=plain", "-t", image, *more, context)
        expect("CACHED" in again, True, "the cache at the registry is used")


def main():
    wanted = sys.argv[1:] or list(ENGINES)
    failed = 0
    for number, name in enumerate(wanted, 1):
        if ENGINES[name][0] != "-" and not pathlib.Path(ENGINES[name][0]).exists():
            print(f"SKIPPED {name}: tests/e2e/setup.sh has not unpacked it", flush=True)
            continue
        # short: sockets lie below it
        folder = pathlib.Path(tempfile.mkdtemp(prefix="dgre."))
        engine = None
        try:
            engine = Engine(name, number, folder)
            with Rig(folder) as rig:
                tour(engine, rig)
            print(f"ok {name}", flush=True)
        except Exception as error:
            failed += 1
            print(f"FAIL {name}: {error}", flush=True)
        finally:
            if engine:
                engine.stop()
            shutil.rmtree(folder, ignore_errors=True)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
