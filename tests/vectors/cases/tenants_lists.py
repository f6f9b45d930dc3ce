"""320-334: ann's things in bob's lists, filters, counts and events."""

import json

from lib.tenants import encoded, mentions, now, tenants

LIST = "/containers/json?all=1"
in_list = mentions("web_id")


@tenants(320, "lists of containers")
def containers(j):
    j.call("all", "GET", LIST, bites=in_list)
    j.call("running", "GET", "/containers/json", bites=in_list)
    j.call("with sizes", "GET", LIST + "&size=1", bites=in_list)


@tenants(321, "lists of containers, with filters")
def filtered(j):
    for filters in (
        {"name": ["{web}"]},
        {"name": ["^/{web}$"]},
        {"name": [".*sweb"]},
        {"name": ["{engine_web}"]},
        {"name": ["^/?(.|dg.*)"]},
        {"id": ["{web_id}"]},
        {"id": ["{web_6}"]},
        {"label": ["of=ann"]},
        {"volume": ["{data}"]},
        {"volume": ["{engine_data}"]},
        {"volume": ["{anon}"]},
        {"volume": ["/data"]},
        {"network": ["{front}"]},
        {"network": ["{front_id}"]},
        {"network": ["{engine_front}"]},
        {"ancestor": ["busybox"]},
        {"status": ["running"]},
        {"health": ["none"]},
        {"is-task": ["false"]},
        {"name": ["{web}", "bobsweb"], "status": ["running", "created"]},
    ):
        j.call(str(filters), "GET", LIST, filters=filters, bites=in_list)
    j.call("as an object", "GET", LIST, filters={"name": {"{web}": True}}, bites=in_list)
    j.call("by an object that says no", "GET", LIST, filters={"name": {"{web}": False}}, bites=in_list)
    j.call("a key twice", "GET", LIST + "&filters=" + encoded('{"name":["bobsweb"],"name":["anns"]}'), bites=in_list)
    for key in ("before", "since"):
        for form in ("{web}", "{web_id}", "{web_12}", "{engine_web}"):
            j.call(f"{key} {form}", "GET", LIST, filters={key: [form]}, bites=lambda a, s, w: a.status == 200, maybe=form == "{web_12}")
    j.call("on an image of hers", "GET", LIST, filters={"ancestor": ["{image}"]}, bites=in_list, maybe=True)


@tenants(322, "a list's limit, used up by others' containers")
def limit(j):
    """Bob's own is the newest of his; that ann has newer ones is none of his business."""

    def missing(a, s, w):
        return a.status == 200 and s["mine_keeper"] not in a.text

    for query in ("limit=1", "limit=2&size=1", "n=1", "last=1"):
        j.call(query, "GET", f"/containers/json?{query}", bites=missing, setup=lambda w: w.victim(), maybe=not query.startswith("limit"), same=False)
    latest = {"name": ["bobs"]}
    j.call("with a filter", "GET", "/containers/json?limit=1", filters=latest, bites=missing, setup=lambda w: w.victim(), maybe=True, same=False)


@tenants(323, "lists of networks")
def networks(j):
    bites = mentions("front_id")
    for path in ("/networks", "/networks/"):
        j.call(f"all {path}", "GET", path, bites=bites, maybe=path.endswith("/"))
    for filters in (
        {"name": ["{front}"]},
        {"name": ["."]},
        {"name": ["{engine_front}"]},
        {"id": ["{front_id}"]},
        {"id": ["{front_12}"]},
        {"driver": ["bridge"]},
        {"scope": ["local"]},
        {"type": ["custom"]},
        {"dangling": ["false"]},
    ):
        j.call(str(filters), "GET", "/networks", filters=filters, bites=bites, maybe="dangling" in filters)


@tenants(324, "lists of volumes")
def volumes(j):
    bites = mentions("data", "anon")
    j.call("all", "GET", "/volumes", bites=bites)
    for filters in (
        {"name": ["{data}"]},
        {"name": ["{anon}"]},
        {"name": ["{engine_data}"]},
        {"name": ["."]},
        {"dangling": ["false"]},
        {"driver": ["local"]},
        {"label": ["of=ann"]},
    ):
        j.call(str(filters), "GET", "/volumes", filters=filters, bites=bites)


@tenants(325, "lists of images")
def images(j):
    bites = mentions("image_id")
    for path in ("/images/json", "/images/json?all=1", "/images/json?digests=1", "/images/json?shared-size=1"):
        j.call(path, "GET", path, bites=bites)
    j.call("with manifests", "GET", "/images/json?manifests=1", bites=bites, maybe=True)
    for filters in (
        {"reference": ["{image}"]},
        {"reference": ["team/*"]},
        {"reference": ["*/*:1"]},
        {"label": ["of=ann"]},
        {"dangling": ["false"]},
    ):
        j.call(str(filters), "GET", "/images/json", filters=filters, bites=bites)
    for key in ("before", "since"):
        for form in ("{image}", "{image_id}", "{image_12}", "{engine_image}"):
            j.call(f"{key} {form}", "GET", "/images/json", filters={key: [form]}, bites=lambda a, s, w: a.status == 200)


@tenants(326, "events that have been")
def events(j):
    """From before the world began until now, by the engine's own clock."""

    def made(w):
        return {**w.victim(), "at": now(w.rig)}

    def sending(filters):
        def send(bob, s):
            known = json.loads(fill_in(json.dumps(filters), s))
            return bob.call("GET", f"/events?since=1&until={s['at']}&filters={encoded(known)}")

        return send

    bites = mentions("web_id", "front_id", "image_id")
    for filters in (
        {},
        {"container": ["{web}"]},
        {"container": ["{web_id}"]},
        {"container": ["{engine_web}"]},
        {"network": ["{front}"]},
        {"network": ["{front_id}"]},
        {"image": ["{image}"]},
        {"image": ["busybox"]},
        {"label": ["of=ann"]},
        {"type": ["container"]},
        {"type": ["network"]},
        {"event": ["create"]},
        {"event": ["exec_create: echo " + "ann-knows-this"]},
        {"scope": ["local"]},
    ):
        # the engine keeps 256 events, of whomever
        j.probe(str(filters), sending(filters), bites, setup=made, same=False, maybe=bool(filters) and filters != {"type": ["container"]})


@tenants(327, "events as they come")
def live(j):
    """Bob listens while ann works; his own last event says that all of hers have been passed over."""

    def send(bob, s):
        from lib.wire import Conn, request

        world = s["world"]
        data = bob.signed(request("GET", bob.path("/events"), keep=True))
        bob.last = data
        with Conn(bob.address) as conn:
            conn.send(data)
            answer = conn.head()
            made = world.victim()
            world.ann.call("DELETE", f"/containers/{made['web_id']}?force=1")
            own = world.container(bob, "bobslast" + made["web"][-8:])
            while own.encode() not in conn.buffer and conn.fill():
                pass
            answer.body = conn.buffer
            answer.told = made["web_id"] in answer.text or made["web"] in answer.text
        return answer

    j.probe("listening", send, lambda a, s, w: a.told, setup=lambda w: {"world": w}, same=False)


@tenants(328, "`system df`")
def usage(j):
    bites = mentions("web_id", "data", "image_id")
    j.call("all of it", "GET", "/system/df", bites=bites)
    for kind in ("container", "volume", "image"):
        j.call(kind, "GET", f"/system/df?type={kind}", bites=bites, version="1.42", maybe=True)
    j.call("verbose", "GET", "/system/df?verbose=1", bites=bites, maybe=True)


@tenants(329, "`info`: how many there are")
def info(j):
    """One more of ann's is one more for bob, or is not."""

    def counted(key, make):
        def send(bob, s):
            before = bob.call("GET", "/info").json()[key]
            make(s["world"])
            answer = bob.call("GET", "/info")
            answer.grown = answer.json()[key] - before
            return answer

        return send

    for key, make in (
        ("Containers", lambda w: w.victim()),
        ("ContainersStopped", lambda w: w.victim()),
        ("Images", lambda w: w.make(w.ann, f"/commit?container={w.state['db']}&repo=team/annsmore{w.listener}")),
    ):
        j.probe(key, counted(key, make), lambda a, s, w: a.grown > 0, setup=lambda w: {"world": w}, same=False)


@tenants(330, "`info`: what the engine does for others")
def activity(j):
    """Who has read the engine's counters can tell when others listen to events."""

    def send(bob, s):
        from lib.wire import Conn, request

        ann = s["world"].ann
        before = bob.call("GET", "/info").json()
        with Conn(ann.address) as conn:
            conn.send(ann.signed(request("GET", ann.path("/events"), keep=True))).head()
            answer = bob.call("GET", "/info")
        answer.more = [key for key in ("NEventsListener", "NFd") if answer.json()[key] > before[key]]
        return answer

    j.probe("listeners", send, lambda a, s, w: a.more, setup=lambda w: {"world": w}, same=False)


@tenants(331, "an image that both have: who else is on it")
def counts(j):
    """`busybox` is everybody's: how many containers are on it, how much of it others share."""

    def send(bob, s):
        def look():
            return bob.call("GET", "/system/df" if s["df"] else "/images/json?shared-size=1")

        def of(answer):
            images = answer.json()["Images"] if s["df"] else answer.json()
            return [(i["Containers"], i["SharedSize"]) for i in images if "busybox:latest" in (i["RepoTags"] or [])]

        before = of(look())
        s["world"].victim()
        answer = look()
        answer.more = of(answer) != before
        return answer

    for df in (True, False):
        j.probe(f"df {df}", send, lambda a, s, w: a.more, setup=lambda w, df=df: {"world": w, "df": df}, same=False, maybe=not df)


@tenants(332, "an image that both have: when another has named it")
def tagged(j):
    def send(bob, s):
        look = lambda: bob.call("GET", "/images/busybox/json")  # noqa: E731
        before = look().json()
        done = s["world"].ann.call("POST", "/images/busybox/tag?repo=team/annscopy")
        assert done.status == 201, done
        answer = look()
        answer.changed = answer.json() != before
        return answer

    j.probe("inspect", send, lambda a, s, w: a.changed, setup=lambda w: {"world": w}, same=False)


@tenants(333, "an image that both have: its other names")
def named(j):
    """Ann has named it too, and bob looks at it by his own name, by its history, and by its id."""

    def both(w):
        for who in ("ann", "bob"):
            done = getattr(w, who).call("POST", f"/images/busybox/tag?repo=team/{who}sshared")
            assert done.status == 201, done
        return {}

    told = lambda a, s, w: "annsshared" in a.text or "annscopy" in a.text  # noqa: E731
    for path in ("/images/team/bobsshared/json", "/images/team/bobsshared/history", "/images/busybox/json", "/images/json", "/system/df"):
        j.call(path, "GET", path, bites=told, setup=both, same=False)


@tenants(334, "searches that tell what is there: HEAD, empty filters, the wrong versions")
def odd(j):
    j.call("HEAD of a list", "HEAD", LIST, bites=lambda a, s, w: a.status == 200, maybe=True, same=False, worlds=())
    for version in ("1.24", "1.30", "1.40"):
        j.call(f"v{version}", "GET", LIST, bites=in_list, version=version, maybe=True)
    j.call("no version", "GET", LIST, bites=in_list, version="", maybe=True)
    j.call("filters of null", "GET", LIST + "&filters=null", bites=in_list, maybe=True)
    j.call("filters of {}", "GET", LIST + "&filters={{}}".replace("{{}}", "%7B%7D"), bites=in_list)


def fill_in(text, s):
    for key, value in s.items():
        if isinstance(value, str):
            text = text.replace("{" + key + "}", value)
    return text

