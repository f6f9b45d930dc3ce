#!/usr/bin/env python3
"""The attack vectors against real engines: each bites directly, none through the gate. See README.md.

run.py [--engine 20.10|28]... [NUMBER | FROM-TO]...
"""

import argparse
import os
import pathlib
import signal
import subprocess
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).parent))

from lib import rig as rigs  # noqa: E402
from lib.case import VECTORS, Case  # noqa: E402

# By area: what the world knows, existence, promises, exhaustion, spellings, BuildKit (its reach, what is another's, its
# protocols). Each area has room for more.
ALL = [*range(1, 117), *range(117, 124), *range(140, 149), *range(160, 165), *range(180, 183), *range(200, 235), 236, 237, *range(240, 259), *range(300, 349), *range(350, 376), *range(380, 412), 415]


def main():
    args = arguments()
    if not os.access(rigs.DOCKGATE, os.X_OK):
        sys.exit(f"run.py: no gateway at {rigs.DOCKGATE}; cargo build --release, or set DOCKGATE")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    engines = args.engine or list(rigs.ENGINES)
    if len(engines) > 1:
        return together(engines)
    why = missing(engines[0])
    if why:
        print(why)
        return 0
    return one(engines[0], args.numbers or of_tier(args.tier, engines[0]), args.tier)


def of_tier(tier, engine):
    """Quick: on 20.10 without those of BuildKit, which take minutes there."""
    import cases  # noqa: F401  fills VECTORS

    return [n for n in sorted(VECTORS) if tier == "all" or engine != "20.10" or n not in range(200, 300)]


def one(engine, numbers, tier):
    import cases  # noqa: F401  fills VECTORS

    absent = [n for n in ALL if n not in VECTORS]
    failed, started, rig = 0, time.monotonic(), rigs.Rig(engine, tier)
    try:
        rig.up(cases.config)
        for number in numbers:
            if number in VECTORS:
                failed += not line(Case(number, rig).run())
    finally:
        rig.down()
    if absent:
        print(f"FAIL missing: {absent}")
    print(f"engine {engine}: {len(numbers)} vectors, {failed} failed, {time.monotonic() - started:.0f} s", flush=True)
    return 1 if failed or absent else 0


def line(case):
    """One line, and below it what failed."""
    inert = "; ".join(
        f"{why}" + (f" ({', '.join(labels[:6])}{', …' if len(labels) > 6 else ''})" if labels and case.bitten else "")
        for why, labels in case.inert.items()
    )
    word = "FAIL" if case.failures else "ok" if case.bitten or (case.notes and not case.inert) else "inert"
    counts = [
        f"{case.bitten} bite" if case.bitten else "",
        f"{case.refused} refused" if case.refused else "",
        f"{case.rewritten} rewritten" if case.rewritten else "",
    ]
    said = ", ".join(c for c in counts if c)
    notes = "; ".join(case.notes)
    print(
        f"{case.seconds:5.1f} " * ("VECTORS_TIMES" in os.environ)
        + f"{word} {case.number} {case.title}"
        + (f" [{said}]" if said else "")
        + (f": {notes}" if notes else "")
        + (f" inert: {inert}" if inert else ""),
        flush=True,
    )
    for failure in case.failures:
        print("    " + failure.replace("\n", "\n    "), flush=True)
    return not case.failures


def together(engines):
    """Each engine in a process of its own; what they print comes in order."""
    rest = [a for a in sys.argv[1:] if a not in engines and a != "--engine"]
    running = [subprocess.Popen([sys.executable, __file__, "--engine", e, *rest], stdout=subprocess.PIPE, text=True) for e in engines]
    try:
        worst = 0
        for process in running:
            out, _ = process.communicate()
            print(out, end="", flush=True)
            worst = max(worst, abs(process.returncode))
        return worst
    finally:
        for process in running:
            if process.poll() is None:
                process.terminate()
                process.wait()


def missing(engine):
    """The line for an engine that cannot be had here, as tests/e2e/setup.sh has found."""
    try:
        skipped = (rigs.CACHE / "skipped").read_text().splitlines()
    except OSError:
        skipped = []
    return next((s for s in skipped if s.startswith(f"SKIPPED engine {engine}:")), None)


def arguments():
    def numbers(text):
        first, _, last = text.partition("-")
        return list(range(int(first), int(last or first) + 1))

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tier", choices=("quick", "all"), default="all")
    parser.add_argument("--engine", action="append", choices=list(rigs.ENGINES))
    parser.add_argument("numbers", nargs="*", type=numbers)
    args = parser.parse_args()
    args.numbers = [n for part in args.numbers for n in part]
    return args


if __name__ == "__main__":
    sys.exit(main())
