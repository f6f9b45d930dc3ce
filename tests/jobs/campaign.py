#!/usr/bin/env python3
"""Jobs through a real gateway, which is killed, as are its engine and the jobs' containers, at random points.

campaign.py [--seed N] [--rounds M] [--engine 28|20.10] [--seconds S] [--show]

Each round makes a few jobs, which make containers, networks, volumes and images, and end in one way or another, while
faults happen. When gateway and engine are both there again, nothing of the round may be left (in the engine, in the
folder of sockets; in the ledger only what is gone), nothing of others may be lost, and another job goes on. The same seed gives the same plan; what it meets
is the machine's. `--seconds` ends it after the round in which they are over.
"""

import argparse
import io
import pathlib
import random
import signal
import sys
import tarfile
import time

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).parent))

import rig as rigs  # noqa: E402
from rig import Child, call, create, filters, start, until  # noqa: E402

PHASES = ("create", "work", "end")
FAULTS = ("gateway-kill", "gateway-term", "engine-kill", "engine-stop", "engine-restart", "container-kill", "container-rm", "full-disk")
ACTS = ("volume", "network", "run", "restarts", "nameless", "tag", "commit", "build", "stream", "many")
ENDS = ("rm", "rm-direct", "jobs-end", "kill")


def plan(seed, number):
    """What is to happen in a round: values only."""
    rng = random.Random(f"{seed}/{number}")
    jobs = []
    for index in range(rng.randint(1, 3)):
        end = rng.choice(ENDS)
        acts = [rng.choice(ACTS) for _ in range(rng.randint(2, 6))]
        jobs.append({"name": f"r{number}j{index}", "listener": "dies" if end == "kill" else "stays", "acts": acts, "end": end})
    faults = []
    for phase in rng.sample(PHASES, rng.choice((1, 1, 1, 2))):
        kind = rng.choice(FAULTS)
        after = rng.choice((0, rng.uniform(0, 0.05), rng.uniform(0, 0.5)))
        faults.append({"phase": phase, "kind": kind, "after": round(after, 4), "for": round(rng.uniform(0, 1.5), 3), "job": rng.randrange(len(jobs))})
    return {"round": number, "jobs": jobs, "faults": faults}


class Campaign:
    def __init__(self, rig):
        self.rig = rig

    def bystanders(self):
        """What is none of any round's: made directly, and by a job that stays open."""
        rig = self.rig
        rig.engine("POST", "/volumes/create", {"Name": "foreign"})
        rig.engine("POST", "/networks/create", {"Name": "foreign"})
        rig.engine("POST", "/images/busybox/tag?repo=foreign&tag=1")
        create(rig.socket, "foreign", {"HostConfig": {"Binds": ["foreign:/foreign"], "NetworkMode": "foreign"}})
        start(rig.socket, "foreign")
        create(rig.listener("stays"), "keeper", {"Labels": {"type": "build"}})
        start(rig.listener("stays"), "keeper")
        job, pid = rig.job_of("keeper")

        def make():
            work(rig.job_socket(job), ["volume", "network", "run", "tag", "nameless"])

        assert Child(make, pid).wait() == 0, "the keeper's things are made"
        self.keeper, self.before = job, rig.things()
        kept = [thing for thing in self.before if "dg" in thing]
        assert len(kept) >= 5, f"the keeper has {kept}"

    def round(self, planned):
        rig = self.rig
        for phase in PHASES:
            children = [Child(lambda job=job: getattr(self, phase)(job)) for job in planned["jobs"]]
            for fault in planned["faults"]:
                if fault["phase"] == phase:
                    time.sleep(fault["after"])
                    self.happen(fault, planned["jobs"][fault["job"]]["name"])
            for child in children:
                child.wait()
        rig.empty()
        rig.engine_back()
        rig.gateway_back()
        self.end_all(planned["jobs"])
        until(self.wrong, f"round {planned['round']} leaves nothing and takes nothing")

    # ---- what clients do ----

    def create(self, job):
        address = self.rig.listener(job["listener"])
        create(address, job["name"], {"Labels": {"type": "build"}}, seconds=20)
        start(address, job["name"])

    def work(self, job):
        ident, pid = self.rig.job_of(job["name"])
        if pid:
            Child(lambda: work(self.rig.job_socket(ident), job["acts"]), pid).wait()

    def end(self, job):
        rig, name, how = self.rig, job["name"], job["end"]
        address = rig.listener(job["listener"])
        if how == "rm":
            call(address, "DELETE", f"/containers/{name}?force=1", seconds=20)
        elif how == "rm-direct":
            rig.engine("DELETE", f"/containers/{name}?force=1", seconds=20)
        elif how == "kill":
            call(address, "POST", f"/containers/{name}/kill", seconds=20)
        else:
            rig.admin("DELETE", f"/jobs?id={rig.job_of(name)[0]}")

    def end_all(self, jobs):
        """What a client would do who finds its jobs there after all. Of those that `jobs end` has ended the container stays
        to the end: they must be over with it."""
        rig = self.rig
        names = [job["name"] for job in jobs if job["end"] != "jobs-end"]
        for name in names:
            until(lambda: rig.engine("DELETE", f"/containers/{name}?force=1").status not in (204, 404), f"{name} is removed")
        asked = [job["name"] for job in jobs if job["end"] == "jobs-end"]
        for name in asked:
            if rig.engine("GET", f"/containers/{name}/json").status == 200:
                rig.admin("DELETE", f"/jobs?id={rig.job_of(name)[0]}")
        until(lambda: self.still_open(), "jobs that were ended are over")
        for name in asked:
            until(lambda: rig.engine("DELETE", f"/containers/{name}?force=1").status not in (204, 404), f"{name} is removed")

    def still_open(self):
        jobs = self.rig.all_jobs()
        if jobs is None:
            return "the gateway does not say"
        return [job for job in jobs if job["state"] != "gone" and job["id"] != self.keeper]

    # ---- what happens to them ----

    def happen(self, fault, name):
        rig, kind = self.rig, fault["kind"]
        if kind in ("gateway-kill", "gateway-term"):
            rig.kill_gateway(signal.SIGKILL if kind == "gateway-kill" else signal.SIGTERM)
            time.sleep(fault["for"] / 5)
            rig.serve()
        elif kind == "engine-kill":
            rig.signal_engine(signal.SIGKILL)
            rig.engine_anew()
        elif kind == "engine-stop":
            rig.signal_engine(signal.SIGSTOP)
            time.sleep(fault["for"])
            rig.signal_engine(signal.SIGCONT)
        elif kind == "engine-restart":
            rig.engine_anew()
        elif kind == "container-kill":
            rig.engine("POST", f"/containers/{name}/kill")
        elif kind == "container-rm":
            rig.engine("DELETE", f"/containers/{name}?force=1")
        elif kind == "full-disk":
            rig.fill()
            time.sleep(fault["for"])
            if fault["job"]:
                # and after that, not even a restart finds room
                rig.kill_gateway()
                rig.serve()

    # ---- what must be so ----

    def wrong(self):
        """What is not as it must be, if anything."""
        rig = self.rig
        jobs, things, records = rig.all_jobs(), rig.things(), rig.records()
        if jobs is None or things is None:
            return "gateway or engine does not say"
        said = {job["id"]: job for job in jobs}
        keeper = said.pop(self.keeper, {"state": "not there"})
        wrong = [f"left {thing}" for thing in sorted(things - self.before)] + [f"lost {thing}" for thing in sorted(self.before - things)]
        wrong += [f"job {job['id']} is {job['state']}: {job.get('error')}" for job in said.values() if job["state"] != "gone" or job.get("error")]
        if keeper["state"] != "open" or keeper.get("error"):
            wrong.append(f"the keeper is {keeper}")
        wrong += [f"folder {one.name}" for one in rig.jobs_dir.iterdir() if one.name != self.keeper]
        if self.keeper not in records:
            wrong.append("the keeper is not in the ledger")
        wrong += [f"record {ident}: {of}" for ident, of in records.items() if ident != self.keeper and not of.get("gone")]
        return wrong or self.keeper_wrong()

    def keeper_wrong(self):
        """The job that stays open is served, and has its things."""
        rig = self.rig
        if not rig.job_of("keeper")[1] and start(rig.socket, "keeper") != 204:
            return ["the keeper does not start"]
        job, pid = rig.job_of("keeper")

        def look():
            found = call(rig.job_socket(job), "GET", "/containers/json?all=1", seconds=20)
            assert found.status == 200 and sorted(one["Names"] for one in found.json()) == [["/box2"], ["/keeper"]], found.text

        return [] if Child(look, pid).wait() == 0 else ["the keeper's socket does not serve it"]


def work(address, acts):
    """What a job does; `boxN` and so on by the place of the act."""
    held = []
    for at, act in enumerate(acts):
        name = f"box{at}"
        if act == "volume":
            call(address, "POST", "/volumes/create", {"Name": f"data{at}"})
        elif act == "network":
            call(address, "POST", "/networks/create", {"Name": f"net{at}"})
        elif act in ("run", "restarts"):
            more = {"HostConfig": {"Binds": ["data0:/data"]}}
            if act == "restarts":
                more = {"Cmd": ["sleep", "0.1"], "HostConfig": {"RestartPolicy": {"Name": "always"}}}
            create(address, name, more)
            start(address, name)
        elif act == "nameless":
            create(address, name, {"Volumes": {"/data": {}}})
            call(address, "DELETE", f"/containers/{name}")
        elif act == "tag":
            call(address, "POST", f"/images/busybox/tag?repo=mine{at}&tag=1")
        elif act == "commit":
            create(address, name)
            call(address, "POST", f"/commit?container={name}&repo=made{at}&tag=1")
        elif act == "build":
            call(address, "POST", f"/build?t=built{at}:1", context(), kind="application/x-tar")
        elif act == "stream":
            held.append(rigs.Conn(str(address), seconds=5))
            query = filters(type=["container"])
            held[-1].send(f"GET /v1.41/events?filters={query} HTTP/1.1\r\nHost: engine\r\n\r\n")
        elif act == "many":
            for child in [Child(lambda n=n: create(address, f"{name}x{n}")) for n in range(4)]:
                child.wait()


def context():
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        text = b"FROM busybox\nRUN echo built > /built\n"
        of = tarfile.TarInfo("Dockerfile")
        of.size = len(text)
        tar.addfile(of, io.BytesIO(text))
    return out.getvalue()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--first", type=int, default=0, help="the round to begin with")
    parser.add_argument("--engine", default="28", choices=list(rigs.ENGINES))
    parser.add_argument("--seconds", type=float, default=float("inf"))
    parser.add_argument("--show", action="store_true", help="only says what would happen")
    args = parser.parse_args()
    plans = [plan(args.seed, number) for number in range(args.first, args.first + args.rounds)]
    if args.show:
        for planned in plans:
            print(planned)
        return 0
    if why := rigs.missing(args.engine):
        print(why)
        return 0
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    print(f"jobs: engine {args.engine}, --seed {args.seed}, {args.rounds} rounds", flush=True)
    rig, begun, done = rigs.Rig(args.engine), time.monotonic(), 0
    try:
        rig.up()
        rig.gateway_back()
        campaign = Campaign(rig)
        campaign.bystanders()
        for planned in plans:
            try:
                campaign.round(planned)
            except AssertionError as error:
                print(f"FAIL jobs {args.engine}: {error}\n  plan: {planned}")
                print("  gateway: " + "\n  ".join(rig.log.read_text(errors="replace").splitlines()[-40:]))
                return 1
            done += 1
            if time.monotonic() - begun > args.seconds:
                break
    finally:
        rig.down()
    print(f"ok jobs {args.engine}: {done} rounds in {time.monotonic() - begun:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
