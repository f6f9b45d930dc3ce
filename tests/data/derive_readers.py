#!/usr/bin/env python3
"""Derives readers.tsv: which query parameters moby's handlers read, how, and where that stands.

    derive_readers.py GIT_REPOSITORY_OF_MOBY

Go's `r.FormValue`, `r.Form.Get`, `r.URL.Query().Get` and moby's `BoolValue`, `Int64ValueOrZero` and their like
read the first value of a parameter; `r.Form["x"]` reads them all. A handler's reads are those of its function and
of the functions of its package that it calls. Building and testing dockgate does not need this: the .tsv file is
kept, and this script is only how it came about.
"""
import pathlib
import re
import subprocess
import sys

RELEASES = (
    ("20.10.27", "v20.10.27", "api/server/router"),
    ("28.5.2", "v28.5.2", "api/server/router"),
    ("29.7.2", "docker-v29.7.2", "daemon/server/router"),
)
ROUTE = re.compile(r'New(Get|Post|Put|Delete|Head|Options)Route\(\s*"([^"]+)",\s*(?:\w+\.)?(\w+)')
FUNCTION = re.compile(r"func (?:\([^)]*\) )?(\w+)\(")
CALL = re.compile(r"\b(?:\w+\.)?(\w+)\(")
ALL = re.compile(r'r\.Form\["([^"]+)"\]')
FIRST = re.compile(
    r'(?:r\.(?:FormValue|Form\.(?:Get|Has)|URL\.Query\(\)\.Get)\(|(?:BoolValue|Int64Value|Uint32Value)\w*\(r, '
    r'|FromFormValue\()"([^"]+)"'
)
HERE = pathlib.Path(__file__).resolve().parent


def git(repository, *args):
    return subprocess.run(["git", "-C", repository, *args], capture_output=True, text=True, check=True).stdout


def functions(text, place):
    """Name -> what it reads (parameter, how, place) and what it calls."""
    found, reads, calls = {}, [], set()
    for number, line in enumerate(text.split("\n"), 1):
        if start := FUNCTION.match(line):
            reads, calls = found.setdefault(start[1], ([], set()))
        if line.lstrip().startswith("//"):
            continue
        at = f"{place}:{number}"
        reads += [(name, "all", at) for name in ALL.findall(line)]
        reads += [(name, "first", at) for name in FIRST.findall(line)]
        if "ArchiveFormValues(r" in line:  # httputils/form.go
            reads.append(("path", "first", at))
        calls.update(CALL.findall(line))
    return found


def reads_of(known, name, seen):
    if name in seen or name not in known:
        return
    seen.add(name)
    reads, calls = known[name]
    yield from reads
    for call in sorted(calls):
        yield from reads_of(known, call, seen)


def main(repository):
    table = {}
    for release, tag, folder in RELEASES:
        files = git(repository, "ls-tree", "-r", "--name-only", tag, folder).split()
        packages = {}
        for file in files:
            if file.endswith(".go") and not file.endswith("_test.go"):
                place = file.removeprefix(folder + "/")
                text = git(repository, "show", f"{tag}:{file}")
                routes, known = packages.setdefault(place.split("/")[0], ([], {}))
                routes += ROUTE.findall(text)
                known |= functions(text, place)
        for routes, known in packages.values():
            for method, path, handler in routes:
                for name, how, at in reads_of(known, handler, set()):
                    cells = table.setdefault((path, method.upper(), name), {})
                    # whoever reads them all reads more than the first
                    if release not in cells or (cells[release][0], how) == ("first", "all"):
                        cells[release] = (how, at)
    lines = [
        "# moby's routers (Apache-2.0) at v20.10.27, v28.5.2 and docker-v29.7.2; made by tests/data/derive_readers.py",
        "# method, path, parameter, then for 20.10.27, 28.5.2 and 29.7.2: `first` or `all` values, and where it is read",
    ]
    for (path, method, name), cells in sorted(table.items()):
        read = ["=".join(cells[release]) if release in cells else "-" for release, _, _ in RELEASES]
        lines.append("\t".join((method, path, name, *read)))
    (HERE / "readers.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
