#!/usr/bin/env python3
"""`dockgate jobs open`: a socket for a process of the host, a namespace behind it, and nothing left when the process ends.

opened.py [--engine 28|20.10]
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).parent))

import rig as rigs  # noqa: E402
from rig import Child, call, create, start, until  # noqa: E402

# a user that is not root, whatever it is called here
OTHER = 1000


class Tree:
    """A process that jobs are for."""

    def __init__(self, *before):
        self.process = subprocess.Popen([*before, "sleep", "9000"])
        self.pid = self.process.pid

    def end(self):
        self.process.kill()
        self.process.wait()


def other(*words):
    return ["setpriv", "--reuid", str(OTHER), "--clear-groups", *words]


def check(rig):
    def jobs(*words):
        return subprocess.run([rigs.DOCKGATE, "jobs", *words, "--socket", f"unix://{rig.admin_socket}"], capture_output=True, text=True)

    def opened(name, tree, *more):
        done = jobs("open", "--name", name, "--for", str(tree.pid), "--policy", "stays", *more)
        assert done.returncode == 0, done
        return done.stdout.strip()

    def refused(words, *more):
        done = jobs("open", *more)
        assert done.returncode == 1 and words in done.stderr, done

    def names(socket):
        return [one["Names"] for one in call(socket, "GET", "/containers/json?all=1").json()]

    def status_as_other(socket):
        words = other("curl", "-s", "-m", "20", "-o", "/dev/null", "-w", "%{http_code}", "--unix-socket", socket, "http://e/v1.41/containers/json")
        return subprocess.run(words, capture_output=True, text=True).stdout

    before = rig.things()
    tree = Tree()
    refused("several policies", "--name", "tree", "--for", str(tree.pid))
    refused("no listener has a policy", "--name", "tree", "--for", str(tree.pid), "--policy", "inside")
    refused("no process", "--name", "tree", "--for", str(2**22 + 1), "--policy", "stays")
    socket = opened("tree", tree).removeprefix("unix://")
    refused("has that name already", "--name", "tree", "--for", str(tree.pid), "--policy", "stays")
    for name, binds in (("web", []), ("inner", ["/var/run/docker.sock:/var/run/docker.sock"])):
        assert create(socket, name, {"HostConfig": {"Binds": binds}}).status == 201 and start(socket, name) == 204
    assert call(socket, "POST", "/volumes/create", {"Name": "data"}).status == 201
    assert names(socket) == [["/inner"], ["/web"]], names(socket)
    inner = next(thing.split("/")[1] for thing in rig.things() if thing.endswith("-inner"))

    def inside():
        assert call(socket, "GET", "/containers/json").status == 200

    def foreign():
        assert call(socket, "GET", "/containers/json").status == 403

    assert Child(inside, rig.engine("GET", f"/containers/{inner}/json").json()["State"]["Pid"]).wait() == 0
    create(rig.socket, "foreign")
    start(rig.socket, "foreign")
    assert Child(foreign, rig.engine("GET", "/containers/foreign/json").json()["State"]["Pid"]).wait() == 0, "of another container"
    rig.engine("DELETE", "/containers/foreign?force=1")
    print("ok: what a process makes is its own, and its containers may have the socket")

    rig.kill_gateway()
    rig.gateway_back()
    assert names(socket) == [["/inner"], ["/web"]]
    print("ok: it goes on when the gateway was killed")

    another = Tree(*other())
    report = json.loads(opened("tree", another, "--json"))
    assert (report["user"], report["pid"], report["name"]) == (str(OTHER), another.pid, "tree"), report
    os.chmod(rig.work, 0o711)
    assert status_as_other(report["socket"]) == "200" and status_as_other(socket) == "000"
    assert call(report["socket"], "GET", "/containers/json").status == 403, "root is not that user"
    print("ok: only its own user is served")

    tree.end()
    another.end()
    until(lambda: [job for job in rig.all_jobs() if job["state"] != "gone"], "jobs end with their processes")
    until(lambda: rig.things() ^ before, "nothing is left")
    print("ok: nothing is left when the process has ended")

    tree = Tree()
    socket = opened("tree", tree).removeprefix("unix://")
    create(socket, "web")
    rig.kill_gateway()
    tree.end()
    rig.gateway_back()
    until(lambda: rig.things() ^ before, "nothing is left of a process that ended while no gateway was there")
    until(lambda: os.listdir(f"{rig.jobs_dir}-open"), "no folder is left")
    print("ok: nor when it ended while no gateway was there")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--engine", default="28", choices=list(rigs.ENGINES))
    args = parser.parse_args()
    if why := rigs.missing(args.engine):
        print(why)
        return 0
    rig = rigs.Rig(args.engine)
    try:
        rig.up()
        rig.gateway_back()
        check(rig)
    except AssertionError:
        print("  gateway: " + "\n  ".join(rig.log.read_text(errors="replace").splitlines()[-30:]))
        raise
    finally:
        rig.down()
    return 0


if __name__ == "__main__":
    sys.exit(main())
