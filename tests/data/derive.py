#!/usr/bin/env python3
"""Derives the .tsv files beside this script from moby's OpenAPI files and route lists.

    derive.py SPECS_FOLDER

SPECS_FOLDER holds v1.25.yaml ... v1.55.yaml (moby `api/docs`, Apache-2.0) and
derived-routes-<release>.txt (the routes that each engine release registers). Building and testing
dockgate does not need them: the .tsv files are kept, and this script is only how they came about.
"""
import pathlib
import re
import sys

import yaml

OLDEST, NEWEST = 25, 55
METHODS = ("delete", "get", "head", "options", "post", "put")
SOURCE = "moby api/docs OpenAPI 1.25-1.55, Apache-2.0; made by tests/data/derive.py"
HERE = pathlib.Path(__file__).resolve().parent


class Spec:
    def __init__(self, path):
        with open(path, encoding="utf-8") as file:
            self.doc = yaml.load(file, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))

    def resolve(self, node):
        seen = set()
        while isinstance(node, dict) and "$ref" in node:
            ref = node["$ref"]
            if ref in seen:
                raise ValueError(f"reference loop at {ref}")
            seen.add(ref)
            target = self.doc
            for part in ref.removeprefix("#/").split("/"):
                target = target[part]
            node = target
        return node

    def flat(self, schema):
        """One schema without $ref and allOf: properties merged, the last word wins."""
        schema = self.resolve(schema) or {}
        if "allOf" not in schema:
            return schema
        merged = {"properties": {}}
        for part in schema["allOf"] + [{k: v for k, v in schema.items() if k != "allOf"}]:
            part = self.flat(part)
            merged["properties"].update(part.get("properties") or {})
            for key, value in part.items():
                if key != "properties":
                    merged[key] = value
        return merged

    def walk(self, schema, path, out, depth=0):
        """Writes path -> type for a schema and everything below it."""
        if depth > 24:
            raise ValueError(f"schema too deep at {path}")
        schema = self.flat(schema)
        kind = self.kind(schema)
        if path:
            out[path] = kind
        if schema.get("type") == "array" or "items" in schema:
            self.walk_inner(schema.get("items") or {}, path + "[]", out, depth)
        extra = schema.get("additionalProperties")
        if isinstance(extra, dict):
            self.walk_inner(extra, path + "{}", out, depth)
        for name, part in (schema.get("properties") or {}).items():
            self.walk(part, f"{path}.{name}" if path else name, out, depth + 1)

    def walk_inner(self, schema, path, out, depth):
        """An element of a list or map has a line only for what is below it."""
        schema = self.flat(schema)
        if schema.get("properties") or "items" in schema or "additionalProperties" in schema:
            below = {}
            self.walk(schema, path, below, depth + 1)
            below.pop(path, None)
            out.update(below)

    def kind(self, schema):
        schema = self.flat(schema)
        extra = schema.get("additionalProperties")
        if schema.get("type") == "array" or "items" in schema:
            return f"[{self.kind(schema.get('items') or {})}]"
        if isinstance(extra, dict):
            return "{" + self.kind(extra) + "}"
        if schema.get("properties"):
            return "object"
        return schema.get("type", "any")


class Span:
    """The versions in which one fact holds; a gap or a change is worth knowing."""

    def __init__(self):
        self.versions, self.facts = [], []

    def add(self, version, fact):
        self.versions.append(version)
        if fact not in self.facts:
            self.facts.append(fact)

    def first_last(self, what):
        first, last = self.versions[0], self.versions[-1]
        if len(self.versions) != last - first + 1:
            print(f"gap: {what}: {self.versions}", file=sys.stderr)
        return str(first), "-" if last == NEWEST else str(last)

    def fact(self):
        return "|".join(self.facts)


def write(name, header, lines):
    text = f"# {SOURCE}\n# {header}\n" + "".join("\t".join(line) + "\n" for line in lines)
    (HERE / name).write_text(text, encoding="utf-8")
    print(f"{name}: {len(lines)} lines", file=sys.stderr)


def from_specs(folder):
    routes, params, fields = {}, {}, {}
    for minor in range(OLDEST, NEWEST + 1):
        spec = Spec(folder / f"v1.{minor}.yaml")
        for path, item in spec.doc["paths"].items():
            for method in METHODS:
                if method not in item:
                    continue
                operation = item[method]
                route = (method.upper(), path)
                routes.setdefault(route, Span()).add(minor, operation["operationId"])
                bodies = {}
                for param in (item.get("parameters") or []) + (operation.get("parameters") or []):
                    param = spec.resolve(param)
                    if param["in"] == "body":
                        schema = param.get("schema") or {}
                        spec.walk(schema, "", bodies)
                        bodies["."] = spec.kind(schema)
                    elif param["in"] in ("query", "header"):
                        repeated = "multi" if param.get("collectionFormat") == "multi" else "-"
                        kind = spec.kind(param)
                        key = (*route, param["in"], param["name"])
                        params.setdefault(key, Span()).add(minor, (kind, repeated))
                for field, kind in bodies.items():
                    fields.setdefault((*route, field), Span()).add(minor, kind)
    write(
        "routes.tsv",
        "method, path, operation id (oldest|newest), first minor, last minor",
        [[*key, span.fact(), *span.first_last(key)] for key, span in sorted(routes.items())],
    )
    write(
        "params.tsv",
        "method, path, in, name, type, first minor, last minor, collectionFormat",
        [
            [*key, span.facts[-1][0], *span.first_last(key), span.facts[-1][1]]
            for key, span in sorted(params.items())
        ],
    )
    write(
        "fields.tsv",
        "method, path, field of the body (`.` the body itself, [] lists, {} maps), type, first, last",
        [[*key, span.fact(), *span.first_last(key)] for key, span in sorted(fields.items())],
    )


WORDS = ("container", "network", "volume", "image", "exec", "plugin", "secret", "config", "node",
         "service", "task", "checkpoint")
# a property that is called so names something, or may
NAMED = re.compile(r"(?:^|[a-z.])(?:Ids?|IDs?|Names?|Reference|Tags|RepoDigests)$|^(?:id|name|image)$"
                   r"|^(?:%s)s?$|(?:Deleted|Untagged)$" % "|".join(map(str.capitalize, WORDS)))
# and one that is said to
SAID = re.compile(r"\b(?:names?|ids?|identifiers?|references?)\b[^.]*\b(?:%s)s?\b"
                  r"|\b(?:%s)s?(?:'s)?\s+(?:names?|ids?|identifiers?|references?)\b"
                  % ("|".join(WORDS), "|".join(WORDS)), re.IGNORECASE)
TEXTS = ("string", "[string]", "{string}", "{[string]}")


class Names:
    """The properties of one answer that name a resource, by their own name or their description."""

    def __init__(self, spec):
        self.spec, self.out = spec, {}

    def walk(self, schema, path, name="", depth=0):
        if depth > 24:
            raise ValueError(f"schema too deep at {path}")
        schema = self.spec.flat(schema)
        kind = self.spec.kind(schema)
        called = bool(NAMED.search(name))
        said = bool(SAID.search(" ".join((schema.get("description") or "").split())))
        if kind in TEXTS and (called or said):
            place = path + ("[]" if kind == "[string]" else "")
            self.out[place] = (kind, "called" if called else "said")
        if kind.startswith("{") and kind not in ("{string}",) and (called or said):
            self.out[path + "{key}"] = (kind, "called" if called else "said")
        if schema.get("type") == "array" or "items" in schema:
            self.walk(schema.get("items") or {}, path + "[]", "", depth + 1)
        extra = schema.get("additionalProperties")
        if isinstance(extra, dict):
            self.walk(extra, path + "{}", "", depth + 1)
        for below, part in (schema.get("properties") or {}).items():
            self.walk(part, f"{path}.{below}" if path else below, below, depth + 1)


def from_answers(folder):
    names = {}
    for minor in range(OLDEST, NEWEST + 1):
        spec = Spec(folder / f"v1.{minor}.yaml")
        for path, item in spec.doc["paths"].items():
            for method in METHODS:
                for code, answer in (item.get(method) or {}).get("responses", {}).items():
                    schema = spec.resolve(answer).get("schema")
                    if not str(code).startswith("2") or schema is None:
                        continue
                    found = Names(spec)
                    found.walk(schema, "")
                    for place, (kind, why) in found.out.items():
                        key = (method.upper(), path, place)
                        names.setdefault(key, Span()).add(minor, (kind, why))
    write(
        "answers.tsv",
        "method, path, place in the answer (as in fields.tsv, {key} the keys of a map), type,"
        " first minor, last minor, why it may name a resource: what it is called or what is said of it",
        [
            [*key, span.facts[-1][0], *span.first_last(key), span.facts[-1][1]]
            for key, span in sorted(names.items())
        ],
    )


def from_engines(folder):
    releases = {}
    for path in folder.glob("derived-routes-*.txt"):
        name = path.stem.removeprefix("derived-routes-")
        release = re.sub(r"^(docker-)?v", "", name)
        routes = set()
        for line in path.read_text(encoding="utf-8").split("\n"):
            if not line.strip():
                continue
            method, pattern = line.split(maxsplit=1)
            # 20.10 to 27 register these below a /debug prefix that the list does not show
            if pattern == "/vars" or pattern.startswith("/pprof/"):
                pattern = "/debug" + pattern
            routes.add((method.upper(), pattern))
        releases[release] = routes
    order = sorted(releases, key=lambda r: [int(n) if n.isdigit() else 999 for n in r.split(".")])
    lines = []
    for route in sorted(set().union(*releases.values())):
        lines.append([*route, ",".join(r for r in order if route in releases[r])])
    write("engine-routes.tsv", "method, pattern, the engine releases that register it", lines)
    for release in order:
        print(f"  {release}: {len(releases[release])} routes", file=sys.stderr)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    specs = pathlib.Path(sys.argv[1])
    from_specs(specs)
    from_answers(specs)
    from_engines(specs)
