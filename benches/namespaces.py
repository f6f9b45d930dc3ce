#!/usr/bin/env python3
"""What `namespace` costs in front of a real engine: lists, inspects, and events to many. Needs root and an engine of its own.

namespaces.py --engine SOCKET [--quick] [--only lists|inspects|events]

SOCKET is dockerd's, with an image `busybox` and nothing else (tests/e2e/engine.sh, tests/e2e/image.sh). DOCKGATE is the binary,
target/release/dockgate without it. Ten namespaces get 200 containers each, which never run. Each row is measured beside what it
is compared with, round by round: the engine's own socket, or a listener of the same process without policies. Medians; in
brackets the least and the most.
"""

import argparse
import concurrent.futures
import http.client
import json
import os
import pathlib
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse

HERE = pathlib.Path(__file__).resolve().parent
TICK = os.sysconf("SC_CLK_TCK")
OF_LIST, NAMESPACES, LISTENERS, PER_SECOND = 10, 50, 200, 100


class Unix(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("docker", timeout=120)
        self.path = str(path)

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)

    def ask(self, method, path, body=None):
        lines = {"Content-Type": "application/json"} if body is not None else {}
        self.request(method, path, None if body is None else json.dumps(body), lines)
        answer = self.getresponse()
        said = answer.read()
        if answer.status >= 400:
            raise RuntimeError(f"{method} {path}: {answer.status} {said[:200]}")
        return said


class Gate:
    """One listener a namespace, and one without policies."""

    def __init__(self, folder, engine):
        self.folder, self.made = folder, {}
        (folder / "key").write_bytes(bytes(range(32)))
        text = [f'[engine]\nurl = "unix://{engine}"\n[log]\naccess = "off"\n']
        for name in [f"n{number}" for number in range(NAMESPACES)] + ["plain"]:
            policies = "" if name == "plain" else '"t"'
            text.append(f'[[listener]]\nname = "{name}"\nurl = "unix://{folder}/{name}.sock"\npolicies = [{policies}]\n')
        text.append('[policy.t]\nkind = "namespace"\nname = "{listener}"\nkey = "key"\nshared = ["docker.io/library/busybox"]\n')
        (folder / "g.toml").write_text("".join(text))
        binary = os.environ.get("DOCKGATE", str(HERE.parent / "target/release/dockgate"))
        self.log = open(folder / "log", "w+")
        self.process = subprocess.Popen([binary, "serve", "-c", folder / "g.toml"], stderr=self.log, stdout=self.log)
        deadline = time.monotonic() + 60
        while (folder / "log").read_text().count("listening on") < NAMESPACES + 1:
            if self.process.poll() is not None or time.monotonic() > deadline:
                sys.exit(f"the gate does not start: {(folder / 'log').read_text()}")
            time.sleep(0.05)

    def at(self, name):
        return Unix(self.folder / f"{name}.sock")

    def cpu(self):
        """Seconds, user and system."""
        stat = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(stat[11]) + int(stat[12])) / TICK


def median(values):
    return f"{statistics.median(values):.3g} ({min(values):.3g}…{max(values):.3g})"


def row(name, figure, bar, ok):
    print(f"| {name} | {figure} | {bar} | {'ok' if ok else '**MISSED**'} |", flush=True)


def timed(conn, path, times):
    start = time.perf_counter()
    for _ in range(times):
        conn.ask("GET", path)
    return (time.perf_counter() - start) / times


def fill(gate, each):
    """Containers in the namespaces of the lists, through the gate, by name and id."""

    def one(number):
        conn, made = gate.at(f"n{number}"), gate.made.setdefault(f"n{number}", {})
        for index in range(each):
            body = {"Image": "busybox", "Cmd": ["true"], "HostConfig": {"NetworkMode": "none"}}
            made[f"c{index}-x"] = json.loads(conn.ask("POST", f"/containers/create?name=c{index}-x", body))["Id"]

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        list(pool.map(one, range(OF_LIST)))
    return gate.made["n0"]


def lists(gate, engine, rounds, each):
    gated, direct = gate.at("n0"), Unix(engine)
    shown = json.loads(gated.ask("GET", "/containers/json?all=1"))
    ids = {one["Id"] for one in shown}
    full = json.loads(direct.ask("GET", "/containers/json?all=1"))
    own = next(one["Names"][0] for one in full if one["Id"] in ids)
    prefix = own.lstrip("/").split("-")[0] + "-"
    assert len(shown) == each and len(full) == each * OF_LIST, (len(shown), len(full))
    filters = urllib.parse.quote(json.dumps({"name": [f"^/?{prefix}"]}))
    ratios, cpus = [], []
    for _ in range(rounds):
        engines = timed(direct, f"/containers/json?all=1&filters={filters}", 5)
        before = gate.cpu()
        ratios.append(timed(gated, "/containers/json?all=1", 5) / engines)
        cpus.append((gate.cpu() - before) / 5 * 1e3)
    bar = 1.5
    row(f"list of {each} of {each * OF_LIST}, time against the engine's own list of them", median(ratios), f"≤ {bar}",
        statistics.median(ratios) <= bar)
    row("the same, CPU ms of the gate each", median(cpus), "", True)


def inspects(gate, made, rounds, times):
    name, number = next(iter(made.items()))
    plain, gated = gate.at("plain"), gate.at("n0")

    def cpu(conn, text):
        before = gate.cpu()
        timed(conn, f"/containers/{text}/json", times)
        return (gate.cpu() - before) / times * 1e6

    gated.ask("GET", f"/containers/{number}/json")
    time.sleep(3)  # the first question by an id begins the watch
    kinds = [("by name", name), ("by id", number), ("by 12 digits", number[:12])]
    added = {kind: [] for kind, _ in kinds}
    for _ in range(rounds):
        without = cpu(plain, number)
        for kind, text in kinds:
            added[kind].append(cpu(gated, text) - without)
    for kind, values in added.items():
        row(f"inspect {kind}, CPU µs more than without a policy", median(values), "≤ 80",
            statistics.median(values) <= 80)


def events(gate, engine, seconds):
    """Volumes are made and removed; each listener is to hear of its namespace's, in their order."""
    figures, prefixes = {}, prefixes_of(gate, engine)
    for kind in ("plain", "namespace"):
        names = [f"n{number % NAMESPACES}" if kind == "namespace" else "plain" for number in range(LISTENERS)]
        heard, ready, threads = [[] for _ in names], threading.Barrier(LISTENERS + 1), []
        time.sleep(2)  # with an end, the engine tells of what has been too
        begin = int(time.time())
        stop = begin + seconds + 6

        def listen(index, name, heard=heard, ready=ready, begin=begin, stop=stop):
            conn = gate.at(name)
            conn.request("GET", f"/events?since={begin}&until={stop}&filters=" + urllib.parse.quote('{"type":["volume"]}'))
            answer = conn.getresponse()
            ready.wait()
            heard[index].extend(answer.read().splitlines())

        for index, name in enumerate(names):
            threads.append(threading.Thread(target=listen, args=(index, name)))
            threads[-1].start()
        ready.wait()
        idle, start, sent = gate.cpu(), time.monotonic(), 0
        direct = Unix(engine)
        while sent < PER_SECOND * seconds:
            name = f"{prefixes[sent // 2 % NAMESPACES]}v{sent}"
            direct.ask("POST", "/volumes/create", {"Name": name})
            direct.ask("DELETE", f"/volumes/{name}")
            sent += 2
            time.sleep(max(0.0, start + sent / PER_SECOND - time.monotonic()))
        took = time.monotonic() - start
        figures[kind] = (gate.cpu() - idle) / took * 100
        for thread in threads:
            thread.join()
        for index, got in enumerate(heard):
            told = [json.loads(line) for line in got if line]
            times = [one["timeNano"] for one in told]
            wanted = sent if kind == "plain" else len(range(index % NAMESPACES, sent // 2, NAMESPACES)) * 2
            assert times == sorted(times) and len(told) == wanted, (kind, index, len(told), wanted)
    row(f"events to {LISTENERS} of {NAMESPACES} namespaces, {PER_SECOND}/s, each in order: % of a core", f"{figures['namespace']:.3g}", "≤ 10",
        figures["namespace"] <= 10)
    row("the same to as many without a policy, all events to each: % of a core", f"{figures['plain']:.3g}", "", True)


def prefixes_of(gate, engine):
    """Of each namespace, by a volume that is made in it."""
    direct, out = Unix(engine), []
    for number in range(NAMESPACES):
        gate.at(f"n{number}").ask("POST", "/volumes/create", {"Name": f"of{number}-x"})
        all_of = json.loads(direct.ask("GET", "/volumes"))["Volumes"]
        found = next(one["Name"] for one in all_of if one["Name"].endswith(f"-of{number}-x"))
        direct.ask("DELETE", f"/volumes/{found}")
        out.append(found[: -len(f"of{number}-x")])
    return out


def main():
    parser = argparse.ArgumentParser(prog="namespaces.py")
    parser.add_argument("--engine", required=True)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", choices=["lists", "inspects", "events"])
    args = parser.parse_args()
    rounds, each, seconds = (3, 200, 5) if args.quick else (7, 200, 20)
    with tempfile.TemporaryDirectory(prefix="dockgate-bench-namespaces.") as folder:
        gate = Gate(pathlib.Path(folder), args.engine)
        try:
            made = {} if args.only == "events" else fill(gate, each)
            print("| metric | figure | bar | |\n|---|--:|--:|---|")
            if args.only in (None, "lists"):
                lists(gate, args.engine, rounds, each)
            if args.only in (None, "inspects"):
                inspects(gate, made, rounds, 500 if args.quick else 2000)
            if args.only in (None, "events"):
                events(gate, args.engine, seconds)
        finally:
            gate.process.terminate()
            gate.process.wait()
            direct = Unix(args.engine)
            for number in (number for made in gate.made.values() for number in made.values()):
                direct.ask("DELETE", f"/containers/{number}?force=1&v=1")


if __name__ == "__main__":
    main()
