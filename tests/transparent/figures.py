#!/usr/bin/env python3
"""A day of a CI at a tenth, replayed: jobs in containers of a real engine behind the transparent cache, then behind nginx.

    figures.py quick|all [--engine 28|20.10] [--part N] [--at-once N]     prints a report; status 1 if a bar is missed

`all` is 800 jobs of 115 projects and 22,500 requests; `quick` is a twentieth of it, `--part N` another Nth. DOCKGATE=path of the
binary. The trace is made from a fixed seed. Each job's program prints the digest of what it gets, compared here with the origin's.
"""

import argparse
import collections
import concurrent.futures
import contextlib
import itertools
import math
import pathlib
import random
import signal
import subprocess
import sys
import tempfile
import time

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

import images  # noqa: E402
import programs  # noqa: E402
import scenarios  # noqa: E402
from rig import ENGINES, ORIGIN_CA, Rig, Wrong, good, missing, run, until  # noqa: E402

SEED, JOBS, PROJECTS, REQUESTS, OBJECTS, EXPONENT = 16, 800, 115, 22_500, 3_600, 1.0
HOST, FOREIGN, NGINX = "files.outside.test", "foreign.outside.test", "172.30.255.1"
LEAST = 0.85


class Trace:
    """Which job of which project fetches what."""

    def __init__(self, part):
        dice = random.Random(SEED)
        self.projects = max(1, PROJECTS // part)
        count = OBJECTS // part
        urls = []
        for rank in range(count):
            size = min(2_000_000, max(200, int(dice.lognormvariate(math.log(20_000), 1.2))))
            scheme = "https" if rank % 10 in (1, 4, 8) else "http"
            kind = "asked" if rank % 20 == 7 else "kept"
            urls.append(f"{scheme}://{HOST}/figures/{rank}-{size}-{kind}")
        weights = list(itertools.accumulate(1 / (rank + 1) ** EXPONENT for rank in range(count)))
        drawn = dice.choices(urls, cum_weights=weights, k=REQUESTS // part)
        jobs = JOBS // part
        self.jobs = [(dice.randrange(self.projects), drawn[job::jobs]) for job in range(jobs)]
        self.requests, self.unique = len(drawn), len(set(drawn))
        self.tls = sum(url.startswith("https") for url in drawn) / len(drawn)
        self.bytes = sum(int(url.split("-")[-2]) for url in drawn)
        self.sums = {url: programs.expected("/" + url.split("/", 3)[3]) for url in set(drawn)}


def replay(trace, at_once, job):
    """All jobs, so many at once: seconds, and what is wrong with those that failed."""

    def one(number):
        project, urls = trace.jobs[number]
        status, said = job(number, project, urls)
        if status or programs.sums(said) != [trace.sums[url] for url in urls]:
            return f"job {number}: status {status}: {[line for line in said.splitlines() if not line.startswith('SHA')][-4:]}"
        return None

    begun = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(at_once) as pool:
        failed = [why for why in pool.map(one, range(len(trace.jobs))) if why]
    return time.monotonic() - begun, failed


def origin(rig, since):
    """Full answers by URL, and how many revalidations, since that line of the origin's log."""
    asked = [line for line in rig.told()[since:] if line["event"] == "request" and line["path"].startswith("/figures/")]
    full = collections.Counter(f"{line['scheme']}://{line['host']}{line['path']}" for line in asked if not line["check"])
    return full, sum(bool(line["check"]) for line in asked), sum(not line["through"] for line in asked)


def of_dockgate(rig, trace, at_once):
    since, before = len(rig.told()), rig.statistics()
    seconds, failed = replay(trace, at_once, lambda number, project, urls: rig.tries(
        "run", "--rm", "--label", f"project={project}", "debian", "/get", *urls, listener="ci"))
    after = rig.statistics()
    full, checks, around = origin(rig, since)
    counts = {name: value - before["requests"].get(name, 0) for name, value in after["requests"].items()}
    return seconds, failed, full, checks, around, counts, after["bytes_saved"] - before["bytes_saved"]


@contextlib.contextmanager
def nginx(rig):
    """Debian's nginx with proxy_cache at an address of its own; for HTTPS it has the origin's own certificate."""
    folder = rig.work / "nginx"
    folder.mkdir()
    folder.chmod(0o755)
    own = f"{rig.work}/outside"
    servers = "".join(f"""
  server {{ listen {NGINX}:{port}; server_name {HOST};
    location / {{ proxy_pass {scheme}://{rig.address}; proxy_cache one; proxy_cache_key $scheme$host$request_uri;
      proxy_cache_lock on; proxy_cache_lock_timeout 60s; proxy_cache_revalidate on; proxy_http_version 1.1;
      proxy_set_header Host $host; proxy_set_header Via nginx; proxy_set_header Connection ""; }} }}"""
                      for scheme, port in (("http", "80"), ("https", "443 ssl")))
    (folder / "nginx.conf").write_text(f"""
user root; daemon off; worker_processes 2; pid {folder}/pid; error_log {folder}/error;
events {{ worker_connections 1024; }}
http {{ access_log off; ssl_certificate {own}/cert.pem; ssl_certificate_key {own}/key.pem;
  proxy_cache_path {folder}/store levels=1:2 keys_zone=one:10m max_size=4g inactive=1h;{servers}
}}
""")
    good(*rig.inside(), "ip", "address", "add", f"{NGINX}/32", "dev", "docker0")
    with open(folder / "output", "ab") as output:
        words = [*rig.inside(), "nginx", "-e", folder / "error", "-c", folder / "nginx.conf"]
        server = subprocess.Popen([str(word) for word in words], stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    try:
        def there():
            if server.poll() is not None:
                raise Wrong(f"nginx has ended: {(folder / 'error').read_text()[-600:]}")
            return "" if (folder / "pid").exists() else "it is not there yet"

        until(there, "nginx")
        yield
    finally:
        server.terminate()
        server.wait()


def of_nginx(rig, trace, at_once):
    since = len(rig.told())

    def job(number, project, urls):
        words, environment = rig.client(rig.dir / "docker.sock", "run", "--rm", "--add-host", f"{HOST}:{NGINX}", "debian",
                                        "/get", "-ca", ORIGIN_CA, *urls)
        return run(*words, env=environment)

    with nginx(rig):
        seconds, failed = replay(trace, at_once, job)
    return seconds, failed, *origin(rig, since)


def figures(rig, trace, at_once):
    """Prints the report; what is missed."""
    bad = []
    ideal = 1 - trace.unique / trace.requests
    print(f"trace: {len(trace.jobs)} jobs of {trace.projects} projects, {at_once} at once; {trace.requests} requests, {trace.tls:.1%} over "
          f"TLS, {trace.unique} objects, {trace.bytes / 1e6:.0f} MB; hits at best {ideal:.2%}", flush=True)
    seconds, failed, full, checks, around, counts, saved = of_dockgate(rig, trace, at_once)
    asked = sum(full.values())
    served = sum(counts.values())
    hits = 1 - asked / trace.requests
    print(f"dockgate: {len(failed)} jobs failed, {hits:.2%} hits, origin: {asked} full + {checks} revalidations, "
          f"{around} not by the cache, {saved / 1e6:.0f} MB saved, {seconds:.0f} s; its statistics: {counts}", flush=True)
    for why in failed[:5]:
        print(f"  {why}", flush=True)
    twice = [url for url, times in full.items() if times > 1]
    for wrong, what in ((failed, f"{len(failed)} jobs failed"), (hits < LEAST, f"hits below {LEAST:.0%}"),
                        (asked != trace.unique, f"{asked} full answers of the origin for {trace.unique} objects, {twice[:3]}"),
                        (around, f"{around} requests went past the cache"),
                        (checks != counts.get("revalidated", 0), f"{checks} revalidations, {counts.get('revalidated')} in the statistics"),
                        (served != trace.requests, f"{served} requests in the statistics, {trace.requests} in the trace")):
        if wrong:
            bad.append(what)
    if run("nginx", "-v")[0]:
        print("SKIPPED nginx: there is none on this machine", flush=True)
        return bad
    other, lost, full, checks, _ = of_nginx(rig, trace, at_once)
    print(f"nginx: {len(lost)} jobs failed, {1 - sum(full.values()) / trace.requests:.2%} hits, origin: {sum(full.values())} full + {checks} "
          f"revalidations, {other:.0f} s; dockgate took {seconds / other:.2f} of that", flush=True)
    for why in lost[:3]:
        print(f"  {why}", flush=True)
    return bad


def main():
    parser = argparse.ArgumentParser(prog="figures.py")
    parser.add_argument("tier", choices=["quick", "all"])
    parser.add_argument("--engine", choices=list(ENGINES), default="28")
    parser.add_argument("--part", type=int)
    parser.add_argument("--at-once", type=int, default=8)
    args = parser.parse_args()
    if why := missing(args.engine):
        print(f"SKIPPED engine {args.engine}: {why}")
        return 0
    tempfile.tempdir = "/tmp"
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        tars = {name: images.image(name) for name in ("debian", "get")}
    except images.Missing as why:
        print(f"SKIPPED figures: {why}")
        return 0
    rig = Rig(args.engine, [HOST], [], FOREIGN)
    try:
        rig.up()
        scenarios.prepare(rig, tars)
        bad = figures(rig, Trace(args.part or (20 if args.tier == "quick" else 1)), args.at_once)
        for word in ("panicked", "ERROR"):
            if word in rig.log.read_text(errors="replace"):
                bad.append(f"{word} in dockgate's log: {rig.tail()}")
    finally:
        rig.down()
    print(f"figures: {'all is well' if not bad else 'MISSED: ' + '; '.join(bad)}", flush=True)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
