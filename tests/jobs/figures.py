#!/usr/bin/env python3
"""What jobs cost, measured beside the engine's own in the same run: for docs/benchmarks.md.

figures.py [--engine 28|20.10] [--creates 40] [--jobs 500] [--sequence 70]

It fails where a bound is passed that does not depend on the machine: of memory, of descriptors, of what is left in the engine. Times are
printed with their ratios, and judged by people.
"""

import argparse
import os
import pathlib
import statistics
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).parent))

import rig as rigs  # noqa: E402
from campaign import work  # noqa: E402
from rig import Child, create, start, until  # noqa: E402

BUILD = {"Labels": {"type": "build"}}
# KiB that 500 open jobs, and those that are over, may take
MOST_OPEN = 30 * 1024
MOST_AFTER = 8 * 1024


def timed(deed):
    begun = time.monotonic()
    deed()
    return (time.monotonic() - begun) * 1000


def median(of):
    return statistics.median(of)


def kib(pid):
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS:"))


def descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def remove(rig, name):
    until(lambda: rig.engine("DELETE", f"/containers/{name}?force=1&v=1").status not in (204, 404), f"{name} is removed")


def over(rig):
    until(lambda: [job["id"] for job in rig.all_jobs() or [{"state": "?", "id": "?"}] if job["state"] != "gone"], "all jobs are over")


def creates(rig, count):
    """One after the other in turns, so that what else the machine does falls on all of them."""
    took = {"engine": [], "gateway": [], "job": []}
    for n in range(count):
        for kind, address, more in (("engine", rig.socket, {}), ("gateway", rig.listener("stays"), {}), ("job", rig.listener("stays"), BUILD)):
            took[kind].append(timed(lambda: create(address, f"{kind}{n}", more)))
        for kind in took:
            remove(rig, f"{kind}{n}")
    over(rig)
    engine, gateway, job = (median(took[kind]) for kind in ("engine", "gateway", "job"))
    print(f"create, ms (median of {count}): engine {engine:.1f}, through the gateway {gateway:.1f}, with a job {job:.1f}")
    print(f"  a job adds {job - engine:.1f} ms to the engine's own ({job / engine:.2f} times), {job - gateway:.1f} to the gateway's")


def ends(rig, rounds=3):
    """From the destroy of a job's container to nothing left; beside it, what the engine takes for ten containers alone."""
    took, own = [], []
    for n in range(rounds):
        before = rig.things()
        create(rig.listener("stays"), "owner", BUILD)
        start(rig.listener("stays"), "owner")
        job, pid = rig.job_of("owner")
        assert Child(lambda: work(rig.job_socket(job), ["volume", "network", *["run"] * 10, "tag"]), pid).wait() == 0
        made = rig.things() - before
        assert sum(thing.startswith("container") for thing in made) == 11, made
        remove(rig, "owner")
        took.append(timed(lambda: until(lambda: rig.things() ^ before, "nothing is left")))
        over(rig)
        for at in range(10):
            create(rig.socket, f"own{at}")
            start(rig.socket, f"own{at}")
        own.append(timed(lambda: [remove(rig, f"own{at}") for at in range(10)]))
    print(f"end of a job with ten running containers, ms (median of {rounds}): {median(took):.0f}; ten containers removed by the engine")
    print(f"  alone, one after the other: {median(own):.0f} ({median(took) / median(own):.2f} times)")


def many(rig, count):
    """Jobs that are open at once."""
    pid, wrong = rig.gateway.pid, []
    memory, fds = kib(pid), descriptors(pid)
    took = [timed(lambda: create(rig.listener("stays"), f"open{n}", BUILD)) for n in range(count)]
    until(lambda: [job for job in rig.all_jobs() if job["state"] not in ("open", "gone")], "all are open")
    opened = sum(job["state"] == "open" for job in rig.all_jobs())
    grown, more = kib(pid) - memory, descriptors(pid) - fds
    print(f"{opened} jobs open: {grown / 1024:.1f} MiB more, {more} descriptors more; creates {median(took[:50]):.1f} ms at first, {median(took[-50:]):.1f} at last")
    if opened != count or grown > MOST_OPEN * count / 500:
        wrong.append(f"{opened} jobs of {count} take {grown} KiB")
    took = timed(lambda: ([remove(rig, f"open{n}") for n in range(count)], over(rig)))
    print(f"  all of them ended in {took / 1000:.1f} s, {took / count:.0f} ms each; then {kib(pid) - memory} KiB and {descriptors(pid) - fds} descriptors more than before")
    return wrong


def sequence(rig, count):
    """One job after the other, each with a namespace of its own and things in it."""
    pid, wrong = rig.gateway.pid, []

    def one(n):
        create(rig.listener("stays"), f"seq{n}", BUILD)
        start(rig.listener("stays"), f"seq{n}")
        job, inside = rig.job_of(f"seq{n}")
        Child(lambda: work(rig.job_socket(job), ["volume", "network", "run", "nameless", "tag"]), inside).wait()
        remove(rig, f"seq{n}")
        over(rig)

    for n in range(5):
        one(n)
    before, memory, fds = rig.things(), kib(pid), descriptors(pid)
    for n in range(5, count):
        one(n)
    until(lambda: rig.things() ^ before, "nothing is left of any")
    grown, more = kib(pid) - memory, descriptors(pid) - fds
    print(f"{count} jobs one after the other: {grown} KiB and {more} descriptors more than after the first 5, nothing in the engine")
    if grown > MOST_AFTER or more > 4:
        wrong.append(f"after {count} jobs there are {grown} KiB and {more} descriptors more")
    return wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--engine", default="28", choices=list(rigs.ENGINES))
    parser.add_argument("--creates", type=int, default=40)
    parser.add_argument("--jobs", type=int, default=500)
    parser.add_argument("--sequence", type=int, default=70)
    args = parser.parse_args()
    if why := rigs.missing(args.engine):
        print(why)
        return 0
    rig = rigs.Rig(args.engine, ledger="64m")
    try:
        rig.up()
        rig.gateway_back()
        creates(rig, args.creates)
        ends(rig)
        wrong = sequence(rig, args.sequence) + many(rig, args.jobs)
    finally:
        rig.down()
    for what in wrong:
        print(f"FAIL figures of jobs: {what}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
