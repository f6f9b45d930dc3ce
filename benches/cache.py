#!/usr/bin/env python3
"""The caching proxy beside Debian's nginx and squid: warm hits, then the probes of a cold object. Part of `make bench`.

cache.py [--quick] [--only NAME]

wrk with one thread and 16 connections; the proxies take turns, round by round, and the order turns too. nginx has two
workers, as dockgate has one a core of this machine's two. The ratio is to nginx in the same round.
"""

import argparse
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True
HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "tests/cache"))

import probes  # noqa: E402
from lib import subjects  # noqa: E402
from lib.measure import Origin, fetch, right  # noqa: E402

SMALL, LARGE = 10 << 10, 10 << 20
# name, scheme, size of the object, a connection each, bar
ROWS = [
    ("cache small http", "http", SMALL, False, 1.0),
    ("cache small https", "https", SMALL, False, 1.0),
    ("cache large http", "http", LARGE, False, 0.9),
    ("cache large https", "https", LARGE, False, 1.0),
    ("cache connection each http", "http", SMALL, True, 1.0),
    ("cache connection each https", "https", SMALL, True, 1.0),
]
BAR_RESIDENT = 60.0


def main():
    parser = argparse.ArgumentParser(prog="cache.py")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", default="")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--seconds", type=int)
    parser.add_argument("--subject", choices=subjects.NAMES, action="append")
    args = parser.parse_args()
    rounds = args.rounds or (3 if args.quick else 5)
    seconds = args.seconds or (2 if args.quick else 3)
    wanted = [row for row in ROWS if args.only in row[0]]
    notes, missed = [], 0
    with Origin() as origin, tempfile.TemporaryDirectory(prefix="dockgate-bench-cache.") as folder:
        os.chmod(folder, 0o755)
        running = {}
        try:
            for name in args.subject or subjects.NAMES:
                try:
                    running[name] = warm(subjects.start(name, pathlib.Path(folder, name), origin.port))
                except (subjects.Missing, RuntimeError) as error:
                    notes.append(f"{name}: {error}")
            if wanted:
                print("| metric | " + " | ".join(subjects.NAMES) + " | ratio or figure | bar | |")
                print("|---|" + "--:|" * len(subjects.NAMES) + "--:|---|---|", flush=True)
            for row in wanted:
                missed += one(row, running, rounds, seconds, notes)
            if wanted and args.only in "cache resident":
                missed += memory(running)
        finally:
            for subject in running.values():
                subject.stop()
    print(f"\n{missed} bars missed")
    for note in notes:
        print(f"- not run: {note}")
    if args.only in "cache probes" or args.only == "":
        print("\nA cold object of 16 MiB, from an origin that sends 4 MiB/s:\n", flush=True)
        probes.main(["--markdown"] + [word for name in args.subject or [] for word in ("--subject", name)])
    return 1 if notes else 0


def target(size):
    return f"/bench/{size}?size={size}"


def warm(subject):
    for port in (subject.http,):
        for size in (SMALL, LARGE):
            for _ in range(3):
                answer = fetch(port, target(size), headers={"Host": f"localhost:{port}"})
            if not right(answer, f"/bench/{size}", size):
                raise RuntimeError(f"no right answer for {size} bytes: {answer.status} {answer.error}\n{subject.tail()}")
    return subject


def one(row, running, rounds, seconds, notes):
    name, scheme, size, close, bar = row
    results = {name: [] for name in running}
    for number in range(rounds):
        order = list(running.values())
        for subject in order if number % 2 == 0 else order[::-1]:
            try:
                results[subject.name].append(load(subject, scheme, size, close, seconds))
            except RuntimeError as error:
                notes.append(f"{name}, {subject.name}: {error}")
    cells = []
    for subject in subjects.NAMES:
        got = results.get(subject)
        cells.append(cell(got, size) if got else "–")
    ratios = []
    if len(results.get("nginx", ())) == len(results.get("dockgate", ())) > 0:
        ratios = [d["speed"] / n["speed"] for d, n in zip(results["dockgate"], results["nginx"])]
    figure, verdict, missed = "–", "", 0
    if ratios:
        middle = statistics.median(ratios)
        figure = f"{middle:.2f} ({min(ratios):.2f}…{max(ratios):.2f})"
        missed = middle < bar
        verdict = "**MISSED**" if missed else "ok"
    unit = "MB/s" if size == LARGE else "requests/s"
    each = "MB" if size == LARGE else "each"
    print(f"| {name}: {unit} (CPU µs of the proxy {each}) | {' | '.join(cells)} | {figure} | ≥ {bar:g} | {verdict} |", flush=True)
    return int(missed)


def cell(results, size):
    speed = statistics.median(one["speed"] for one in results)
    return f"{speed:.0f} ({statistics.median(one['cpu'] for one in results):.0f})"


def load(subject, scheme, size, close, seconds):
    """One run of wrk: speed (requests or MB a second), cpu (µs of the proxy for each)."""
    port = subject.https if scheme == "https" else subject.http
    words = ["wrk", "-t1", "-c16", f"-d{seconds}s", "--timeout", "10s", "-s", str(HERE / "cache.lua")]
    words += ["-H", "Connection: close"] * close + [f"{scheme}://localhost:{port}{target(size)}"]
    before = cpu_seconds(subject)
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    used = cpu_seconds(subject) - before
    line = next((line for line in done.stdout.splitlines() if line.startswith("counted ")), None)
    if line is None:
        raise RuntimeError(f"wrk: {done.stdout[-300:]}{done.stderr[-300:]}")
    requests, count, microseconds, errors = map(int, line.split()[1:])
    # squid ends a connection after its answer with an abort now and then, which wrk calls a read error
    if count == 0 or errors > 1 + requests / 100:
        raise RuntimeError(f"{errors} errors in {requests} requests")
    units = count / 1e6 if size == LARGE else requests
    return {"speed": units / (microseconds / 1e6), "cpu": used * 1e6 / units}


def cpu_seconds(subject):
    total = 0
    for pid in subjects.family(subject.process.pid):
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / os.sysconf("SC_CLK_TCK")


def memory(running):
    figures = {name: subject.resident() for name, subject in running.items()}
    cells = [f"{figures[name]:.1f}" if name in figures else "–" for name in subjects.NAMES]
    own = figures.get("dockgate")
    missed = own is not None and own > BAR_RESIDENT
    verdict = "" if own is None else "**MISSED**" if missed else "ok"
    figure = "–" if own is None else f"{own:.1f} MB"
    print(f"| cache resident after the run, MB | {' | '.join(cells)} | {figure} | ≤ {BAR_RESIDENT:g} MB | {verdict} |")
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
