#!/usr/bin/env python3
"""The registry reverse proxy in front of real registries, with real clients.

    suite.py [--only NAME]... [--list]

DOCKGATE=path of the binary (default: target/release/dockgate of this repository).
Each case prints a line, `ok NAME` or `FAIL NAME`; the exit status is 0 when none failed.
"""

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import traceback
import urllib.parse

import issuer
from rig import DOCKGATE, INDEX, MANIFEST, Rig, Wrong, digest_of, expect, until

CASES = []
ACCEPT = {"Accept": f"{MANIFEST}, {INDEX}"}


def case(function):
    CASES.append(function)
    return function


# ---- the distribution specification, requirement by requirement ----


@case
def pull(rig):
    upstream = rig.registry()
    gate = rig.gate({"/": upstream.url})
    expect(gate.ask("GET", "/v2/").status, 200, "the API is there")
    manifest = upstream.push("a/b", "v1", [os.urandom(200_000)])
    digest = digest_of(manifest)
    expect(gate.pull("a/b", "v1"), manifest, "by tag")
    expect(gate.pull("a/b", digest), manifest, "by digest")
    head = gate.ask("HEAD", "/v2/a/b/manifests/v1", fields=ACCEPT)
    expect((head.status, head.body), (200, b""), "HEAD of a manifest")
    expect(head.fields["content-length"], str(len(manifest)), "its length")
    expect(head.fields["docker-content-digest"], digest, "its digest")
    expect(head.fields["content-type"], MANIFEST, "its media type")
    layer = json.loads(manifest)["layers"][0]
    blob = f"/v2/a/b/blobs/{layer['digest']}"
    head = gate.ask("HEAD", blob)
    expect((head.status, head.fields["content-length"]), (200, str(layer["size"])), "HEAD of a blob")
    part = gate.ask("GET", blob, fields={"Range": "bytes=10-19"})
    whole = gate.ask("GET", blob).body
    expect((part.status, part.body), (206, whole[10:20]), "a range")
    rest = gate.ask("GET", blob, fields={"Range": f"bytes={len(whole) - 5}-"})
    expect((rest.status, rest.body), (206, whole[-5:]), "the rest of what broke off")
    no = "sha256:" + "0" * 64
    for method in ("GET", "HEAD"):
        expect(gate.ask(method, f"/v2/a/b/blobs/{no}").status, 404, f"{method} of no blob")
        expect(gate.ask(method, f"/v2/a/b/manifests/{no}", fields=ACCEPT).status, 404, f"{method} of no manifest")
        expect(gate.ask(method, "/v2/a/b/manifests/none", fields=ACCEPT).status, 404, f"{method} of no tag")
    expect(gate.ask("GET", f"/v2/a/b/blobs/{no}").code(), "BLOB_UNKNOWN", "the code of no blob")
    fresh = upstream.upload("a/b", b"fresh")
    expect(gate.ask("HEAD", f"/v2/a/b/blobs/{fresh}").status, 200, "HEAD of what is not stored")
    if "WARN" in gate.text():
        raise Wrong(f"a warning though all is well: {gate.text()}")
    expect(gate.ask("GET", "/v2/no/such/manifests/v1", fields=ACCEPT).code(), "MANIFEST_UNKNOWN", "of no repository")


@case
def push_monolithic_chunked_resumed_cancelled(rig):
    upstream = rig.registry()
    gate = rig.gate({"/": upstream.url})
    manifest = gate.push("team/app", "v1", [os.urandom(100_000)])
    expect(upstream.pull("team/app", "v1"), manifest, "what was pushed is there")
    # chunk by chunk, with a look how far it is
    body = os.urandom(30_000)
    at = gate.ask("POST", "/v2/team/app/blobs/uploads/")
    location = at.fields["location"]
    if not location.startswith("/v2/team/app/blobs/uploads/"):
        raise Wrong(f"`Location` leads elsewhere: {location}")
    for start in range(0, len(body), 10_000):
        piece = body[start : start + 10_000]
        fields = {"Content-Range": f"{start}-{start + len(piece) - 1}", "Content-Type": "application/octet-stream"}
        at = gate.ask("PATCH", location, piece, fields)
        expect((at.status, at.fields["range"]), (202, f"0-{start + len(piece) - 1}"), "a chunk")
        location = at.fields["location"]
        far = gate.ask("GET", location)
        expect((far.status, far.fields["range"]), (204, f"0-{start + len(piece) - 1}"), "how far it is")
    ended = gate.ask("PUT", f"{location}?digest={digest_of(body)}", b"")
    expect((ended.status, ended.fields["location"]), (201, f"/v2/team/app/blobs/{digest_of(body)}"), "its end")
    expect(gate.ask("GET", f"/v2/team/app/blobs/{digest_of(body)}").body, body, "the whole")
    # given up
    location = gate.ask("POST", "/v2/team/app/blobs/uploads/").fields["location"]
    expect(gate.ask("DELETE", location).status, 204, "given up")
    expect(gate.ask("GET", location).status, 404, "it is gone")
    # with the wrong digest
    location = gate.ask("POST", "/v2/team/app/blobs/uploads/").fields["location"]
    wrong = gate.ask("PUT", f"{location}?digest=sha256:{'1' * 64}", b"other")
    expect((wrong.status, wrong.code()), (400, "DIGEST_INVALID"), "not what the digest says")
    # what was looked for before it was sent is there when it was
    late = os.urandom(100)
    expect(gate.ask("HEAD", f"/v2/team/app/blobs/{digest_of(late)}").status, 404, "not yet")
    gate.upload("team/app", late)
    expect(gate.ask("HEAD", f"/v2/team/app/blobs/{digest_of(late)}").status, 200, "now it is")
    # of another repository, or made up
    for bad in (location.replace("team/app", "team/other"), "/v2/team/app/blobs/uploads/AAAA"):
        expect(gate.ask("PATCH", bad, b"x").code(), "BLOB_UPLOAD_UNKNOWN", bad)


@case
def push_mounts_within_an_upstream(rig):
    one, other = rig.registry(), rig.registry()
    gate = rig.gate({"one": one.url, "other": other.url})
    blob = gate.upload("one/a", b"shared")
    mount = lambda name, source: gate.ask("POST", f"/v2/{name}/blobs/uploads/?mount={blob}&from={urllib.parse.quote(source, safe='')}")
    got = mount("one/b", "one/a")
    expect((got.status, got.fields["location"]), (201, f"/v2/one/b/blobs/{blob}"), "mounted")
    got = mount("other/b", "one/a")
    expect(got.status, 202, "of another upstream it is uploaded")
    if not got.fields["location"].startswith("/v2/other/b/blobs/uploads/"):
        raise Wrong(got.fields["location"])
    expect(mount("one/c", "one/none").status, 202, "what is not there is uploaded")


@case
def content_discovery_and_management(rig):
    upstream = rig.registry()
    gate = rig.gate({"hub": {"url": upstream.url, "prefix": "deep"}}, catalog=True)
    names = [f"v{number}" for number in range(5)]
    for name in names:
        manifest = gate.push("hub/x", name, [name.encode()])
    got = gate.ask("GET", "/v2/hub/x/tags/list")
    expect(sorted(got.json()["tags"]), names, "all tags")
    page, seen = "/v2/hub/x/tags/list?n=2", []
    while page:
        got = gate.ask("GET", page)
        seen += got.json()["tags"]
        link = got.fields.get("link")
        page = link and link.split(">")[0].lstrip("<")
        if page and not page.startswith("/v2/hub/x/tags/list?"):
            raise Wrong(f"the next page is elsewhere: {page}")
    expect(sorted(seen), names, "page by page")
    expect(gate.ask("GET", f"/v2/hub/x/referrers/{digest_of(manifest)}").status, 404, "docker-registry 2 has none")
    expect(gate.ask("DELETE", f"/v2/hub/x/manifests/{digest_of(manifest)}").status, 202, "deleted")
    expect(gate.ask("GET", f"/v2/hub/x/manifests/{digest_of(manifest)}", fields=ACCEPT).status, 404, "and gone")
    expect(gate.ask("GET", "/v2/hub/x/manifests/v4", fields=ACCEPT).status, 404, "with its tag")
    expect(gate.ask("GET", "/v2/_catalog").code(), "UNSUPPORTED", "no upstream has all names")
    root = rig.gate({"/": upstream.url}, catalog=True)
    expect(root.ask("GET", "/v2/_catalog").json(), {"repositories": ["deep/x"]}, "the catalog")
    expect(rig.gate({"/": upstream.url}).ask("GET", "/v2/_catalog").code(), "UNSUPPORTED", "where it is not configured")


@case
def what_is_none_is_refused(rig):
    gate = rig.gate({"/": rig.registry().url})
    for method, target, status, code in [
        ("GET", "/v2/A/manifests/x", 400, "NAME_INVALID"),
        ("GET", "/v2/a/manifests/:x", 400, "MANIFEST_INVALID"),
        ("GET", "/v2/a/blobs/sha256:1", 400, "DIGEST_INVALID"),
        ("POST", "/v2/a/manifests/x", 405, "UNSUPPORTED"),
        ("GET", "/v2/a", 404, "UNAVAILABLE"),
        ("GET", "/elsewhere", 404, "UNAVAILABLE"),
    ]:
        got = gate.ask(method, target)
        expect((got.status, got.code()), (status, code), f"{method} {target}")
    big = gate.ask("PUT", "/v2/a/manifests/x", b"{" + b" " * (4 << 20) + b"}", {"Content-Type": MANIFEST})
    expect((big.status, big.code()), (413, "SIZE_INVALID"), "a manifest of more than 4 MiB")
    other = gate.ask("PUT", f"/v2/a/manifests/sha256:{'2' * 64}", b"{}", {"Content-Type": MANIFEST})
    expect((other.status, other.code()), (400, "DIGEST_INVALID"), "another digest than the manifest has")


# ---- the cache ----


@case
def what_is_pulled_again_is_not_asked_for_again(rig):
    upstream = rig.registry()
    gate = rig.gate({"/": upstream.url}, tag_ttl="1h")
    manifest = upstream.push("a/b", "v1", [os.urandom(300_000)])
    gate.pull("a/b", "v1")
    # (of a long body the upstream writes its line when the client has it already)
    fetched = lambda: len(upstream.asked('"GET"', "/v2/a/b/blobs/"))
    until("the upstream has written down the pull", lambda: fetched() == len(json.loads(manifest)["layers"]) + 1)
    before = len(upstream.asked())
    for _ in range(3):
        expect(gate.pull("a/b", "v1"), manifest, "again")
    expect(len(upstream.asked()), before, "requests to the upstream")
    until("all of it is stored", lambda: gate.stores("a/b", manifest))
    gate.kill()
    gate.start()
    gate.pull("a/b", "v1")
    verified = gate.command("verify")
    expect(fetched(), len(json.loads(manifest)["layers"]) + 1, "GETs of blobs in all")
    expect(verified.returncode, 0, f"what is stored is right ({verified.stdout} {verified.stderr})")
    listed = gate.command("ls", "--json")
    if digest_of(manifest) not in listed.stdout:
        raise Wrong(f"`cache ls` does not know the manifest: {listed.stdout[:500]} {listed.stderr}")


@case
def a_tag_that_is_pushed_is_not_remembered_as_it_was(rig):
    old, new = (json.dumps({"schemaVersion": 2, "it": word}).encode() for word in ("old", "new"))
    tags, held, goes_on = {}, threading.Event(), threading.Event()
    hold = {}

    def answer(at):
        body = tags.get(at.path, old)
        for one in (old, new):
            if at.path.endswith(digest_of(one)):
                body = one
        if at.command == "PUT":
            tags[at.path] = body = at.rfile.read(int(at.headers["Content-Length"]))
        if hold.get(at.path) == at.command:
            held.set()
            goes_on.wait(60)
        at.say(201 if at.command == "PUT" else 200, body, {"Content-Type": MANIFEST, "Docker-Content-Digest": digest_of(body)})

    gate = rig.gate({"/": rig.handmade(answer).url}, tag_ttl="1h")
    path = "/v2/a/b/manifests/v1"
    got = lambda path: gate.ask("HEAD", path, fields=ACCEPT).fields["docker-content-digest"]
    # asked before it is pushed, answered after it
    hold[path] = "HEAD"
    asks = threading.Thread(target=lambda: got(path))
    asks.start()
    held.wait(60)
    expect(gate.ask("PUT", path, new, {"Content-Type": MANIFEST}).status, 201, "pushed meanwhile")
    goes_on.set()
    asks.join()
    hold.clear()
    expect(got(path), digest_of(new), "after a HEAD that began before")
    # its file may be written while it is forgotten
    for number in range(100):
        path = f"/v2/a/b/manifests/t{number}"
        expect(got(path), digest_of(old), "before")
        expect(gate.ask("PUT", path, new, {"Content-Type": MANIFEST}).status, 201, "pushed")
    for again in (False, True):
        if again:
            gate.kill()
            gate.start()
        for number in range(100):
            expect(got(f"/v2/a/b/manifests/t{number}"), digest_of(new), f"t{number}, started again: {again}")


@case
def a_write_that_ends_after_a_reload_is_known(rig):
    old, new = (json.dumps({"schemaVersion": 2, "it": word}).encode() for word in ("old", "new"))
    tags, held, goes_on = {}, threading.Event(), threading.Event()

    def answer(at):
        if at.command == "PUT":
            body = at.rfile.read(int(at.headers["Content-Length"]))
            held.set()
            goes_on.wait(60)
            tags[at.path] = body
        body = tags.get(at.path, old)
        at.say(201 if at.command == "PUT" else 200, body, {"Content-Type": MANIFEST, "Docker-Content-Digest": digest_of(body)})

    gate = rig.gate({"/": rig.handmade(answer).url}, tag_ttl="1h")
    path, pushed = "/v2/a/b/manifests/v1", []
    got = lambda: gate.ask("HEAD", path, fields=ACCEPT).fields["docker-content-digest"]
    push = threading.Thread(target=lambda: pushed.append(gate.ask("PUT", path, new, {"Content-Type": MANIFEST}).status))
    push.start()
    held.wait(60)
    file = gate.folder / "dockgate.toml"
    file.write_text(file.read_text().replace('tag_ttl = "1h"', 'tag_ttl = "2h"'))
    done = subprocess.run([DOCKGATE, "reload", "--socket", f"unix://{gate.admin}"], capture_output=True, text=True, check=False)
    expect(done.returncode, 0, f"reloaded: {done.stderr}")
    expect(got(), digest_of(old), "before it is pushed")
    until("that is stored", lambda: "manifests/v1" in gate.command("ls").stdout)
    goes_on.set()
    push.join()
    expect((pushed, got()), ([201], digest_of(new)), "when it is")


@case
def a_push_whose_client_goes_is_known(rig):
    certs = rig.place("certs")
    subprocess.run([DOCKGATE, "certs", certs, "--host", "127.0.0.1"], check=True, capture_output=True)
    old, new = (json.dumps({"schemaVersion": 2, "it": word}).encode() for word in ("old", "new"))
    state, held, goes_on = {"is": old}, threading.Event(), threading.Event()

    def answer(at):
        body = state["is"]
        if at.command == "PUT":
            state["is"] = body = at.rfile.read(int(at.headers["Content-Length"]))
            held.set()
            goes_on.wait(60)
        at.say(201 if at.command == "PUT" else 200, body, {"Content-Type": MANIFEST, "Docker-Content-Digest": digest_of(body)})

    gate = rig.gate({"/": rig.handmade(answer).url}, tag_ttl="1h", certs=certs)
    path = "/v2/a/b/manifests/v1"
    got = lambda: gate.ask("HEAD", path, fields=ACCEPT).fields["docker-content-digest"]
    expect(got(), digest_of(old), "before")
    command = ["curl", "--silent", "--http2", "--cacert", f"{certs}/ca.pem", "-X", "PUT", "-H", f"Content-Type: {MANIFEST}"]
    client = subprocess.Popen([*command, "--data-binary", new.decode(), gate.url + path])
    held.wait(60)
    client.kill()
    client.wait()
    goes_on.set()
    until("the push is in the access log", lambda: '"PUT"' in gate.text())
    expect(got(), digest_of(new), "after it")


@case
def a_tag_of_what_is_deleted_is_gone(rig):
    upstream = rig.registry()
    gate = rig.gate({"/": upstream.url}, tag_ttl="1h")
    manifest = gate.push("a/b", "v1", [b"one"])
    other = gate.push("a/b", "v2", [b"two"])
    at = lambda tag: gate.ask("HEAD", f"/v2/a/b/manifests/{tag}", fields=ACCEPT).status
    expect((at("v1"), at("v2")), (200, 200), "both are there")
    until("the tags are stored", lambda: gate.stores("a/b", None, "manifests/v1", "manifests/v2"))
    expect(gate.ask("DELETE", f"/v2/a/b/manifests/{digest_of(manifest)}").status, 202, "deleted by its digest")
    expect((at("v1"), at("v2")), (404, 200), "its tag is gone, and no other")
    listed = gate.command("ls", "--json").stdout
    expect(("manifests/v1" in listed, "manifests/v2" in listed), (False, True), "on the disk, too")


@case
def what_was_absent_before_a_push_is_not_after_it(rig):
    upstream = rig.registry()
    gate = rig.gate({"/": upstream.url}, negative_ttl="1h")
    manifest = upstream.push("other/x", "v1", [b"one"])
    for part in [json.loads(manifest)["config"]["digest"], json.loads(manifest)["layers"][0]["digest"]]:
        gate.upload("a/b", upstream.ask("GET", f"/v2/other/x/blobs/{part}").body)
    path = f"/v2/a/b/manifests/{digest_of(manifest)}"
    expect(gate.ask("HEAD", path, fields=ACCEPT).status, 404, "not yet")
    expect(gate.ask("PUT", "/v2/a/b/manifests/v1", manifest, {"Content-Type": MANIFEST}).status, 201, "by its tag")
    expect(gate.ask("HEAD", path, fields=ACCEPT).status, 200, "by its digest")
    # asked before it is pushed, answered after it
    blob, state, held, goes_on = os.urandom(10), {"has": False}, threading.Event(), threading.Event()

    def answer(at):
        has = state["has"]
        if at.path == "/v2/":
            return at.say(200, b"{}")
        if at.command == "POST":
            at.rfile.read(int(at.headers["Content-Length"]))
            state["has"] = True
            return at.say(201, b"", {"Location": "/elsewhere"})
        if not has:
            held.set()
            goes_on.wait(60)
        return at.say(200, blob) if has else at.say(404)

    gate = rig.gate({"/": rig.handmade(answer).url}, negative_ttl="1h")
    path = f"/v2/a/b/blobs/{digest_of(blob)}"
    asks = threading.Thread(target=lambda: gate.ask("HEAD", path))
    asks.start()
    held.wait(60)
    expect(gate.ask("POST", f"/v2/a/b/blobs/uploads/?digest={digest_of(blob)}", blob).status, 201, "pushed meanwhile")
    goes_on.set()
    asks.join()
    expect(gate.ask("HEAD", path).status, 200, "now it is there")


@case
def a_token_that_comes_byte_by_byte_is_not_waited_for_without_end(rig):
    ends = threading.Event()

    def answer(at):
        if not at.path.startswith("/token"):
            return at.say(401, b"", {"WWW-Authenticate": f'Bearer realm="{upstream.url}/token",service="s"'})
        at.send_response(200)
        at.send_header("Content-Length", "60000")
        at.end_headers()
        try:
            while not ends.wait(0.1):
                at.wfile.write(b" ")
        except OSError:
            return None

    upstream = rig.handmade(answer)
    gate = rig.gate({"/": upstream.url}, head_timeout="1s", body_timeout="1s")
    got = gate.ask("GET", "/v2/a/b/manifests/v1", fields=ACCEPT)
    ends.set()
    expect(got.status, 502, "it is given up")


@case
def uploads_that_stall_leave_pulls_their_connections(rig):
    held, ends = threading.Semaphore(0), threading.Event()

    def answer(at):
        if at.command == "PATCH":
            held.release()
            ends.wait(60)
        elif at.command == "POST":
            at.say(202, b"", {"Location": at.path + "one"})
        else:
            at.say(200, b"{}", {"Content-Type": MANIFEST, "Docker-Content-Digest": digest_of(b"{}")})

    gate = rig.gate({"/": rig.handmade(answer).url}, connections_per_host=2)
    clients = []
    for _ in range(2):
        location = gate.ask("POST", "/v2/a/b/blobs/uploads/").fields["location"]
        client = socket.create_connection(("127.0.0.1", gate.port))
        client.sendall(f"PATCH {location} HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nx".encode())
        clients.append(client)
    held.acquire(timeout=60)
    expect(gate.ask("GET", "/v2/a/b/manifests/v1", fields=ACCEPT).status, 200, "a pull goes on")
    ends.set()
    for client in clients:
        client.close()


@case
def a_tag_that_moved_is_found_moved(rig):
    upstream = rig.registry()
    gate = rig.gate({"/": upstream.url}, tag_ttl="0s")
    first = upstream.push("a/b", "v1", [b"one"])
    expect(gate.pull("a/b", "v1"), first, "as it was")
    second = upstream.push("a/b", "v1", [b"two"])
    expect(gate.pull("a/b", "v1"), second, "as it is")
    # what is pushed through the gate is seen at once, however long tags are kept
    long = rig.gate({"/": upstream.url}, tag_ttl="1h")
    expect(long.pull("a/b", "v1"), second, "as it is")
    third = long.push("a/b", "v1", [b"three"])
    expect(long.pull("a/b", "v1"), third, "as it was pushed")
    # and what was not there is there
    expect(long.ask("GET", "/v2/a/b/manifests/new", fields=ACCEPT).status, 404, "not yet")
    new = long.push("a/b", "new", [b"new"])
    expect(long.pull("a/b", "new"), new, "now it is")


@case
def an_upstream_that_is_away(rig):
    upstream = rig.registry()
    gate = rig.gate({"/": upstream.url}, tag_ttl="0s", access_ttl="1ms", connect_timeout="2s")
    manifest = upstream.push("a/b", "v1", [os.urandom(1000)])
    gate.pull("a/b", "v1")
    until("all of it is stored", lambda: gate.stores("a/b", manifest) and gate.stores("a/b", b"", "manifests/v1"))
    upstream.stop()
    for _ in range(2):
        got = gate.ask("GET", "/v2/a/b/manifests/v1", fields=ACCEPT)
        expect((got.status, got.body), (200, manifest), "the tag as it was")
        if "detail=" not in got.fields["cache-status"]:
            raise Wrong(f"nothing says that it is old: {got.fields}")
        expect(gate.pull("a/b", "v1"), manifest, "with its blobs")
        gate.kill()
        gate.start()
    other = gate.ask("GET", "/v2/a/b/manifests/other", fields=ACCEPT)
    expect((other.status in (502, 504), other.code()), (True, "UNAVAILABLE"), "what was never asked for")
    upstream.start()
    until("the upstream is asked again", lambda: gate.ask("GET", "/v2/a/b/manifests/v1", fields=ACCEPT).status == 200)


@case
def a_herd_costs_one_request(rig):
    body = os.urandom(4 << 20)
    digest, gone = digest_of(body), threading.Event()

    def answer(handler):
        if handler.path == "/v2/":
            return handler.say(200, b"{}")
        if handler.command == "GET":
            # until all have asked
            handler.send_response(200)
            handler.send_header("Content-Length", str(len(body)))
            handler.end_headers()
            handler.wfile.write(body[:100_000])
            handler.wfile.flush()
            gone.wait(60)
            return handler.wfile.write(body[100_000:])
        return handler.say(200, b"", {"Docker-Content-Digest": digest})

    upstream = rig.handmade(answer)
    gate = rig.gate({"/": upstream.url})
    results = []

    def one():
        results.append(digest_of(gate.ask("GET", f"/v2/a/b/blobs/{digest}").body))

    threads = [threading.Thread(target=one) for _ in range(50)]
    for thread in threads:
        thread.start()
    until("somebody is served", lambda: any(method == "GET" and "blobs" in path for method, path, _ in upstream.asked))
    gone.set()
    for thread in threads:
        thread.join()
    expect(results, [digest] * 50, "what each of them has got")
    gets = [path for method, path, _ in upstream.asked if method == "GET" and "blobs" in path]
    heads = [path for method, path, _ in upstream.asked if method == "HEAD"]
    expect((len(gets), len(heads)), (1, 1), "requests for the blob, and questions whether it may be read")


@case
def a_layer_of_two_repositories_is_fetched_and_stored_once(rig):
    upstream = rig.registry()
    gate = rig.gate({"/": upstream.url})
    body = os.urandom(100_000)
    one, two = (upstream.push(name, "v1", [body]) for name in ("a/one", "b/two"))
    upstream.push("c/three", "v1", [b"other"])
    layer, absent = digest_of(body), "sha256:" + "0" * 64
    gets = lambda: len(upstream.asked(layer, '"http.request.method":"GET"'))
    copies = lambda: [line for line in gate.command("ls", "--json").stdout.splitlines() if f'"bytes":{len(body)}' in line]
    expect((gate.pull("a/one", "v1"), gate.pull("b/two", "v1")), (one, two), "both images")
    expect((gets(), len(upstream.asked(f"b/two/blobs/{layer}"))), (1, 1), "fetched once, and asked of the other")
    until("it is stored", lambda: len(copies()) == 1)
    expect((gate.pull("b/two", "v1"), gets()), (two, 1), "again")
    expect(len(upstream.asked(f"b/two/blobs/{layer}")), 1, "and nobody is asked")
    # where it is not, it is as what nobody has
    gate.pull("c/three", "v1")
    for method in ("GET", "HEAD"):
        here, nowhere = (gate.ask(method, f"/v2/c/three/blobs/{digest}") for digest in (layer, absent))
        same = lambda got: (got.status, got.body, sorted(set(got.fields) - {"date"}))
        expect((here.status, same(here)), (404, same(nowhere)), f"{method} where it is not")
    expect(gets(), 1, "fetched")
    # who asked for it before does not know it of one repository when it is deleted there
    expect(gate.ask("DELETE", f"/v2/b/two/blobs/{layer}").status, 202, "deleted")
    expect(gate.ask("GET", f"/v2/b/two/blobs/{layer}").status, 404, "gone from there")
    expect((gate.ask("GET", f"/v2/a/one/blobs/{layer}").body, gets()), (body, 1), "and kept for the other")
    # a restart knows what it knew
    until("that too is stored", lambda: gate.stores("a/one", one))
    gate.kill()
    upstream.stop()
    gate.start()
    expect(gate.ask("GET", f"/v2/a/one/blobs/{layer}").body, body, "without the upstream")
    got = gate.ask("GET", f"/v2/c/three/blobs/{layer}")
    expect(got.status >= 400, True, "and not where nobody has said that it is")
    upstream.start()
    # what is purged of one repository is fetched again for all
    purged = gate.command("purge", "--prefix", f"{upstream.url}/v2/a/one/")
    expect((purged.returncode, copies()), (0, []), f"purged: {purged.stdout}")
    until("it is there again", lambda: gate.ask("GET", f"/v2/a/one/blobs/{layer}").body == body)
    until("and stored", lambda: len(copies()) == 1)
    purged = gate.command("purge", f"{upstream.url}/v2/a/one/blobs/{layer}")
    expect((purged.returncode, copies()), (0, []), f"purged by its URL: {purged.stdout}")
    expect(gate.command("verify").returncode, 0, "nothing is wrong")


@case
def what_is_on_its_way_for_one_repository_is_no_others(rig):
    body = os.urandom(1 << 20)
    digest, goes_on = digest_of(body), threading.Event()

    def answer(handler):
        if handler.path == "/v2/":
            return handler.say(200, b"{}")
        if handler.path != f"/v2/a/has/blobs/{digest}":
            is_there = handler.path.startswith("/v2/b/") and "tags" in handler.path or handler.path.endswith("/known")
            return handler.say(200, b"{}", {"Docker-Content-Digest": digest_of(b"{}")}) if is_there else handler.say(404)
        if handler.command == "GET":
            handler.send_response(200)
            handler.send_header("Content-Length", str(len(body)))
            handler.end_headers()
            handler.wfile.write(body[:500_000])
            handler.wfile.flush()
            goes_on.wait(60)
            return handler.wfile.write(body[500_000:])
        return handler.say(200, b"", {"Docker-Content-Digest": digest})

    upstream = rig.handmade(answer)
    gate = rig.gate({"/": upstream.url})
    # access to the other repository is no question
    expect(gate.ask("HEAD", "/v2/b/not/manifests/known", fields=ACCEPT).status, 200, "it may be read")
    got = []
    reader = threading.Thread(target=lambda: got.append(gate.ask("GET", f"/v2/a/has/blobs/{digest}").body))
    reader.start()
    until("it is on its way", lambda: ("GET", f"/v2/a/has/blobs/{digest}") in [one[:2] for one in upstream.asked])
    for fields in ({}, {"Range": "bytes=0-99"}, {"Cache-Control": "only-if-cached"}):
        refused = gate.ask("GET", f"/v2/b/not/blobs/{digest}", fields=fields)
        expect((refused.status, len(refused.body) < 1000), (404, True), f"of the other, with {fields}")
    goes_on.set()
    reader.join()
    expect(digest_of(got[0]), digest, "who may have it")
    expect(gate.ask("GET", f"/v2/b/not/blobs/{digest}").status, 404, "nor when it is stored")


@case
def many_small_ranges_cost_one_request(rig):
    body = os.urandom(1 << 20)
    digest = digest_of(body)

    def answer(handler):
        return handler.say(200, b"{}" if handler.path == "/v2/" else body)

    upstream = rig.handmade(answer)
    gate = rig.gate({"/": upstream.url})
    for at in range(0, 100 * 1000, 1000):
        part = gate.ask("GET", f"/v2/a/b/blobs/{digest}", fields={"Range": f"bytes={at}-{at + 99}"})
        expect((part.status, part.body), (206, body[at : at + 100]), f"100 bytes from {at}")
    expect(len([1 for method, path, _ in upstream.asked if method == "GET" and "blobs" in path]), 1, "GETs upstream")


@case
def what_a_disk_damages_is_found_when_it_is_served(rig):
    upstream = rig.registry()
    gate = rig.gate({"/": upstream.url})
    body = os.urandom(3 << 20)
    manifest = upstream.push("a/b", "v1", [body, b"small layer"])
    large, small = (one["digest"] for one in json.loads(manifest)["layers"])
    gate.pull("a/b", "v1")
    until("it is stored", lambda: gate.stores("a/b", manifest))
    stored = lambda part: next((gate.folder / "cache/objects").glob(f"*/*/*/v2/*/blobs/{part},o"))
    gets = lambda digest: len(upstream.asked(digest, '"http.request.method":"GET"'))

    def damage(path, at):
        with path.open("r+b") as file:
            file.seek(at, os.SEEK_END)
            byte = file.read(1)
            file.seek(at, os.SEEK_END)
            file.write(bytes([byte[0] ^ 1]))

    one = lambda path: max(path, key=lambda found: found.stat().st_size)
    body_of = lambda digest: one((gate.folder / "cache/objects").glob(f"*/*/*/v2/_/blobs/{digest},o"))
    manifest_at = one((gate.folder / "cache/objects").glob(f"*/*/*/v2/a/b/manifests/{digest_of(manifest)},o"))
    for restarts in (False, True):
        counted = [gets(digest) for digest in (large, small, digest_of(manifest))]
        for path, at in ((body_of(large), -1_500_000), (body_of(small), -3), (manifest_at, -2)):
            damage(path, at)
        if restarts:
            gate.kill()
            gate.start()
        # what is small is right at once
        expect(gate.ask("GET", f"/v2/a/b/blobs/{small}").body, b"small layer", "the small one")
        expect(gate.ask("GET", "/v2/a/b/manifests/v1", fields=ACCEPT).body, manifest, "the manifest")
        # what is large is never given to its end, and right when it is asked for again
        expect(broken(gate, f"/v2/a/b/blobs/{large}"), True, "the large one breaks off")
        expect(gate.ask("GET", f"/v2/a/b/blobs/{large}").body, body, "and is right then")
        expect([gets(digest) for digest in (large, small, digest_of(manifest))], [n + 1 for n in counted], "fetched anew")
        until("all is stored again", lambda: gate.stores("a/b", manifest))
        # of a part nobody could tell
        damage(body_of(large), -10)
        part = gate.ask("GET", f"/v2/a/b/blobs/{large}", fields={"Range": "bytes=5-9"})
        expect((part.status, part.body), (206, body[5:10]), "a part")
        expect(gets(large), counted[0] + 2, "of what was fetched anew")
        until("it is stored again", lambda: gate.stores("a/b", manifest))
    # and what is right is asked of nobody
    counted = gets(large)
    expect((gate.ask("GET", f"/v2/a/b/blobs/{large}").body, gets(large)), (body, counted), "what is right")
    expect(gate.command("verify").returncode, 0, "nothing is wrong")


@case
def a_mirror_is_asked_first(rig):
    mirror, upstream = rig.registry(), rig.registry(login=("robot", "hush"))
    login = {"kind": "login", "username": "robot", "password_file": rig.file("password", "hush\n")}
    gate = rig.gate({"/": {"url": upstream.url, "mirror": mirror.url, "credentials": login}}, tag_ttl="0s")
    robot = {"login": ("robot", "hush")}
    both = mirror.push("a/b", "v1", [b"of the mirror"])
    expect(upstream.push("a/b", "v1", [b"of the mirror"], **robot), both, "the same is there")
    asked = len(upstream.asked())
    expect((gate.pull("a/b", "v1"), len(upstream.asked())), (both, asked), "the upstream is not asked")
    # what the mirror does not have
    own = upstream.push("a/own", "v1", [b"own"], **robot)
    expect(gate.pull("a/own", "v1"), own, "of the upstream")
    # the mirror's word of a tag counts, until it is written through here
    newer = mirror.push("a/b", "v2", [b"newer"])
    upstream.push("a/b", "v2", [b"older"], **robot)
    expect(gate.pull("a/b", "v2"), newer, "the mirror's")
    puts = len(mirror.asked('"http.request.method":"PUT"'))
    pushed = gate.push("a/b", "v2", [b"newest"])
    expect(gate.pull("a/b", "v2"), pushed, "what was pushed")
    expect(upstream.pull("a/b", "v2", **robot), pushed, "to the upstream")
    expect(len(mirror.asked('"http.request.method":"PUT"')), puts, "and not to the mirror")
    expect(gate.ask("GET", "/v2/a/none/manifests/v1", fields=ACCEPT).status, 404, "what neither has")
    # without the mirror all goes on
    mirror.stop()
    later = upstream.push("a/late", "v1", [os.urandom(100_000)], **robot)
    expect(gate.pull("a/late", "v1"), later, "without the mirror")
    # and without the upstream, where the mirror has it
    mirror.start()
    last = mirror.push("a/last", "v1", [b"last"])
    upstream.stop()
    until("the mirror is asked again", lambda: gate.ask("GET", "/v2/a/last/manifests/v1", fields=ACCEPT).status == 200)
    expect(gate.pull("a/last", "v1"), last, "without the upstream")


@case
def a_mirror_that_lies_or_fails_is_left_out(rig):
    upstream = rig.registry(login=("robot", "hush"))
    login = {"kind": "login", "username": "robot", "password_file": rig.file("password", "hush\n")}
    body = os.urandom(2 << 20)
    manifest = upstream.push("a/b", "v1", [body], login=("robot", "hush"))
    layer = json.loads(manifest)["layers"][0]["digest"]
    told = {"Docker-Content-Digest": digest_of(manifest), "Content-Type": MANIFEST}

    def lies(handler):
        if layer in handler.path:
            return handler.say(200, bytes(len(body)))
        return handler.say(200, manifest, told) if digest_of(manifest) in handler.path else handler.say(404)

    def breaks_off(handler):
        if layer not in handler.path or handler.command == "HEAD":
            return handler.say(404)
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body[:1_000_000])
        handler.close_connection = True
        return None

    def fails(handler):
        return handler.say(503)

    def wants_a_login(handler):
        challenge = f'Basic realm="x"' if handler.path != "/v2/" else f'Bearer realm="http://{handler.headers["Host"]}/token"'
        return handler.say(401, b"", {"WWW-Authenticate": challenge})

    def sends_elsewhere(handler):
        return handler.say(307, b"", {"Location": "http://169.254.169.254/x"})

    for answer in (lies, breaks_off, fails, wants_a_login, sends_elsewhere):
        mirror = rig.handmade(answer)
        gate = rig.gate({"/": {"url": upstream.url, "mirror": [mirror.url], "credentials": login}})
        if answer in (lies, breaks_off):
            expect(broken(gate, f"/v2/a/b/blobs/{layer}"), True, f"{answer.__name__}: what is wrong is not given")
        expect(gate.pull("a/b", "v1"), manifest, f"{answer.__name__}: of the upstream then")
        if any("Authorization" in fields for _, _, fields in mirror.asked):
            raise Wrong(f"{answer.__name__}: the mirror is shown a credential")
        if any(method not in ("GET", "HEAD") for method, _, _ in mirror.asked):
            raise Wrong(f"{answer.__name__}: the mirror is written to")


@case
def a_mirror_has_names_of_its_own(rig):
    mirror, upstream = rig.registry(), rig.registry()
    manifest = mirror.push("hub/deep/a", "v1", [b"layer"])
    gate = rig.gate({"x": {"url": upstream.url, "prefix": "deep", "mirror": f"{mirror.url}/hub"}})
    expect(gate.pull("x/a", "v1"), manifest, "below its path")


# ---- who asks ----


@case
def clients_are_authenticated_by_the_token_protocol(rig):
    upstream = rig.registry()
    manifest = upstream.push("team/app", "v1", [b"x"])
    hashed = lambda user: run("htpasswd", "-BbnC", "10", user, "secret")
    lines = hashed("ada") + hashed("bob")
    extra = f"""
[auth.people]
kind = "basic"
file = "{rig.file("htpasswd", lines)}"
[[registry.main.rule]]
repositories = ["team/*"]
users = ["ada"]
[[registry.main.rule]]
repositories = ["**"]
actions = ["pull"]
users = ["*"]
"""
    gate = rig.gate({"/": upstream.url}, auth=["people"], extra=extra)
    got = gate.ask("GET", "/v2/")
    expect((got.status, got.code()), (401, "UNAUTHORIZED"), "nobody")
    challenge = got.fields["www-authenticate"]
    expect(challenge, f'Bearer realm="{gate.url}/token",service="main"', "where a token is had")
    got = gate.ask("GET", "/v2/team/app/manifests/v1", fields=ACCEPT)
    expect(got.fields["www-authenticate"], challenge + ',scope="repository:team/app:pull"', "with a scope")
    expect(gate.ask("GET", "/token?service=main", login=("ada", "wrong")).status, 401, "a wrong password")
    expect(gate.ask("GET", "/token?service=main").status, 401, "no password")
    token = lambda user: gate.ask("GET", "/token?service=main", login=(user, "secret")).json()["token"]
    by = lambda user: {"Authorization": f"Bearer {token(user)}"}
    expect(gate.ask("GET", "/v2/", fields=by("bob")).status, 200, "with a token")
    expect(gate.ask("GET", "/v2/team/app/manifests/v1", fields=ACCEPT | by("bob")).body, manifest, "pulled")
    refused = gate.ask("POST", "/v2/team/app/blobs/uploads/", fields=by("bob"))
    expect((refused.status, refused.code()), (403, "DENIED"), "bob pushes")
    begun = gate.ask("POST", "/v2/team/app/blobs/uploads/", fields=by("ada"))
    expect(begun.status, 202, "ada pushes")
    stolen = gate.ask("PATCH", begun.fields["location"], b"x", by("bob"))
    expect(stolen.status, 403, "bob goes on with ada's upload")
    gate.push("team/app", "v2", login=("ada", "secret"))
    form = urllib.parse.urlencode({"grant_type": "password", "username": "ada", "password": "secret"}).encode()
    expect(gate.ask("POST", "/token", form, {"Content-Type": "application/x-www-form-urlencoded"}).status, 200, "by OAuth 2")
    for forged in ("a.b.c", token("bob")[:-2], "eyJhbGciOiJub25lIn0." + token("bob").split(".")[1] + "."):
        got = gate.ask("GET", "/v2/", fields={"Authorization": f"Bearer {forged}"})
        expect(got.status, 401, "a forged token")
    log = gate.text()
    if "secret" in log or token("ada")[:40] in log:
        raise Wrong("a credential is in the log")
    text = gate.metrics()
    for result in ("recognised", "refused", "unknown"):
        if not [line for line in text.splitlines() if line.startswith("dockgate_authentications_total") and '"registry main"' in line and result in line]:
            raise Wrong(f"no login was counted as {result}: {text}")



@case
def anonymous_push_is_not_open(rig):
    gate = rig.gate({"/": rig.registry().url}, extra=" ")
    got = gate.ask("POST", "/v2/a/b/blobs/uploads/")
    expect((got.status, got.code()), (403, "DENIED"), "without rules")
    if "rule" not in got.json()["errors"][0]["message"]:
        raise Wrong(got.body)
    expect(gate.ask("DELETE", "/v2/a/b/manifests/x").status, 403, "nor deletion")


@case
def an_upstream_with_a_password(rig):
    upstream = rig.registry(login=("robot", "hush"))
    password = rig.file("password", "hush\n")
    login = {"kind": "login", "username": "robot", "password_file": password}
    gate = rig.gate({"/": {"url": upstream.url, "credentials": login}})
    manifest = gate.push("a/b", "v1", [b"layer"])
    expect(gate.pull("a/b", "v1"), manifest, "pushed and pulled without a password of one's own")
    expect(upstream.ask("GET", "/v2/a/b/tags/list").status, 401, "which the upstream wants")
    nobody = rig.gate({"/": upstream.url})
    got = nobody.ask("GET", "/v2/a/b/manifests/v1", fields=ACCEPT)
    expect((got.status, got.code()), (403, "DENIED"), "without one")
    expect(got.fields.get("www-authenticate"), None, "a client has nobody to ask for a token")
    if "hush" in gate.text():
        raise Wrong("the password is in the log")


@case
def an_upstream_with_tls_and_a_gate_with_tls(rig):
    certs = rig.place("certs")
    run(DOCKGATE, "certs", certs, "--host", "127.0.0.1")
    upstream = rig.registry(login=("robot", "hush"), tls=certs)
    login = {"kind": "login", "username": "robot", "password_file": rig.file("password", "hush")}
    there = {"url": upstream.url, "credentials": login}
    gate = rig.gate({"/": there}, certs=certs, upstream_ca=f"{certs}/ca.pem")
    manifest = gate.push("a/b", "v1", [os.urandom(50_000)])
    expect(gate.pull("a/b", "v1"), manifest, "over TLS on both sides")
    wary = rig.gate({"/": there})
    got = wary.ask("GET", "/v2/a/b/manifests/v1", fields=ACCEPT)
    expect((got.status, "upstream_ca" in got.json()["errors"][0]["message"]), (502, True), "an authority nobody trusts")


@case
def an_upstream_that_gives_tokens(rig):
    with issuer.Issuer(rig.place("issuer"), {"robot": "hush"}) as tokens:
        upstream = rig.registry(auth={"token": tokens.config})
        login = {"kind": "login", "username": "robot", "password_file": rig.file("password", "hush")}
        gate = rig.gate({"/": {"url": upstream.url, "credentials": login, "realm": tokens.url}})
        manifest = gate.push("team/app", "v1", [os.urandom(5000)])
        expect(gate.pull("team/app", "v1"), manifest, "pushed and pulled")
        # a token is for what is asked, and serves as long as it holds
        expect(sorted(set(tokens.scopes)), ["repository:team/app:pull", "repository:team/app:pull,push"], "scopes")
        expect(len(tokens.scopes), 2, "requests for tokens")
        # revoked: one more is asked for, and the client sees nothing of it
        tokens.revoke(upstream)
        gate.ask("GET", "/v2/team/app/manifests/none", fields=ACCEPT)
        expect(gate.ask("GET", "/v2/team/app/tags/list").status, 200, "after it was revoked")
        mount = gate.ask("POST", f"/v2/team/other/blobs/uploads/?mount={json.loads(manifest)['layers'][0]['digest']}&from=team%2Fapp")
        expect(mount.status, 201, "mounted, with a token for both")


@case
def a_realm_of_another_domain_is_not_asked(rig):
    elsewhere = rig.handmade(lambda handler: handler.say(200, b'{"token":"t"}'))
    bad = f'Bearer realm="http://localhost:{elsewhere.port}/token",service="s"'
    upstream = rig.handmade(lambda handler: handler.say(401, b"{}", {"WWW-Authenticate": bad}))
    login = {"kind": "login", "username": "robot", "password_file": rig.file("password", "hush")}
    gate = rig.gate({"/": {"url": upstream.url, "credentials": login}})
    got = gate.ask("GET", "/v2/a/b/manifests/v1", fields=ACCEPT)
    expect((got.status, got.code()), (502, "UNAVAILABLE"), "refused")
    expect(elsewhere.asked, [], "nobody is told the password")


@case
def who_may_not_read_it_does_not_get_it_from_the_cache(rig):
    with issuer.Issuer(rig.place("issuer"), {"ann": "a", "eve": "e"}, {"private/": ["ann"]}) as tokens:
        upstream = rig.registry(auth={"token": tokens.config})
        gate = rig.gate({"/": {"url": upstream.url, "credentials": {"kind": "client"}, "realm": tokens.url}})
        ann, eve = ("ann", "a"), ("eve", "e")
        manifest = gate.push("private/app", "v1", [os.urandom(2000)], login=ann)
        expect(gate.pull("private/app", "v1", login=ann), manifest, "ann")
        layer = json.loads(manifest)["layers"][0]["digest"]
        targets = ["manifests/v1", f"manifests/{digest_of(manifest)}", f"blobs/{layer}", "tags/list"]
        for who in (eve, None, ("ann", "wrong")):
            for target in targets:
                got = gate.ask("GET", f"/v2/private/app/{target}", fields=ACCEPT, login=who)
                expect(got.status in (401, 403, 404), True, f"{who} gets {target}: {got.status}")
                if layer.encode() in got.body and "blobs" not in target:
                    raise Wrong("it is told what is there")
        # a digest is no key to other repositories
        got = gate.ask("GET", f"/v2/open/app/blobs/{layer}", login=eve)
        expect(got.status, 404, "by the digest alone")
        # its own: eve may read what is open
        open_one = gate.push("open/app", "v1", [b"open"], login=ann)
        expect(gate.pull("open/app", "v1", login=eve), open_one, "eve")
        # and where she may read, what is kept is there only if the repository has it
        for method in ("GET", "HEAD"):
            got = gate.ask(method, f"/v2/open/app/blobs/{layer}", login=eve)
            expect(got.status, 404, f"{method} by the digest, where she may read")
        mount = f"/v2/open/app/blobs/uploads/?mount={layer}&from=private%2Fapp"
        expect(gate.ask("POST", mount, login=eve).status in (202, 401, 403), True, "nor by a mount")
        expect(gate.ask("GET", f"/v2/open/app/blobs/{layer}", login=eve).status, 404, "which gives her nothing")
        # where the upstream is away nobody is believed who has not shown it lately
        upstream.stop()
        expect(gate.ask("GET", f"/v2/private/app/blobs/{layer}", login=ann).status, 200, "ann, lately")
        got = gate.ask("GET", f"/v2/private/app/blobs/{layer}", login=eve)
        expect(got.status >= 400, True, f"eve: {got.status}")


@case
def a_credential_helper(rig):
    upstream = rig.registry(login=("robot", "hush"))
    folder = rig.place("bin")
    folder.mkdir()
    helper = folder / "docker-credential-made"
    helper.write_text('#!/bin/sh\n[ "$1" = get ] && read -r host; printf \'{"Username":"robot","Secret":"hush"}\'\n')
    helper.chmod(0o755)
    os.environ["PATH"] = f"{folder}:{os.environ['PATH']}"
    gate = rig.gate({"/": {"url": upstream.url, "credentials": {"kind": "helper", "helper": "made"}}})
    manifest = gate.push("a/b", "v1", [b"layer"])
    expect(gate.pull("a/b", "v1"), manifest, "with what the helper says")


@case
def clients_show_their_own_passwords(rig):
    # Long: two letters stand in one token of thirty.
    PASSWORD = "the-password-of-alice"
    upstream = rig.registry(login=("alice", PASSWORD))
    manifest = upstream.push("a/b", "v1", [b"x"], login=("alice", PASSWORD))
    gate = rig.gate({"/": {"url": upstream.url, "credentials": {"kind": "client"}}})
    expect(gate.pull("a/b", "v1", login=("alice", PASSWORD)), manifest, "by Basic")
    got = gate.ask("GET", "/v2/")
    expect((got.status, got.fields["www-authenticate"].split()[0]), (401, "Bearer"), "clients are asked at the ping")
    # `docker login` asks whether they are good
    for who, status, ping in ((("alice", PASSWORD), 200, 200), (("alice", f"not-{PASSWORD}"), 401, 401), (None, 401, 200)):
        token = gate.ask("GET", "/token?service=main", login=who).json()["token"]
        if who and who[1] in token:
            raise Wrong("the password can be read in the token")
        fields = {"Authorization": f"Bearer {token}"}
        expect(gate.ask("GET", "/v2/", fields=fields).status, ping, f"the ping of {who}")
        expect(gate.ask("GET", "/v2/a/b/manifests/v1", fields=ACCEPT | fields).status, status, f"{who} by token")
    expect(gate.ask("GET", "/v2/", fields={"Authorization": "Bearer forged"}).status, 401, "a forged one")
    here = f"docker://{gate.host}/a/b:v1"
    run("skopeo", "inspect", "--tls-verify=false", "--creds", f"alice:{PASSWORD}", here)
    for password, status in ((PASSWORD, 0), (f"not-{PASSWORD}", 1)):
        login = ["skopeo", "login", "--tls-verify=false", "--authfile", str(gate.folder / "auth.json"), "-u", "alice", "-p", password]
        done = subprocess.run([*login, gate.host], capture_output=True, text=True, check=False)
        expect(done.returncode, status, f"skopeo login with {password}: {done.stderr}")
    # where the upstream is away nobody knows
    upstream.stop()
    token = gate.ask("GET", "/token?service=main", login=("alice", f"not-{PASSWORD}")).json()["token"]
    expect(gate.ask("GET", "/v2/", fields={"Authorization": f"Bearer {token}"}).status, 200, "nobody says no")
    # what is open needs no password
    open_one = rig.registry()
    open_one.push("a/b", "v1", [b"x"])
    gate = rig.gate({"/": {"url": open_one.url, "credentials": {"kind": "client"}}})
    run("skopeo", "inspect", "--tls-verify=false", f"docker://{gate.host}/a/b:v1")


@case
def a_token_does_not_renew_itself(rig):
    lines = run("htpasswd", "-BbnC", "10", "ada", "secret")
    extra = f"""
[auth.people]
kind = "basic"
file = "{rig.file("htpasswd", lines)}"
"""
    gate = rig.gate({"/": rig.registry().url}, auth=["people"], extra=extra)
    token = gate.ask("GET", "/token?service=main", login=("ada", "secret")).json()["token"]
    again = gate.ask("GET", "/token?service=main", fields={"Authorization": f"Bearer {token}"})
    expect(again.status, 401, "a token for a token")


@case
def a_challenge_of_where_a_redirect_leads_is_nobodys(rig):
    said = []

    def cdn(handler):
        said.append(handler.headers.get("Authorization"))
        handler.say(401, b"{}", {"WWW-Authenticate": f'Bearer realm="http://{handler.headers["Host"]}/t",service="s"'})

    store = rig.handmade(cdn)
    digest = "sha256:" + "4" * 64
    state = {"lies": True}

    def answer(handler):
        if handler.headers.get("Authorization", "") != "Basic cm9ib3Q6aHVzaA==":
            return handler.say(401, b"{}", {"WWW-Authenticate": 'Basic realm="x"'})
        if handler.path.endswith(digest) and state["lies"]:
            return handler.say(307, b"", {"Location": f"{store.url}/blob"})
        return handler.say(200, b"{}", {"Content-Type": MANIFEST, "Docker-Content-Digest": digest_of(b"{}")})

    upstream = rig.handmade(answer)
    login = {"kind": "login", "username": "robot", "password_file": rig.file("password", "hush")}
    gate = rig.gate({"/": {"url": upstream.url, "credentials": login}})
    got = gate.ask("GET", f"/v2/a/b/blobs/{digest}")
    expect(got.status >= 400, True, f"what lies there is not given: {got.status}")
    expect([one for one in said if one], [], "credentials that were told elsewhere")
    expect(any("/t" in path for _, path, _ in store.asked), False, "a token asked for elsewhere")
    state["lies"] = False
    expect(gate.ask("GET", "/v2/a/b/manifests/v1", fields=ACCEPT).status, 200, "and the upstream is as it was")


@case
def upstreams_of_one_host_share_nothing(rig):
    upstream = rig.registry(login=("robot", "hush"))
    login = lambda password: {"kind": "login", "username": "robot", "password_file": rig.file("password", password)}
    gate = rig.gate({
        "team": {"url": upstream.url, "credentials": login("hush")},
        "other": {"url": upstream.url, "credentials": login("wrong")},
        "pub": upstream.url,
    })
    manifest = gate.push("team/secret/app", "v1", [os.urandom(1000)])
    expect(gate.pull("team/secret/app", "v1"), manifest, "by whom the upstream lets in")
    layer = json.loads(manifest)["layers"][0]["digest"]
    targets = ["manifests/v1", f"manifests/{digest_of(manifest)}", f"blobs/{layer}"]
    for name in ("other", "pub"):
        for target in targets:
            expect(gate.ask("GET", f"/v2/{name}/secret/app/{target}", fields=ACCEPT).status, 403, f"{name} {target}")
    upstream.stop()
    for name in ("other", "pub"):
        for target in targets:
            for method in ("GET", "HEAD"):
                got = gate.ask(method, f"/v2/{name}/secret/app/{target}", fields=ACCEPT)
                expect(got.status >= 400, True, f"{method} {name} {target}, the upstream away: {got.status}")


@case
def tenants_have_credentials_of_their_own(rig):
    with issuer.Issuer(rig.place("issuer"), {"a-robot": "1", "b-robot": "2"}, {"a/": ["a-robot"], "b/": ["b-robot"]}) as tokens:
        upstream = rig.registry(auth={"token": tokens.config})
        lines = "".join(run("htpasswd", "-BbnC", "10", user, "pw") for user in ("ada", "bob", "eve"))
        login = lambda robot, password: {
            "kind": "login", "username": robot, "password_file": rig.file("password", password),
        }
        extra = f"""
[auth.people]
kind = "basic"
file = "{rig.file("htpasswd", lines)}"
[[registry.main.rule]]
repositories = ["**"]
"""
        tenants = [
            {"users": ["ada"], "credentials": login("a-robot", "1")},
            {"users": ["bob"], "credentials": login("b-robot", "2")},
        ]
        there = {"url": upstream.url, "realm": tokens.url, "tenant": tenants}
        gate = rig.gate({"/": there}, auth=["people"], extra=extra)
        by = lambda user: {"login": (user, "pw")}
        manifest = gate.push("a/app", "v1", [os.urandom(1000)], **by("ada"))
        expect(gate.pull("a/app", "v1", **by("ada")), manifest, "ada")
        layer = json.loads(manifest)["layers"][0]["digest"]
        for user in ("bob", "eve"):
            for target in ("manifests/v1", f"manifests/{digest_of(manifest)}", f"blobs/{layer}"):
                got = gate.ask("GET", f"/v2/a/app/{target}", fields=ACCEPT, **by(user))
                expect(got.status, 403, f"{user} {target}")
        gate.push("b/app", "v1", [b"b"], **by("bob"))
        expect(gate.ask("POST", "/v2/b/app/blobs/uploads/", **by("ada")).status, 403, "ada in bob's")


@case
def a_page_where_one_logs_in_is_no_permission(rig):
    manifest = json.dumps({"schemaVersion": 2, "mediaType": MANIFEST}).encode()
    digest = digest_of(manifest)

    def answer(handler):
        if handler.path == "/v2/":
            return handler.say(401, b"{}", {"WWW-Authenticate": 'Basic realm="x"'})
        if handler.path == "/login":
            return handler.say(200, b"<html>")
        if handler.headers.get("Authorization") != "Basic YWxpY2U6cHc=":
            return handler.say(302, b"", {"Location": "/login"})
        return handler.say(200, manifest, {"Content-Type": MANIFEST, "Docker-Content-Digest": digest})

    upstream = rig.handmade(answer)
    gate = rig.gate({"/": {"url": upstream.url, "credentials": {"kind": "client"}}})
    for target in ("manifests/v1", f"manifests/{digest}"):
        expect(gate.ask("GET", f"/v2/a/b/{target}", fields=ACCEPT, login=("alice", "pw")).body, manifest, "alice")
    for who in (("eve", "x"), None):
        for target in ("manifests/v1", f"manifests/{digest}"):
            for _ in range(2):
                got = gate.ask("GET", f"/v2/a/b/{target}", fields=ACCEPT, login=who)
                if got.body == manifest:
                    raise Wrong(f"{who} gets {target}")


# ---- names ----


@case
def a_repository_has_one_name_for_rules(rig):
    one, root = rig.registry(), rig.registry()
    manifest = one.push("x/y", "v1", [b"x"])
    extra = """
[[registry.main.rule]]
repositories = ["prod/**"]
allow = false
[[registry.main.rule]]
repositories = ["**"]
"""
    gate = rig.gate({"prod": one.url, "/": root.url}, extra=extra, catalog=True)
    for target in ("prod/x/y/manifests/v1", "x/y/manifests/v1?ns=prod"):
        for method, body in (("GET", None), ("HEAD", None), ("PUT", manifest), ("DELETE", None)):
            got = gate.ask(method, f"/v2/{target}", body, ACCEPT | {"Content-Type": MANIFEST})
            expect(got.status, 403, f"{method} {target}")
    blob = json.loads(manifest)["config"]["digest"]
    for query in (f"mount={blob}&from=x%2Fy&ns=prod", f"mount={blob}&from=prod%2Fx%2Fy"):
        got = gate.ask("POST", f"/v2/z/blobs/uploads/?{query}")
        expect(got.status in (202, 403), True, f"{query}: {got.status}")
    open_gate = rig.gate({"prod": one.url})
    begun = open_gate.ask("POST", "/v2/x/y/blobs/uploads/?ns=prod")
    expect(open_gate.ask("GET", begun.fields["location"]).status, 204, "an upload goes on where it was begun")


@case
def a_catalog_lists_what_one_may_pull(rig):
    upstream = rig.registry()
    for name in ("deep/open/a", "deep/secret/b", "elsewhere/c"):
        upstream.push(name, "v1")
    extra = """
[[registry.main.rule]]
repositories = ["secret/**"]
allow = false
[[registry.main.rule]]
repositories = ["**"]
"""
    gate = rig.gate({"/": {"url": upstream.url, "prefix": "deep"}}, extra=extra, catalog=True)
    expect(gate.ask("GET", "/v2/_catalog").json(), {"repositories": ["open/a"]}, "the catalog")


@case
def what_has_been_here_before_is_refused(rig):
    gate = rig.gate({"/": "http://127.0.0.1:1"})
    gate.stop()
    text = (gate.folder / "dockgate.toml").read_text().replace("http://127.0.0.1:1", gate.url)
    (gate.folder / "dockgate.toml").write_text(text)
    gate.log.write_text("")
    gate.start()
    for method, target in (("GET", "/v2/a/b/manifests/v1"), ("POST", "/v2/a/b/blobs/uploads/")):
        got = gate.ask(method, target, fields=ACCEPT)
        expect(got.status >= 500, True, f"{method}: {got.status}")


@case
def a_digest_that_nobody_has_checked_is_not_said(rig):
    body = json.dumps({"schemaVersion": 2}).encode()

    def answer(handler):
        fields = {"Content-Type": MANIFEST}
        if handler.command == "GET":
            fields["Docker-Content-Digest"] = "sha256:" + "5" * 64
        return handler.say(200, body, fields)

    _, gate = lying(rig, answer)
    got = gate.ask("GET", "/v2/a/b/manifests/v1", fields=ACCEPT)
    expect((got.body, got.fields.get("docker-content-digest")), (body, None), "a manifest without a digest")


@case
def many_upstreams_in_one(rig):
    hub, other, root = rig.registry(), rig.registry(), rig.registry()
    gate = rig.gate({"ghcr.io": hub.url, "team": {"url": other.url, "prefix": "org/sub"}, "/": root.url})
    images = {}
    for name in ("ghcr.io/x/y", "team/app", "x/y"):
        images[name] = gate.push(name, "v1", [name.encode()])
    for name, manifest in images.items():
        expect(gate.pull(name, "v1"), manifest, name)
    expect(hub.pull("x/y", "v1"), images["ghcr.io/x/y"], "at the first")
    expect(other.pull("org/sub/app", "v1"), images["team/app"], "at the second")
    expect(root.pull("x/y", "v1"), images["x/y"], "at the one for all names")
    got = gate.ask("GET", "/v2/x/y/manifests/v1?ns=ghcr.io", fields=ACCEPT)
    expect(got.body, images["ghcr.io/x/y"], "as containerd asks a mirror for it")


@case
def blobs_that_lie_elsewhere(rig):
    store = rig.handmade(lambda handler: None)
    body = os.urandom(100_000)
    digest = digest_of(body)

    def blobs(handler):
        has_credential = "Authorization" in handler.headers
        handler.say(400 if has_credential else 200, body)

    store = rig.handmade(blobs)

    def answer(handler):
        if handler.path == "/v2/":
            return handler.say(401, b"{}", {"WWW-Authenticate": 'Basic realm="x"'})
        if "Authorization" not in handler.headers:
            return handler.say(401, b"{}", {"WWW-Authenticate": 'Basic realm="x"'})
        return handler.say(307, b"", {"Location": f"{store.url}/blob?signature=x"})

    upstream = rig.handmade(answer)
    login = {"kind": "login", "username": "robot", "password_file": rig.file("password", "hush")}
    gate = rig.gate({"/": {"url": upstream.url, "credentials": login}})
    for _ in range(2):
        got = gate.ask("GET", f"/v2/a/b/blobs/{digest}")
        expect((got.status, got.body), (200, body), "followed, without the credential")
    expect(len([one for one in store.asked if one[0] == "GET"]), 1, "and kept")
    passing = rig.gate({"/": {"url": upstream.url, "credentials": login}}, redirects="pass")
    got = passing.ask("GET", f"/v2/a/b/blobs/{digest}")
    expect((got.status, got.fields["location"]), (307, f"{store.url}/blob?signature=x"), "or passed on")
    private = rig.gate({"/": {"url": upstream.url, "credentials": login}})
    del private


# ---- seen ----


@case
def what_was_done_is_seen(rig):
    upstream = rig.registry()
    gate = rig.gate({"hub": {"url": upstream.url, "prefix": "org"}})
    manifest = gate.push("hub/app", "v1", [b"layer"])
    gate.pull("hub/app", "v1")
    gate.ask("GET", "/v2/hub/none/manifests/v1", fields=ACCEPT)
    records = lambda: [json.loads(line) for line in gate.text().splitlines() if line.startswith('{"time":')]
    pulled = lambda: [one for one in records() if one["operation"] == "ManifestPull" and one["status"] == 200]
    one = until("the pull is written down", pulled)[0]
    wanted = {
        "listener": "registry main", "repository": "hub/app", "reference": "v1", "digest": digest_of(manifest),
        "upstream": upstream.host, "method": "GET", "path": "/v2/hub/app/manifests/v1", "bytes_sent": len(manifest),
        "verdict": "allow", "user": "-", "client": "127.0.0.1",
    }
    expect({name: one[name] for name in wanted}, wanted, "the record of a pull")
    uploads = until("and the push", lambda: [one for one in records() if one["operation"] == "BlobUpload"])
    expect({one["path"] for one in uploads} <= {"/v2/hub/app/blobs/uploads/", "/v2/hub/app/blobs/uploads/-"}, True, uploads)
    host = upstream.host
    lines = [
        f'dockgate_registry_requests_total{{registry="main",upstream="{host}",action="pull",result="absent"}} 1',
        'dockgate_registry_pulls_total{registry="main",repository="hub/app"} 1',
    ]
    seen = lambda text: all(line in text for line in lines) and text
    text = until(f"{lines} in the metrics", lambda: seen(gate.metrics()))
    # what is stored is called as clients call it, and a ping is no refusal
    until("it is stored", lambda: gate.stores("org/app", manifest))
    listed = gate.command("ls").stdout
    for name in ("hub/app:v1", f"hub/app@{digest_of(manifest)}"):
        if f"({name})" not in listed:
            raise Wrong(f"{name} is not in {listed}")
    results = lambda: json.loads(gate.command("stats", "--json").stdout)["caches"][0]["total"]["requests"]
    before = results()
    gate.ask("GET", "/v2/")
    after = until("it is counted", lambda: (now := results()) != before and now)
    expect((after["refused"] - before["refused"], after["own"] - before["own"]), (0, 1), "a ping")
    if "none" in "".join(line for line in text.splitlines() if "registry_" in line):
        raise Wrong("a name that nothing has is a label")


@case
def what_refuses_is_in_the_record(rig):
    extra = """
[[registry.main.rule]]
repositories = ["team/**"]
[[registry.main.push_rule]]
name = "releases"
tags = ["v*"]
"""
    gate = rig.gate({"/": rig.registry().url}, extra=extra)
    blob = gate.upload("team/app", b"{}")
    manifest = json.dumps({
        "schemaVersion": 2, "mediaType": MANIFEST, "layers": [],
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": blob, "size": 2},
    }).encode()
    expect(gate.ask("PUT", "/v2/team/app/manifests/latest", manifest, {"Content-Type": MANIFEST}).status, 403, "pushed")
    expect(gate.ask("GET", "/v2/other/manifests/v1", fields=ACCEPT).status, 403, "pulled")
    records = lambda: [json.loads(line) for line in gate.text().splitlines() if line.startswith('{"time":')]
    denied = lambda: sorted((one["status"], one["rule"]) for one in records() if one["verdict"] == "deny")
    until("both are written down", lambda: denied() == [(403, "push_rule.releases"), (403, "registry.rule")])


@case
def a_limit_of_an_upstream_is_seen(rig):
    manifest = json.dumps({"schemaVersion": 2, "mediaType": MANIFEST}).encode()
    fields = {"Content-Type": MANIFEST, "Docker-Content-Digest": digest_of(manifest), "RateLimit-Remaining": "97;w=21600"}
    _, gate = lying(rig, lambda handler: handler.say(200, manifest, fields))
    gate.ask("GET", "/v2/a/b/manifests/v1", fields=ACCEPT)
    line = [line for line in gate.metrics().splitlines() if line.startswith("dockgate_registry_ratelimit_remaining")]
    expect(len(line) == 1 and line[0].endswith(" 97"), True, line)


# ---- liars ----


def lying(rig, answer, **options):
    """A gate before a registry that answers GET and HEAD of content as it likes."""

    def all_of_it(handler):
        if handler.path == "/v2/":
            return handler.say(200, b"{}")
        return answer(handler)

    upstream = rig.handmade(all_of_it)
    return upstream, rig.gate({"/": upstream.url}, **options)


def broken(gate, target):
    """Whether a body is not given whole."""
    try:
        got = gate.ask("GET", target, fields=ACCEPT)
    except Exception:
        return True
    return got.status >= 400


@case
def content_that_is_not_what_its_digest_says(rig):
    body = os.urandom(50_000)
    digest = digest_of(body)
    for what, sent in [("other bytes", body[:-1] + b"x"), ("less", body[:-1]), ("more", body + b"x"), ("nothing", b"")]:
        upstream, gate = lying(rig, lambda handler, sent=sent: handler.say(200, sent))
        for place in ("blobs", "manifests"):
            target = f"/v2/a/b/{place}/{digest}"
            expect(broken(gate, target), True, f"{what} as {place}")
            expect(broken(gate, target), True, f"{what} as {place}, again")
        verified = gate.command("verify")
        expect(verified.returncode, 0, f"nothing wrong is stored ({verified.stdout})")
        del upstream


@case
def a_body_without_an_end_and_one_that_breaks_off(rig):
    body = os.urandom(50_000)
    digest = digest_of(body)

    def short(handler):
        if handler.command == "HEAD":
            return handler.say(200)
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body[:1000])
        handler.wfile.flush()
        handler.close_connection = True
        handler.connection.close()

    _, gate = lying(rig, short)
    expect(broken(gate, f"/v2/a/b/blobs/{digest}"), True, "what breaks off")


@case
def a_registry_that_wants_to_be_asked_less(rig):
    manifest = json.dumps({"schemaVersion": 2, "mediaType": MANIFEST}).encode()
    state = {"busy": False}

    def answer(handler):
        if state["busy"]:
            return handler.say(429, b"{}", {"Retry-After": "1"})
        return handler.say(200, manifest, {"Content-Type": MANIFEST, "Docker-Content-Digest": digest_of(manifest)})

    upstream, gate = lying(rig, answer, tag_ttl="0s")
    expect(gate.ask("GET", "/v2/a/b/manifests/v1", fields=ACCEPT).body, manifest, "at first")
    state["busy"] = True
    got = gate.ask("GET", "/v2/a/b/manifests/v1", fields=ACCEPT)
    expect((got.status, got.body), (200, manifest), "as it was")
    if "origin-busy" not in got.fields["cache-status"]:
        raise Wrong(got.fields)
    got = gate.ask("GET", "/v2/a/b/manifests/v2", fields=ACCEPT)
    expect(got.status in (429, 503), True, f"what is not known: {got.status}")
    del upstream


@case
def redirects_that_lead_nowhere(rig):
    digest = "sha256:" + "3" * 64
    _, gate = lying(rig, lambda handler: handler.say(307, b"", {"Location": handler.path}))
    expect(broken(gate, f"/v2/a/b/blobs/{digest}"), True, "in a circle")
    _, gate = lying(rig, lambda handler: handler.say(307, b"", {"Location": "http://10.255.255.1:1/x"}), connect_timeout="2s")
    got = gate.ask("GET", f"/v2/a/b/blobs/{digest}")
    expect(got.status, 502, "to a private address")

    def upload(handler):
        return handler.say(202, b"", {"Location": "http://10.255.255.1:1/v2/x"})

    upstream, gate = lying(rig, upload)
    location = gate.ask("POST", "/v2/a/b/blobs/uploads/").fields["location"]
    got = gate.ask("PATCH", location, b"x")
    expect(got.status, 502, "an upload to a private address")
    del upstream


@case
def a_tag_that_changes_in_the_middle(rig):
    first, second = (json.dumps({"schemaVersion": 2, "n": n}).encode() for n in (1, 2))

    def answer(handler):
        if handler.command == "HEAD":
            return handler.say(200, first, {"Content-Type": MANIFEST, "Docker-Content-Digest": digest_of(first)})
        if handler.path.endswith(digest_of(first)):
            return handler.say(200, first, {"Content-Type": MANIFEST})
        return handler.say(200, second, {"Content-Type": MANIFEST, "Docker-Content-Digest": digest_of(second)})

    _, gate = lying(rig, answer)
    got = gate.ask("GET", "/v2/a/b/manifests/v1", fields=ACCEPT)
    expect((got.body, got.fields["docker-content-digest"]), (first, digest_of(first)), "head and body agree")


@case
def a_million_tags(rig):
    tags = json.dumps({"name": "a/b", "tags": [f"t{number}" for number in range(1_000_000)]}).encode()
    _, gate = lying(rig, lambda handler: handler.say(200, tags, {"Content-Type": "application/json"}))
    expect(digest_of(gate.ask("GET", "/v2/a/b/tags/list").body), digest_of(tags), "all of them")
    big = json.dumps({"schemaVersion": 2, "x": "y" * (10 << 20)}).encode()
    _, gate = lying(
        rig, lambda handler: handler.say(200, big, {"Content-Type": MANIFEST, "Docker-Content-Digest": digest_of(big)})
    )
    expect(digest_of(gate.ask("GET", "/v2/a/b/manifests/v1", fields=ACCEPT).body), digest_of(big), "10 MiB of manifest")


@case
def killed_in_pulls_and_pushes(rig):
    upstream = rig.registry()
    gate = rig.gate({"/": upstream.url})
    bodies = [os.urandom(3 << 20) for _ in range(4)]
    for round_ in range(5):
        errors = []

        def busy(number):
            try:
                body = bodies[number]
                digest = gate.upload(f"r/{number}", body)
                for _ in range(3):
                    got = gate.ask("GET", f"/v2/r/{number}/blobs/{digest}")
                    if got.status == 200 and digest_of(got.body) != digest:
                        errors.append("a wrong body")
            except Exception:
                pass

        threads = [threading.Thread(target=busy, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        until("there is traffic", lambda: len(upstream.asked()) > 3 * round_)
        gate.kill()
        for thread in threads:
            thread.join()
        expect(errors, [], "what was served")
        gate.start()
        verified = gate.command("verify")
        expect(verified.returncode, 0, f"what is stored ({verified.stdout} {verified.stderr})")
    for number, body in enumerate(bodies):
        gate.upload(f"r/{number}", body)
        expect(digest_of(gate.ask("GET", f"/v2/r/{number}/blobs/{digest_of(body)}").body), digest_of(body), "in the end")


# ---- clients ----


def run(*command, **options):
    done = subprocess.run(command, capture_output=True, text=True, check=False, **options)
    if done.returncode:
        raise Wrong(f"{' '.join(map(str, command))}: {done.stdout}{done.stderr}")
    return done.stdout


@case
def skopeo(rig):
    upstream = rig.registry()
    manifest = upstream.push("a/b", "v1", [os.urandom(100_000)])
    del manifest
    gate = rig.gate({"/": upstream.url})
    insecure = ["--src-tls-verify=false", "--dest-tls-verify=false"]
    place = rig.place("dir")
    run("skopeo", "copy", *insecure, f"docker://{gate.host}/a/b:v1", f"dir:{place}")
    run("skopeo", "copy", *insecure, f"dir:{place}", f"docker://{gate.host}/c/d:v2")
    run("skopeo", "copy", *insecure, f"docker://{gate.host}/a/b:v1", f"docker://{gate.host}/e/f:v3")
    inspected = json.loads(run("skopeo", "inspect", "--tls-verify=false", f"docker://{gate.host}/c/d:v2"))
    expect(inspected["Architecture"], "amd64", "inspected")
    run("skopeo", "delete", "--tls-verify=false", f"docker://{gate.host}/c/d:v2")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", default=[])
    parser.add_argument("--list", action="store_true")
    options = parser.parse_args()
    if options.list:
        return print("\n".join(one.__name__ for one in CASES))
    failed = 0
    for one in CASES:
        if options.only and one.__name__ not in options.only:
            continue
        with tempfile.TemporaryDirectory(prefix="dgr.") as folder:
            try:
                with Rig(folder) as rig:
                    one(rig)
                print(f"ok {one.__name__}", flush=True)
            except Exception as error:
                failed += 1
                print(f"FAIL {one.__name__}: {error}", flush=True)
                if not isinstance(error, Wrong):
                    traceback.print_exc(file=sys.stdout)
                for log in sorted(rig.folder.glob("gate*/log"))[:3]:
                    print(f"  {log.parent.name}: " + log.read_text()[-600:].replace("\n", "\n  "))
    return sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
