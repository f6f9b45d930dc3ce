"""300-317: what bob reads of ann's containers, execs, networks, volumes and images, by whatever names them."""

from lib.tenants import PATH, SECRET, TEXT, good, knows, names, of, tenants

WEBSOCKET = [
    "Upgrade: websocket",
    "Connection: Upgrade",
    "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
    "Sec-WebSocket-Version: 13",
    "Origin: http://engine",
]


def of_container(number, title, method, path, bites=good, **more):
    @tenants(number, f"another's container: {title}")
    def case(j):
        j.call(title, method, path, bites=bites, forms=PATH, **more)


of_container(300, "inspect", "GET", "/containers/{}/json?size=1", knows)
of_container(301, "logs", "GET", "/containers/{}/logs?stdout=1&stderr=1", knows)
of_container(302, "top", "GET", "/containers/{}/top")
of_container(303, "stats", "GET", "/containers/{}/stats?stream=0&one-shot=1")
of_container(304, "changes", "GET", "/containers/{}/changes")
of_container(305, "export", "GET", "/containers/{}/export", knows)
of_container(306, "a file of it", "GET", "/containers/{}/archive?path=/secret", knows)
of_container(307, "whether it has a file", "HEAD", "/containers/{}/archive?path=/secret")
of_container(308, "attach", "POST", "/containers/{}/attach?logs=1&stdout=1")
of_container(
    309,
    "attach by a websocket",
    "GET",
    "/containers/{}/attach/ws?logs=1&stdout=1",
    lambda a, s, w: a.status == 101,
    headers=WEBSOCKET,
    keep=True,
)
of_container(310, "wait", "POST", "/containers/{}/wait?condition=not-running", setup=lambda w: w.victim())


@tenants(311, "another's exec: inspect")
def exec_inspect(j):
    j.call("by its id", "GET", "/exec/{exec}/json", bites=good)
    j.call("with a slash", "GET", "/exec/%2F{exec}/json", bites=good, maybe=True)


@tenants(312, "another's exec: start")
def exec_start(j):
    def one(w):
        return {"exec": w.exec_of(w.ann, w.state["web"])}

    j.call("and read", "POST", "/exec/{exec}/start", {"Detach": False}, bites=good, setup=one)
    j.call("in the background", "POST", "/exec/{exec}/start", {"Detach": True}, bites=good, setup=one)


@tenants(313, "another's network: inspect")
def network_inspect(j):
    for query in ("", "?verbose=1", "?scope=local"):
        j.call(f"inspect{query}", "GET", "/networks/{}" + query, bites=lambda a, s, w: a.status == 200 and s["front_id"] in a.text, forms=of("front"))


@tenants(314, "another's volume: inspect")
def volume_inspect(j):
    j.call("a named one", "GET", "/volumes/{}", bites=lambda a, s, w: a.status == 200, forms=names("data"))
    j.call("one that the engine has named", "GET", "/volumes/{anon}", bites=good)
    for odd in ("%2Fannsdata", "..%2Fannsdata", ".%2Fannsdata", "%2F%2Fannsdata", "x%2F..%2Fannsdata"):
        j.call(odd, "GET", f"/volumes/{odd}", bites=good, maybe=True)


@tenants(315, "another's image: inspect")
def image_inspect(j):
    bites = lambda a, s, w: a.status == 200 and s["image_id"] in a.text  # noqa: E731
    j.call("inspect", "GET", "/images/{}/json", bites=bites, forms=of("image"))
    j.call("digits", "GET", "/images/{image_bare}/json", bites=bites, setup=bare)
    j.call("as a digest", "GET", "/images/team/annsimage@{image_id}/json", bites=bites, maybe=True)


@tenants(316, "another's image: history")
def image_history(j):
    j.call("history", "GET", "/images/{}/history", bites=good, forms=of("image"))


@tenants(317, "another's image: save")
def image_save(j):
    j.call("one", "GET", "/images/{}/get", bites=good, forms=of("image"))
    j.call("several", "GET", "/images/get?names={}", bites=good, forms=of("image", TEXT))


@tenants(318, "another's container: commit, and a look into the image")
def commit(j):
    def reads(a, s, w):
        if a.status != 201:
            return False
        found = w.bob.call("GET", f"/images/{a.json()['Id']}/json")
        return SECRET in found.text

    # not paused meanwhile: an engine that is busy does not always let go on what it has paused, and ann's runs for all cases
    j.call("commit", "POST", "/commit?pause=0&container={}&repo=bobs/stolen318", bites=reads, forms=TEXT)
    j.call("with an id for the repository", "POST", "/commit?pause=0&container={web_id}", bites=reads)


@tenants(319, "another's container: the old way to copy, and a checkpoint")
def others(j):
    j.call("copy", "POST", "/containers/{web}/copy", {"Resource": "/secret"}, bites=knows, maybe=True)
    j.call("checkpoints", "GET", "/containers/{web}/checkpoints", bites=good, maybe=True)
    j.call("make one", "POST", "/containers/{web}/checkpoints", {"CheckpointID": "x"}, bites=good, maybe=True)
    j.call("start from one", "POST", "/containers/{web}/start?checkpoint=x", bites=lambda a, s, w: False, maybe=True, same=False)
    j.call("another's exec, by the container", "GET", "/containers/{web}/json", bites=lambda a, s, w: s["exec"] in a.text)


def bare(w):
    return {"image_bare": w.state["image_id"].removeprefix("sha256:")}
