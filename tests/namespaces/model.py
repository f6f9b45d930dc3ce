#!/usr/bin/env python3
"""Three tenants on one engine behind dockgate, and each of them again on an engine of its own without: the same calls in
the same order get the same answers.

    model.py --engine 28|20.10 [--steps 60] [--seed N] [--restarts 20] [--keep] [-v]

What is called is drawn by a seed, which is printed and makes the same run again. Ids and names that an engine makes up
stand as symbols, and what differs between any two engines is left out (`VOLATILE`). Nothing depends on time: what comes
late is waited for. NAMESPACES_INDEX is the first of four numbers for engines; DOCKGATE names the binary.
"""

import argparse
import collections
import random
import sys

from calls import CALLS, follow_up
from rig import TENANTS, Rig, missing
from sides import Side, shown


class Differs(Exception):
    pass


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--engine", default="28", choices=["28", "20.10"])
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--restarts", type=int, default=20, help="the gateway is killed once in so many steps")
    parser.add_argument("--keep", action="store_true", help="leaves the engines running, for the next run")
    parser.add_argument("--all", action="store_true", help="goes on behind a difference, where the two may be apart for good")
    parser.add_argument("-v", "--verbose", action="store_true")
    args = parser.parse_args()
    if reason := missing(args.engine):
        print(reason)
        return 0
    seed = args.seed if args.seed is not None else random.SystemRandom().randrange(1 << 32)
    print(f"==> model: engine {args.engine}, {args.steps} steps, --seed {seed}", flush=True)
    rig = Rig(args.engine, args.keep)
    try:
        rig.up()
        counts = run(rig, random.Random(seed), args)
    finally:
        rig.down()
    done = ", ".join(f"{kind} {count}" for kind, count in sorted(counts.items()))
    print(f"==> {args.steps} steps were answered alike: {done}")
    return 0


def run(rig, rng, args):
    worlds = {tenant: (Side(rig.gate(tenant), rig.api), Side(rig.plain(tenant), rig.api)) for tenant in TENANTS}
    for tenant, sides in worlds.items():
        for side in sides:
            side.begin(rig.image_tar())
    counts = collections.Counter()
    for step in range(args.steps):
        if rng.randrange(args.restarts) == 0:
            compare_events(worlds, step, args.all)
            rig.restart_gateway()
            for gate, _ in worlds.values():
                gate.follow_events()
        tenant = rng.choice(TENANTS)
        gate, plain = worlds[tenant]
        others = [worlds[other][0] for other in TENANTS if other != tenant]
        kind = rng.choices([one.__name__ for one in CALLS], [one.weight for one in CALLS])[0]
        call = next(one for one in CALLS if one.__name__ == kind)(rng, gate, others)
        counts[kind] += 1
        if args.verbose:
            print(f"  {step} {tenant}: {call}", flush=True)
        try:
            answers = [side.make(call) for side in (gate, plain)]
            alike(*answers)
            for extra in follow_up(call, *answers):
                alike(*(side.make(extra) for side in (gate, plain)))
        except Differs as difference:
            print(f"DIFFERS at step {step}, {tenant}: {call}\n{difference}", flush=True)
            if not args.all:
                raise SystemExit(1) from None
    compare_events(worlds, args.steps, args.all)
    return counts


def compare_events(worlds, step, goes_on):
    """What each has been told since the last time; late ones are waited for."""
    for tenant, sides in worlds.items():
        gate, plain = sides
        told = [side.events(f"sentinel{step}") for side in sides]
        if told[0] != told[1]:
            told = [gate.later_events(told[1]), plain.later_events(told[0])]
        if told[0] != told[1]:
            only = [told[0] - told[1], told[1] - told[0]]
            print(f"DIFFERS before step {step}, {tenant}: events\n  by the gate only: {only[0]}\n  plain only: {only[1]}")
            if not goes_on:
                raise SystemExit(1)
    for sides in worlds.values():
        for side in sides:
            side.told.clear()


def alike(gate, plain):
    if gate != plain:
        raise Differs(f"  by the gate: {shown(gate, plain)}\n  plain:       {shown(plain, gate)}")


if __name__ == "__main__":
    sys.exit(main())
