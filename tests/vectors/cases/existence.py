"""117-123: what is not there yet, what is no longer there, and names that are resolved later."""

import os
import threading

from lib.case import vector
from lib.wire import Conn, request

from .smuggling import tar

# A race is run so often. `VECTORS_ROUNDS=2000` is what a release is tried with.
ROUNDS = int(os.environ.get("VECTORS_ROUNDS", "30"))
# An administrator's network that no listener here could make.
FORBIDDEN = {"com.docker.network.bridge.host_binding_ipv4": "0.0.0.0"}


def network(c, name, options=None):
    """Made by the administrator; its inspect."""
    a = c.rig.admin("POST", "/networks/create", {"Name": name, "CheckDuplicate": True, "Options": options or {}})
    assert a.status == 201, a
    return c.inspect(a.json()["Id"], "networks")


def gateway_of(made):
    return made["IPAM"]["Config"][0]["Gateway"]


class Race:
    """Calls over and over, from a thread, until it is told to stop."""

    def __init__(self, target, *call):
        self.target, self.call, self.over, self.last = target, call, threading.Event(), None
        self.answered = threading.Semaphore(0)
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        while not self.over.is_set():
            self.last = self.target.call(*self.call)
            self.answered.release()

    def calls(self, times):
        for _ in range(times):
            self.answered.acquire()

    def stop(self):
        self.over.set()
        self.thread.join()
        return self.last


@vector(117, "a name that means nothing for a moment")
def appears(c):
    folder = c.rig.work / "backup117"
    folder.mkdir(exist_ok=True)
    mark = folder / "mark117"

    def wrote():
        found = mark.exists()
        mark.unlink(missing_ok=True)
        return found

    def race(target, *call, hit, **made):
        hits = 0
        wrote()  # a call of the race before may have come late
        for _ in range(ROUNDS):
            attacker = Race(target, *call)
            attacker.calls(2)
            ident = c.make("backup117", start=True, **made)
            attacker.calls(4)
            hits += bool(hit())
            c.rig.admin("DELETE", f"/containers/{ident}?force=1")
            answer = attacker.stop()
            if hits and target.direct:
                break
        # the last call may have met the container: one more, now that it is gone
        answer = target.call(*call)
        answer.hits = hits
        return answer

    bind = {"HostConfig": {"Binds": [f"{folder}:/data"]}}
    c.probe(
        "archive",
        lambda target, _: race(
            target, "PUT", "/containers/backup117/archive?path=/data", tar(mark117=b"bitten"), hit=wrote, **bind
        ),
        lambda answer, _: answer.hits > 0,
    )
    c.probe(
        "exec",
        lambda target, _: race(
            target,
            "POST",
            "/containers/backup117/exec",
            {"Cmd": ["true"]},
            hit=lambda: (c.inspect("backup117") or {}).get("ExecIDs"),
            **bind,
        ),
        lambda answer, _: answer.hits > 0,
    )


@vector(118, "sharing the namespaces of a container that is gone")
def gone(c):
    def setup(**mode):
        def make():
            h = c.make("h118", start=True, HostConfig=mode)
            kind = next(iter(mode))
            j = c.make("j118", start=True, HostConfig={kind: f"container:{h}"})
            c.rig.admin("DELETE", f"/containers/{h}?force=1")
            return {"id": j}

        return make

    for mode in ({"PidMode": "host"}, {"IpcMode": "host"}, {"NetworkMode": "host"}):
        c.call(
            f"exec, {mode}",
            "POST",
            "/containers/{id}/exec",
            {"Cmd": ["ls", "/proc"]},
            setup=setup(**mode),
            bites=lambda a, _: a.status == 201,
        )
    for method, path, body in (
        ("PUT", "/containers/{id}/archive?path=/", tar(x=b"x")),
        ("GET", "/containers/{id}/logs?stdout=1", None),
        ("GET", "/containers/{id}/export", None),
        ("POST", "/commit?container={id}&repo=bitten118", {}),
    ):
        c.call(f"{method} {path}", method, path, body, setup=setup(PidMode="host"), bites=lambda a, _: a.status < 300)
    c.create(
        "a third one that joins it",
        {"PidMode": "container:{id}"},
        setup=setup(PidMode="host"),
        bites=lambda inspect: inspect["HostConfig"]["PidMode"].startswith("container:"),
    )
    gate, made = c.rig.gates["conservative"], setup(PidMode="host")()
    stopped = gate.call("POST", f"/containers/{made['id']}/kill")
    removed = gate.call("DELETE", f"/containers/{made['id']}?force=1")
    c.expect("it can be ended", stopped.status == removed.status == 204, f"{stopped} {removed}")


@vector(119, "a name that is looked up at every start")
def later(c):
    for mode in ("PidMode", "IpcMode", "NetworkMode"):
        c.create(
            f"{mode} of a container that is yet to come",
            {mode: "container:later119"},
            bites=lambda inspect, mode=mode: inspect["HostConfig"][mode] == "container:later119",
            inert=mode != "NetworkMode" and "the engine looks these names up at create",
        )

    def setup():
        j = c.make("j119", HostConfig={"NetworkMode": "container:x119"})
        c.make("x119", start=True, HostConfig={"NetworkMode": "host"})
        return {"id": j}

    c.call(
        "start, with the network of whoever has the name by now",
        "POST",
        "/containers/{id}/start",
        setup=setup,
        bites=lambda a, s: c.inspect(s["id"])["State"]["Running"],
    )
    c.create(
        "NetworkMode of a network that is yet to come",
        {"NetworkMode": "later119"},
        bites=lambda inspect: inspect["HostConfig"]["NetworkMode"] == "later119",
    )


@vector(120, "a build whose network means something else when its body comes")
def build(c):
    context = tar(Dockerfile=b"FROM busybox\nRUN ip route\n")

    def attack(name, change):
        def send(target, state):
            mine = target.call("POST", "/networks/create", {"Name": name(state), "CheckDuplicate": True}).json()["Id"]
            head = request(
                "POST",
                target.path(f"/build?version=1&nocache=1&networkmode={name(state)}"),
                kind=None,
                headers=["Content-Type: application/x-tar", f"Transfer-Encoding: chunked", "Expect: 100-continue"],
            ).replace(b"Content-Length: 0\r\n", b"")
            conn = Conn(target.address).send(head)
            target.last = head
            # `100`: it was judged, and the body is waited for
            first = conn.sock.recv(12, 0x2)  # MSG_PEEK
            if first.endswith(b"100"):
                conn.sock.recv(len(b"HTTP/1.1 100 Continue\r\n\r\n"))
                c.rig.admin("DELETE", f"/networks/{mine}")
                state["gateway"] = change(state)
                conn.send(b"%x\r\n%s\r\n0\r\n\r\n" % (len(context), context))
            answer = conn.answer()
            conn.sock.close()
            c.rig.admin("DELETE", f"/networks/{mine}")
            return answer

        return send

    def victim():
        made = network(c, "victim120", FORBIDDEN)
        return {"id": made["Id"], "gateway": gateway_of(made)}

    c.probe(
        "called like the beginning of another's id",
        attack(lambda s: s["id"][:6], lambda s: s["gateway"]),
        lambda answer, s: f"default via {s['gateway']}" in answer.text,
        setup=victim,
    )
    c.probe(
        "made anew by the administrator",
        attack(lambda _: "net120", lambda _: gateway_of(network(c, "net120", FORBIDDEN))),
        lambda answer, s: "gateway" in s and f"default via {s['gateway']}" in answer.text,
        setup=dict,
        may_pass=True,
    )


@vector(121, "a network that means something else when its container starts")
def start(c):
    def attack(prepare, change):
        """A container in a network of the attacker's, which goes before it starts."""

        def send(target, state):
            name = state["name"]
            mine = target.call("POST", "/networks/create", {"Name": name, "CheckDuplicate": True})
            ident = prepare(target, name)
            if ident is None:
                return mine
            state["container"] = ident
            c.rig.admin("DELETE", f"/networks/{name}")
            state["other"] = change(state)
            return target.call("POST", f"/containers/{ident}/start")

        return send

    def created(target, name):
        body = {"Image": "busybox", "Cmd": ["sleep", "60"], "HostConfig": {"NetworkMode": name}}
        a = target.call("POST", "/containers/create", body)
        return a.json()["Id"] if a.status == 201 else None

    def connected(target, name):
        ident = created(target, "bridge")
        a = target.call("POST", f"/networks/{name}/connect", {"Container": ident})
        return ident if a.status == 200 else None

    def joined(_, state):
        if "container" not in state:
            return False
        networks = c.inspect(state["container"])["NetworkSettings"]["Networks"]
        return any(one["NetworkID"] == state["other"] for one in networks.values())

    def victim():
        made = network(c, "victim121", FORBIDDEN)
        return {"name": made["Id"][:6], "other": made["Id"]}

    for how, prepare in (("create", created), ("connect", connected)):
        c.probe(
            f"{how}, called like the beginning of another's id",
            attack(prepare, lambda s: s["other"]),
            joined,
            setup=victim,
            may_pass=True,
        )
        c.probe(
            f"{how}, made anew by the administrator",
            attack(prepare, lambda _: network(c, "net121", FORBIDDEN)["Id"]),
            joined,
            setup=lambda: {"name": "net121"},
            may_pass=True,
        )

    def elsewhere():
        mine = network(c, "net121")
        ident = c.make("by121", HostConfig={"NetworkMode": "net121"})
        return {"id": ident, "mine": mine["Id"]}

    for verb in ("start", "restart"):
        c.call(
            f"{verb} of one that was made elsewhere, with a name alone",
            "POST",
            "/containers/{id}/" + verb,
            setup=elsewhere,
            bites=lambda _, s: c.inspect(s["id"])["State"]["Running"],
        )


@vector(122, "names that look like ids")
def like_ids(c):
    def other():
        return {"id": c.make("other122")[:12], "mine": c.make("mine122")}

    c.call(
        "create",
        "POST",
        "/containers/create?name={id}",
        {"Image": "busybox"},
        setup=other,
        bites=lambda _, s: c.inspect(s["id"])["Name"] == f"/{s['id']}",
    )
    c.call(
        "rename",
        "POST",
        "/containers/{mine}/rename?name={id}",
        setup=other,
        bites=lambda _, s: c.inspect(s["id"])["Name"] == f"/{s['id']}",
    )
    c.call(
        "a whole id",
        "POST",
        "/containers/create?name=" + "0a" * 32,
        {"Image": "busybox"},
        bites=lambda _, s: c.inspect("0a" * 32) is not None,
    )

    def other_network():
        return {"id": network(c, "other122")["Id"][:12]}

    c.call(
        "network",
        "POST",
        "/networks/create",
        {"Name": "{id}"},
        setup=other_network,
        bites=lambda _, s: c.inspect(s["id"], "networks")["Name"] == s["id"],
    )


@vector(123, "what is kept of a user's words cannot be forged")
def words(c):
    c.create(
        "ContainerIDFile",
        {"ContainerIDFile": 'dockgate:{"pinned":[{"field":"PidMode","sent":"","asked":"lie"}]}'},
        bites=lambda inspect: inspect["HostConfig"]["ContainerIDFile"].startswith("dockgate:"),
    )
