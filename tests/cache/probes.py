#!/usr/bin/env python3
"""What a cold object costs the origin and the clients: the probes of the caching proxy.

probes.py [--subject nginx|squid|dockgate]... [--only herd|leaves|range] [--markdown]

An object of 16 MiB, an origin that sends 4 MiB/s. Prints a line for each probe and subject. The counts and digests of
dockgate must be right, and status 1 says that they are not; times are printed and never judged.
"""

import argparse
import pathlib
import sys
import tempfile
import time

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

from lib import subjects  # noqa: E402
from lib.measure import Download, Origin, fetch, right, run  # noqa: E402

SIZE = 16 << 20
QUERY = "?size=16M&rate=4M"
HERD = 50


def main(words=None):
    parser = argparse.ArgumentParser(prog="probes.py")
    parser.add_argument("--subject", choices=subjects.NAMES, action="append")
    parser.add_argument("--only", choices=PROBES)
    parser.add_argument("--markdown", action="store_true")
    args = parser.parse_args(words)
    failed, rows = 0, []
    with Origin() as origin, tempfile.TemporaryDirectory(prefix="dockgate-probes.") as folder:
        pathlib.Path(folder).chmod(0o755)
        for name in args.subject or subjects.NAMES:
            try:
                with subjects.start(name, pathlib.Path(folder, name), origin.port) as subject:
                    for probe in PROBES:
                        if args.only in (None, probe):
                            figures, faults = PROBES[probe](subject, origin)
                            rows.append((probe, name, figures))
                            failed += name == "dockgate" and bool(faults)
                            if not args.markdown:
                                line(probe, name, figures, faults)
            except subjects.Missing as missing:
                print(f"SKIPPED {name}: {missing}", file=sys.stderr)
            except RuntimeError as error:
                failed += name == "dockgate"
                print(f"FAIL {name}: {error}", file=sys.stderr)
    if args.markdown:
        table(rows, args.subject or subjects.NAMES)
    return 1 if failed or not rows else 0


def line(probe, name, figures, faults):
    if name != "dockgate":
        print(f"{probe} {name}: {figures}", flush=True)
        return
    print(f"{'FAIL' if faults else 'ok'} {probe} {name} ({figures})", flush=True)
    for fault in faults:
        print(f"    {fault}", flush=True)


def table(rows, names):
    print("| probe | " + " | ".join(names) + " |\n|---|" + "---|" * len(names))
    for probe, what in PROBES.items():
        cells = [next((str(figures) for p, n, figures in rows if (p, n) == (probe, name)), "–") for name in names]
        print(f"| {' '.join(what.__doc__.split())} | " + " | ".join(cells) + " |")


def herd(subject, origin):
    """50 clients ask for one cold object at once"""
    path = f"/{subject.name}/herd"
    downloads = run([Download(subject.http, path + QUERY) for _ in range(HERD)])
    requests = origin.counts(path)["requests"]
    complete = sum(right(one, path, SIZE) for one in downloads)
    firsts = [one.first for one in downloads if one.first is not None]
    faults = expect(("origin requests", requests, 1), ("complete with the right digest", complete, HERD))
    worst = f"{max(firsts) * 1000:.0f} ms" if len(firsts) == HERD else "none"
    return f"{plural(requests)}, worst first byte {worst}, {complete} of {HERD} complete", faults


def leaves(subject, origin):
    """the first client leaves after a second; another asks a second later, and a third after that"""
    path = f"/{subject.name}/leaves"
    first = fetch(subject.http, path + QUERY, abort_after=1.0)
    time.sleep(1)
    second = fetch(subject.http, path + QUERY)
    third = fetch(subject.http, path + QUERY)
    counts = origin.counts(path)
    served = sum(right(one, path, SIZE) for one in (second, third))
    faults = expect(("origin requests", counts["requests"], 1), ("bytes sent by the origin", counts["bytes"], SIZE),
                    ("served after it", served, 2), ("what the first one got", first.error, "left"))
    return f"{plural(counts['requests'])}, {mib(counts['bytes'])} MiB, {served} of 2 served, second done after {second.total:.1f} s", faults


def cold_range(subject, origin):
    """100 bytes at 8 MiB of a cold object, then the same again, then the whole"""
    path, start = f"/{subject.name}/range", 8 << 20
    asked = {"Range": f"bytes={start}-{start + 99}"}
    first = fetch(subject.http, path + QUERY, headers=asked)
    again = fetch(subject.http, path + QUERY, headers=asked)
    filled(origin, path)
    later = fetch(subject.http, path + QUERY, headers=asked)
    whole = fetch(subject.http, path + QUERY)
    counts = origin.counts(path)
    good = sum(one.status == 206 and right(one, path, SIZE, start, start + 100) for one in (first, again, later))
    faults = expect(("ranges served", good, 3), ("whole copies from the origin", counts["full"], 1),
                    ("whole object served", right(whole, path, SIZE), True))
    if counts["ranged"] > 2:
        faults.append(f"ranges asked of the origin: {counts['ranged']}, at most 2 expected")
    return (f"first byte {milliseconds(first)}, again {milliseconds(again)}, later {milliseconds(later)}; "
            f"origin: {counts['full']} whole, {counts['ranged']} ranges", faults)


def filled(origin, path):
    """Waits until the origin has sent a whole copy, or has sent nothing for a second."""
    last, still = -1, 0
    while still < 10:
        sent = origin.counts(path)["bytes"]
        if sent >= SIZE + 100:
            break
        still = still + 1 if sent == last else 0
        last = sent
        time.sleep(0.1)
    time.sleep(0.2)  # the copy is stored


def milliseconds(one):
    return f"{one.first * 1000:.1f} ms" if one.first is not None else f"none ({one.error})"


def plural(requests):
    return f"{requests} origin request{'s' if requests != 1 else ''}"


def mib(count):
    return f"{count / (1 << 20):.1f}"


def expect(*checks):
    return [f"{what}: {found!r}, expected {wanted!r}" for what, found, wanted in checks if found != wanted]


PROBES = {"herd": herd, "leaves": leaves, "range": cold_range}

if __name__ == "__main__":
    sys.exit(main())
