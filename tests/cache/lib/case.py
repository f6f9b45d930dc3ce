"""Named cases against dockgate: a function each, a line each.

    @case("what is true of it", tier="all")
    def name(rig): ...        # rig.origin, rig.gate(...); `expect(...)` and `Wrong` say what is not
"""

import argparse
import os
import pathlib
import subprocess
import sys
import tempfile
import time
import traceback

from lib import subjects
from lib.measure import Origin, fetch

CASES = []


class Wrong(Exception):
    pass


def case(about, tier="quick"):
    def register(function):
        CASES.append((function, about, tier))
        return function

    return register


def expect(found, wanted, what):
    if found != wanted:
        raise Wrong(f"{what}: {found!r}, expected {wanted!r}")


def stored(gate, target, **options):
    """Waits until the gate answers it without the origin."""
    headers = options.pop("headers", {}) | {"Cache-Control": "only-if-cached"}
    deadline = time.monotonic() + 120
    while (got := fetch(gate.http, target, headers=headers, **options)).status == 504:
        if time.monotonic() > deadline:
            raise Wrong(f"{target} is not stored: {got.head}")
        time.sleep(0.02)
    return got


class Rig:
    """The origin, one dockgate for the cases that ask for no other, and folders."""

    def __init__(self, folder):
        self.folder, self.origin, self.shared, self.count = folder, Origin(), None, 0

    def gate(self, folder=None, **options):
        """A dockgate of this case's own."""
        self.count += 1
        return subjects.start("dockgate", folder or self.folder / f"gate{self.count}", self.origin.port, **options)

    def get(self, target, **options):
        """A request to the dockgate that the cases share."""
        return fetch(self.usual().http, target, **options)

    def usual(self):
        if self.shared is None:
            self.shared = self.gate()
        return self.shared

    def end(self):
        if self.shared:
            self.shared.stop()
        self.origin.process.kill()
        # what cases have mounted, the newest first: the folders are removed next
        mounted = [line.split()[1] for line in pathlib.Path("/proc/self/mounts").read_text().splitlines()]
        for path in reversed([path for path in mounted if path.startswith(f"{self.folder}/")]):
            subprocess.run(["umount", "-l", path], check=False)


def main(doc):
    parser = argparse.ArgumentParser(description=doc.splitlines()[0])
    parser.add_argument("tier", choices=("quick", "all"))
    parser.add_argument("name", nargs="*", help="only cases whose name contains one of these")
    args = parser.parse_args()
    if not os.access(subjects.DOCKGATE, os.X_OK):
        sys.exit(f"no gateway at {subjects.DOCKGATE}; cargo build --release, or set DOCKGATE")
    failed = ran = 0
    with tempfile.TemporaryDirectory(prefix="dockgate-cache.") as folder:
        pathlib.Path(folder).chmod(0o755)
        rig = Rig(pathlib.Path(folder))
        try:
            for function, about, tier in CASES:
                if (tier == "all" and args.tier == "quick") or (args.name and not any(n in function.__name__ for n in args.name)):
                    continue
                ran += 1
                failed += not run(function, about, rig)
        finally:
            rig.end()
    return 1 if failed or not ran else 0


def run(function, about, rig):
    name, begin = function.__name__.replace("_", "-"), time.monotonic()
    try:
        note = function(rig)
    except Skipped as why:
        print(f"SKIPPED {name}: {why}", flush=True)
        return True
    except Wrong as why:
        fault = str(why)
    except Exception:
        fault = traceback.format_exc()
    else:
        print(f"ok {name} {time.monotonic() - begin:.1f}{f' ({note})' if note else ''}", flush=True)
        return True
    print(f"FAIL {name} {time.monotonic() - begin:.1f}: {about}\n    " + "\n    ".join(fault.splitlines()), flush=True)
    if rig.shared and rig.shared.process.poll() is not None:
        print(f"    dockgate ended with status {rig.shared.process.returncode}:\n{rig.shared.tail()}")
        rig.shared = None
    return False


class Skipped(Exception):
    pass


def script(doc):
    sys.exit(main(doc))
