#!/usr/bin/env python3
"""Real clients in containers behind a transparent cache: nothing is configured in them, and they are served by the cache.

    proof.py quick|all [--engine 28|20.10] [--only WORD]...     a line for each check, then the table; status 1 if a cell is wrong
    proof.py --docs                                             writes the table of the last runs into docs/trust.md

DOCKGATE=path of the binary. `--only` takes the checks whose name has the word. TRANSPARENT_KEEP=1 leaves the folder there.
"""

import argparse
import json
import pathlib
import re
import signal
import sys
import tempfile
import traceback

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

import images  # noqa: E402
import programs  # noqa: E402
import scenarios  # noqa: E402
from rig import DOCKGATE, ENGINES, REPO, Rig, Wrong, missing  # noqa: E402

HOSTS = ["files.outside.test", "repo.maven.apache.org", "proxy.golang.org", "github.com"]
FOREIGN = "foreign.outside.test"
HEAD = ("client", "TLS, and where it looks", "HTTP", "HTTPS")


def served_twice(rig, client):
    """What comes of a client in two containers, by scheme: `cached` when the origin was asked once, by the cache."""
    urls = {scheme: f"{scheme}://{client.host}/{client.name.replace(' ', '-')}/{scheme}.bin" for scheme in client.schemes}
    script = "\n".join(["set -e", *(client.words(url) for url in urls.values())])
    wanted = [programs.expected(url.split(client.host)[1]) for url in urls.values()]
    for _ in range(2):
        said = rig.docker("run", "--rm", client.image, *(["/bin/sh", "-c", script]))
        if programs.sums(said) != wanted:
            raise Wrong(f"it did not get what the origin has: {said[-600:]}")
    cells = {}
    for scheme, url in urls.items():
        asked = rig.requests(client.host, url.split(client.host)[1])
        through = [one["through"] for one in asked]
        cells[scheme] = {(True,): "cached", (False, False): "passed on"}.get(tuple(through), f"asked {through}")
    return cells


def registry_twice(rig, registry):
    """The same with this machine's own registries: the second time no byte of an artifact comes from there."""
    rig.purge()
    rounds = []
    for _ in range(2):
        before = rig.statistics()
        found = programs.artifacts(rig.docker("run", "--rm", registry.image, "sh", "-c", registry.command()))
        after = rig.statistics()
        rounds.append((found, *(after[name] - before[name] for name in ("bytes_fetched", "bytes_saved"))))
    (first, cold, _), (second, warm, saved) = rounds
    if first != second:
        raise Wrong(f"the artifacts differ: {first} and {second}")
    for host in registry.hosts:
        if asked := rig.requests(host):
            raise Wrong(f"it walked past the hosts file: {asked[0]}")
    size = registry.least or sum(length for _, length in first.values())
    if cold < size:
        raise Wrong(f"the first time the origins sent {cold} bytes, though the artifacts have {size}: not through the cache?")
    # indexes may come again where an origin gives them no validator; they are as long as they were
    if saved < size or (warm > cold - size and not registry.varies):
        raise Wrong(f"the origins sent {cold} bytes, then {warm} ({saved} saved); the artifacts have {size}")
    return "cached"


class Table:
    def __init__(self):
        self.rows, self.failed = [], []

    def cell(self, name, what):
        """What comes of it, or why not."""
        try:
            return what()
        except Exception as why:
            self.failed.append(name)
            text = str(why) if isinstance(why, Wrong) else traceback.format_exc()
            print(f"FAIL {name}: {text}", flush=True)
            return "WRONG"

    def show(self):
        widths = [max(len(str(row[column])) for row in [HEAD, *self.rows]) for column in range(4)]
        for row in [HEAD, *self.rows]:
            print("  ".join(str(cell).ljust(width) for cell, width in zip(row, widths)).rstrip(), flush=True)


def clients_in(table, rig, tier, wanted):
    for client in programs.QUICK + (programs.ALL if tier == "all" else []):
        if not wanted(client.name):
            continue
        cells = table.cell(client.name, lambda: served_twice(rig, client))
        if isinstance(cells, dict):
            if wrong := {scheme: cell for scheme, cell in cells.items() if cell != "cached"}:
                table.failed.append(client.name)
                print(f"FAIL {client.name}: {wrong}", flush=True)
            else:
                print(f"ok {client.name}", flush=True)
        else:
            cells = dict.fromkeys(client.schemes, cells)
        table.rows.append((version(rig, client), client.what, cells.get("http", "-"), cells.get("https", "-")))


def registries_in(table, rig, registries, wanted):
    for registry in registries:
        if not wanted(registry.name):
            continue
        if registry.missing:
            print(f"SKIPPED {registry.name}: {registry.missing}", flush=True)
            continue
        cell = table.cell(registry.name, lambda: registry_twice(rig, registry))
        if cell != "WRONG":
            print(f"ok {registry.name}", flush=True)
        cells = (cell, "-") if registry.name == "apt over HTTP" else ("-", cell)
        table.rows.append((version(rig, registry), registry.what, *cells))


def version(rig, client):
    """The name with its version, as the program says it."""
    if not client.version:
        return client.name
    status, said = rig.tries("run", "--rm", "--network", "none", client.image, "sh", "-c", client.version)
    found = re.search(r"\d+(\.\d+)+", said)
    return f"{client.name} {found[0]}" if found and status == 0 and found[0] not in client.name else client.name


def begin(engine, tier):
    """Images and registries, then the engine with all that is beside it."""
    registries = programs.QUICK_REGISTRIES + (programs.ALL_REGISTRIES if tier == "all" else [])
    real = set()
    for registry in registries:
        registry.missing = None
        try:
            registry.look()
            real |= registry.hosts
        except Exception as why:
            registry.missing = f"{why}"[:200]
    tars = {name: images.image(name) for name in ["debian", "get"] + (["clients"] if tier == "all" else [])}
    rig = Rig(engine, HOSTS, sorted(real), FOREIGN)
    try:
        rig.up()
        scenarios.prepare(rig, tars)
    except BaseException:
        print(rig.tail(), flush=True)
        rig.down()
        raise
    return rig, registries


def prove(engine, tier, words):
    if why := missing(engine):
        print(f"SKIPPED engine {engine}: {why}")
        return 0

    def wanted(name):
        return not words or any(word in name for word in words)

    table = Table()
    try:
        rig, registries = begin(engine, tier)
    except images.Missing as why:
        print(f"SKIPPED engine {engine}: {why}")
        return 0
    try:
        clients_in(table, rig, tier, wanted)
        registries_in(table, rig, registries, wanted)
        for name, check in scenarios.chosen(tier):
            if wanted(name):
                before = len(table.failed)
                table.cell(name, lambda: check(rig))
                if len(table.failed) == before:
                    print(f"ok {name}", flush=True)
        for word in ("panicked", "ERROR"):
            if word in rig.log.read_text(errors="replace"):
                table.failed.append("log")
                print(f"FAIL log: {word} in dockgate's log: {rig.tail()}", flush=True)
        if table.failed:
            print(f"dockgate says at last:\n{rig.tail()}", flush=True)
        what = rig.direct("version", "--format", "{{.Server.Version}}").strip()
    finally:
        rig.down()
    table.show()
    if not words:
        (images.CACHE / f"result-{engine}.json").write_text(json.dumps({"engine": what, "tier": tier, "rows": table.rows}))
    print(f"engine {engine}: {'all is well' if not table.failed else 'WRONG: ' + ', '.join(table.failed)}", flush=True)
    return 1 if table.failed else 0


MARKS = ("<!-- made by tests/transparent/proof.py --docs -->", "<!-- end -->")


def write_docs():
    """The rows of the large tier on each engine; a cell that differs says so."""
    results = [json.loads(path.read_text()) for path in sorted(images.CACHE.glob("result-*.json"))]
    results = [one for one in results if one["tier"] == "all"]
    if not results:
        raise SystemExit("proof.py: no run of `all` has left a result")
    lines = ["Run on " + " and ".join(f"engine {one['engine']}" for one in results) + ".", "", "| " + " | ".join(HEAD) + " |", "| --- | --- | --- | --- |"]
    merged = {}
    for one in results:
        for name, what, *cells in one["rows"]:
            merged.setdefault((name, what), []).append(cells)
    for (name, what), runs in merged.items():
        cells = [" / ".join(sorted({run[column] for run in runs})) for column in (0, 1)]
        lines.append(f"| {name} | {what} | {cells[0]} | {cells[1]} |")
    page = REPO / "docs/trust.md"
    before, _, rest = page.read_text().partition(MARKS[0])
    after = rest.partition(MARKS[1])[2]
    page.write_text("\n".join([before + MARKS[0], *lines, MARKS[1]]) + after)


def main():
    parser = argparse.ArgumentParser(prog="proof.py")
    parser.add_argument("tier", nargs="?", choices=["quick", "all"])
    parser.add_argument("--engine", choices=list(ENGINES), default="28")
    parser.add_argument("--only", action="append", default=[])
    parser.add_argument("--docs", action="store_true")
    args = parser.parse_args()
    if args.docs:
        return write_docs()
    if not args.tier:
        parser.error("which tier: quick or all?")
    if not pathlib.Path(DOCKGATE).exists():
        raise SystemExit(f"proof.py: no gateway at {DOCKGATE}; cargo build --release, or set DOCKGATE")
    tempfile.tempdir = "/tmp"
    # who is told to end leaves no engine behind
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    return prove(args.engine, args.tier, args.only)


if __name__ == "__main__":
    sys.exit(main())
