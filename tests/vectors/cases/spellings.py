"""180-182: one path and one query, read as the engine reads them."""

import json

from lib.case import vector
from lib.wire import request

PRIVILEGED = json.dumps({"Image": "busybox", "HostConfig": {"Privileged": True}})


@vector(180, "escaped slashes: the engine routes on the decoded path")
def slashes(c):
    v = f"/v{c.rig.version}"
    for path in (f"{v}/containers%2Fcreate", f"{v}%2fcontainers%2Fcreate", f"%2F{v[1:]}/containers/create", f"{v}%2Econtainers/create"):
        c.probe(
            path.replace(v, "", 1),
            lambda t, _, path=path: t.raw(request("POST", path, PRIVILEGED)),
            lambda a, _: a.status == 201,
            maybe=not path.startswith(v) or "%2E" in path,
        )
    for label, path in (
        ("archive", "/containers%2F{id}%2Farchive?path=/host/etc/hostname"),
        ("archive, its name escaped", "/containers/%74op180/archive?path=/host/etc/hostname"),
        ("export", "/containers%2F{id}/export"),
    ):
        c.call(
            label,
            "GET",
            path,
            setup=lambda: {"id": c.make("top180", start=True, HostConfig={"Binds": ["/:/host"]})},
            bites=lambda a, _: a.status == 200,
        )
    at = c.rig.canary.at
    c.call(
        "push to an inside address",
        "POST",
        f"/images/{at.replace(':', '%3A')}%2Fx/push?tag=1",
        headers=["X-Registry-Auth: e30="],
        setup=lambda: c.rig.admin("POST", f"/images/busybox/tag?repo={at}/x&tag=1") and c.rig.canary.hits,
        bites=lambda _, n: c.rig.canary.hits > n,
    )


@vector(181, "a parameter given twice: the engine takes the first")
def twice(c):
    hits = c.rig.canary
    for label, query in (
        ("remote", "remote=http://{at}/x&remote="),
        ("remote behind an escape", "%72emote=http://{at}/x&remote=&q=1&q=0"),
    ):
        c.call(
            label,
            "POST",
            "/build?" + query.replace("{at}", hits.at),
            "",
            kind="application/x-tar",
            setup=lambda: hits.hits,
            bites=lambda _, n: hits.hits > n,
        )
    for label, query in (("first", "force=1&force=0"), ("encoded", "f%6frce=1&force=0")):
        c.call(
            f"delete with {label}",
            "DELETE",
            "/containers/{id}?" + query,
            setup=lambda: {"id": c.make(HostConfig={"Binds": ["/:/host"]})},
            bites=lambda _, s: c.inspect(s["id"]) is None,
        )
