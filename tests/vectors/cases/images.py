"""103-106: what the engine fetches, and from where."""

import base64
import json

from lib.case import vector

from .attributes import quote


def asked(c, label, method, path, body=None, **more):
    """Does the engine go where the client has sent it?"""
    canary = c.rig.canary
    c.call(label, method, path, body, setup=lambda: canary.hits, bites=lambda _, before: canary.hits > before, **more)


@vector(103, "registries and URLs inside the operator's network")
def fetches(c):
    at, port = c.rig.canary.at, c.rig.canary.port
    last = c.rig.index
    # the canary's address, written as resolvers read it
    spelt = (
        f"10.66.{last}.1",
        f"0xa.66.{last}.1",
        f"012.66.{last}.1",
        f"0x0a.0x42.{hex(last)}.0x1",
        f"10.66.{last * 256 + 1}",
        f"10.{(66 << 16) + last * 256 + 1}",
        f"{(10 << 24) + (66 << 16) + last * 256 + 1}",
        f"[::ffff:10.66.{last}.1]",
        f"10.66.{last}.1.",
    )
    for host in spelt:
        odd = host != spelt[0]
        asked(c, f"fromImage {host}", "POST", f"/images/create?fromImage={quote(f'{host}:{port}/x')}&tag=1", maybe=odd)
        asked(c, f"distribution {host}", "GET", f"/distribution/{host}:{port}/x/json", maybe=odd)
    asked(c, "fromImage with a digest", "POST", f"/images/create?fromImage={quote(f'{at}/x@sha256:' + '0' * 64)}")
    asked(c, "fromImage with its tag", "POST", f"/images/create?fromImage={quote(f'{at}/x:1')}")
    asked(c, "fromImage and a harmless repo", "POST", f"/images/create?fromImage={quote(f'{at}/x')}&tag=1&repo=docker.io/x")
    asked(
        c,
        "with credentials",
        "POST",
        f"/images/create?fromImage={quote(f'{at}/x')}&tag=1",
        headers=["X-Registry-Auth: " + base64.urlsafe_b64encode(b'{"username":"a","password":"b"}').decode()],
    )
    for url in (f"http://{at}/x.tar", f"{at}/x.tar", f"HTTP://{at}/x", f"http://a:b@{at}/x", f"//{at}/x"):
        asked(c, f"fromSrc {url[:8]}", "POST", "/images/create?repo=x&fromSrc=" + quote(url), maybe=url.startswith("//"))
    for address in (at, f"http://{at}", f"https://{at}/v2/", f"http://{at}/v1/", f"HTTP://{at}"):
        asked(
            c,
            f"auth {address.replace(at, 'CANARY')}",
            "POST",
            "/auth",
            {"username": "a", "password": "b", "serveraddress": address},
            maybe=True,
        )
    asked(c, "search", "GET", f"/images/search?term={quote(at + '/x')}")
    asked(c, "auth with identitytoken", "POST", "/auth", {"identitytoken": "x", "serveraddress": at}, maybe=True)
    for host in (
        "localhost:1",
        "localhost",
        "registry:5000",
        "127.0.0.1:1",
        "[::1]:1",
        "169.254.169.254",
        "0:1",
        "127.1:1",
        "2130706433:1",
        "LOCALHOST:1",
        "metadata:80",
        "127.0.0.1.:1",
        "localhost.:1",
    ):
        for method, path in (
            ("POST", f"/images/create?fromImage={quote(host + '/x')}&tag=1"),
            ("GET", f"/distribution/{quote(host)}/x/json"),
            ("POST", f"/images/{host}/x/push?tag=1"),
        ):
            c.unseen(f"{path[:14]} {host}", method, path, headers=["X-Registry-Auth: e30="])
        c.unseen(f"auth {host}", "POST", "/auth", {"username": "a", "serveraddress": host})


@vector(104, "tags that others use")
def poisoning(c):
    c.declare("whose a tag is, is a matter of `namespace`")


@vector(105, "push of what is not one's own, to anywhere")
def push(c):
    at = c.rig.canary.at

    def tagged():
        c.rig.admin("POST", f"/images/busybox/tag?repo={at}/x&tag=1")
        return c.rig.canary.hits

    for path in (f"/images/{at}/x/push?tag=1", f"/images/{at}/x/push", f"/images/{at}%2Fx/push?tag=1", f"/images/{at}/x:1/push"):
        c.call(
            path.replace(at, "CANARY"),
            "POST",
            path,
            headers=["X-Registry-Auth: e30="],
            setup=tagged,
            bites=lambda _, before: c.rig.canary.hits > before,
            maybe=True,
        )
    c.declare("whose an image is, is a matter of `namespace`")


@vector(106, "X-Registry-Auth and X-Registry-Config")
def registry_auth(c):
    canary = c.rig.canary
    elsewhere = base64.urlsafe_b64encode(
        json.dumps({"username": "a", "password": "b", "serveraddress": f"http://{canary.at}"}).encode()
    ).decode()
    gate = c.rig.gates["conservative"]
    asked(
        c,
        "another server in it",
        "POST",
        "/images/create?fromImage=docker.invalid/x&tag=1",
        headers=[f"X-Registry-Auth: {elsewhere}"],
        inert="the engine goes where the image is",
        may_pass=True,
    )
    for label, value in (("100 kB", "A" * 100_000), ("2 MB", "A" * 2_000_000)):
        a = gate.call("POST", "/images/create?fromImage=docker.invalid/x&tag=1", headers=[f"X-Registry-Auth: {value}"])
        c.expect(f"{label} ends well", a.status >= 400 and gate.call("GET", "/_ping", version="").status == 200, str(a))
    for label, headers in (
        ("two of them", ["X-Registry-Auth: e30=", f"X-Registry-Auth: {elsewhere}"]),
        ("two configs", ["X-Registry-Config: e30=", "X-Registry-Config: e30="]),
    ):
        path = "/build?version=1" if "config" in label else "/images/create?fromImage=docker.invalid/x&tag=1"
        c.unseen(label, "POST", path, headers=headers)
    c.declare("the engine sends it to the registry of the image only")
