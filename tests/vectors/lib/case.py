"""A numbered case: requests that bite when sent to the engine directly, and do not through the gate.

`Case.probe` is the one way to judge: it sends the same thing to both. Directly it must bite (or be declared inert, and then
must not bite); through the gate it must be refused by dockgate and leave nothing behind, or be answered without any harm.
"""

import json
import time
import traceback

VECTORS = {}


def vector(number, title):
    def put(run):
        assert number not in VECTORS, number
        VECTORS[number] = (title, run)
        return run

    return put


def dig(value, path):
    """`HostConfig.Privileged` of an inspect; None where there is nothing."""
    for key in path.split("."):
        if isinstance(value, list):
            value = value[int(key)] if int(key) < len(value) else None
        else:
            value = (value or {}).get(key)
    return value


def has(path, wanted):
    return lambda inspect: dig(inspect, path) == wanted


def holds(path):
    """There is something at that place."""
    return lambda inspect: bool(dig(inspect, path))


def lacks_field(path):
    """Not a true value: the engine has dropped it."""
    return lambda inspect: not dig(inspect, path)


class Case:
    def __init__(self, number, rig):
        self.number, self.rig = number, rig
        self.title = VECTORS[number][0]
        self.refused = self.rewritten = self.bitten = 0
        self.inert, self.notes, self.failures = {}, [], []
        self.start = rig.state()
        self.known = None  # what is there between two probes, as long as nobody has changed it

    def run(self):
        started = time.monotonic()
        try:
            VECTORS[self.number][1](self)
        except Exception:
            self.fail("the case itself", traceback.format_exc())
        if left := self.rig.clean(self.start):
            self.fail("after the case", f"this cannot be removed from the engine: {left}")
        if not (self.bitten or self.inert or self.notes):
            self.fail("the case itself", "nothing was shown to bite, and nothing is declared inert")
        self.seconds = time.monotonic() - started
        return self

    # ---- judging ----

    def probe(self, label, send, bites, *, setup=None, inert=None, maybe=False, may_pass=False, via="conservative"):
        """`send(target, state)` → Answer; `bites(answer, state)` looks at the engine; `setup()` → state, made afresh for each.

        inert     why it cannot bite on this engine: then it must not
        maybe     a spelling that this engine may or may not understand: measured
        may_pass  harmless as it is: the gate may let it through
        """
        base, bit, clean = self.between(), None, False
        try:
            state = setup() if setup else None
            answer = send(self.rig.direct, state)
            bit = bool(bites(answer, state))
            if inert and bit:
                self.fail(label, f"declared inert ({inert}), but it bites: {answer}", self.rig.direct)
            elif not bit and not (inert or maybe):
                self.fail(label, f"does not bite on the engine: {answer}", self.rig.direct)
            self.rig.clean(base)
            gate = self.rig.gates[via]
            state = setup() if setup else None
            made = self.rig.state() if setup else base
            answer = send(gate, state)
            bit_gate = bool(bites(answer, state))
            now = self.rig.state()
            self.judge(label, gate, answer, now - made, bit_gate, may_pass)
            clean = now == base
        except Exception:
            self.fail(label, traceback.format_exc())
        self.bitten += bool(bit)
        if inert:
            self.inert.setdefault(inert, []).append(label)
        left = set() if clean else self.rig.clean(base)
        self.known = None if left else (self.rig.changes, base)
        if left:
            self.fail(label, f"this cannot be removed from the engine: {left}")

    def between(self):
        if not self.known or self.known[0] != self.rig.changes:
            self.known = (self.rig.changes, self.rig.state())
        return self.known[1]

    def judge(self, label, gate, answer, left, bit, may_pass):
        if bit:
            self.fail(label, f"bites through the gate: {answer}", gate)
        elif refused(answer):
            self.refused += 1
            if left:
                self.fail(label, f"refused, and yet there is {left}: {answer}", gate)
        elif may_pass or 100 < answer.status < 400 or (answer.status == 0 and not answer.body):
            self.rewritten += not may_pass
        else:
            self.fail(label, f"not refused by dockgate: {answer}", gate)

    def unseen(self, label, method, path, body=None, via="conservative", **more):
        """Sent to the gate only (the engine would search for long): must be refused."""
        base, gate = self.rig.state(), self.rig.gates[via]
        answer = gate.call(method, path, body, **more)
        self.judge(label, gate, answer, self.rig.state() - base, False, False)
        self.rig.clean(base)

    def works(self, label, send, good):
        """The same, and good, on both: what must not be broken by a defence."""
        for target in (self.rig.direct, self.rig.gates["conservative"]):
            base = self.rig.state()
            got = send(target)
            if not good(got):
                self.fail(label, f"does not work: {got if not isinstance(got, bytes) else got[:200]}", target)
            self.rig.clean(base)
        self.notes.append(f"{label} works")

    def declare(self, why):
        """Inert as a whole, for a reason that no request shows."""
        self.inert.setdefault(why, [])

    def expect(self, label, good, said=""):
        if not good:
            self.fail(label, said)
        else:
            self.notes.append(label)

    def fail(self, label, said, target=None):
        sent = "" if target is None else f"\n    > {target.name}: {show(target.last)}"
        self.failures.append(f"{label}: {said.strip()}{sent}")

    # ---- containers ----

    def create(
        self,
        label,
        host=None,
        *,
        bites,
        config=None,
        net=None,
        raw=None,
        query="",
        path="/containers/create",
        version=None,
        also=None,
        **more,
    ):
        """POST /containers/create; `bites` looks at the inspect of what was made. `raw` is a body as bytes instead.
        `also(inspect)` runs before the container is removed (to start it)."""
        body = raw
        if body is None:
            body = {"Image": "busybox", "Cmd": ["sleep", "60"], **(config or {})}
            if host is not None:
                body["HostConfig"] = host
            if net is not None:
                body["NetworkingConfig"] = {"EndpointsConfig": net}
        judged = {k: more.pop(k) for k in ("setup", "inert", "maybe", "may_pass", "via") if k in more}

        def send(target, state):
            sent = body(state) if callable(body) else fill(body, state)
            return target.call("POST", path + query, sent, version=version, **more)

        def look(answer, state):
            found = made(self.rig, answer)
            return found is not None and bites(found)

        self.probe(label, send, look, **judged)

    def call(self, label, method, path, body=None, *, bites, **more):
        """Any request; `{name}` in path and body is filled in from the state of `setup`."""
        judged = {k: more.pop(k) for k in ("setup", "inert", "maybe", "may_pass", "via") if k in more}
        self.probe(label, lambda target, state: target.call(method, fill(path, state), fill(body, state), **more), bites, **judged)

    def make(self, name=None, start=False, **body):
        """A container, made by the administrator directly on the engine; its id."""
        base = {"Image": "busybox", "Cmd": ["sleep", "300"], "StopTimeout": 0}
        # as the gate makes them: nothing but what a case gives it is to be dangerous
        host = body.get("HostConfig", {})
        body["HostConfig"] = {
            "CgroupnsMode": "private",
            **({"NetworkMode": "none"} if start and not {"PortBindings", "Links"} & set(host) else {}),
            **host,
        }
        a = self.rig.admin("POST", "/containers/create" + (f"?name={name}" if name else ""), {**base, **body})
        assert a.status == 201, f"the administrator's container: {a}"
        ident = a.json()["Id"]
        if start:
            s = self.rig.admin("POST", f"/containers/{ident}/start")
            assert s.status == 204, f"the administrator's container does not start: {s}"
        return ident

    def inspect(self, ident, kind="containers"):
        a = self.rig.admin("GET", f"/{kind}/{ident}" + ("/json" if kind in ("containers", "images") else ""))
        return a.json() if a.status == 200 else None

    def output(self, target, host, script, **config):
        """What a container says, started through `target`; the last answer if it does not get so far."""
        body = {"Image": "busybox", "Cmd": ["sh", "-c", script], "HostConfig": host, **config}
        a = target.call("POST", "/containers/create", body)
        if a.status != 201:
            return a
        ident = a.json()["Id"]
        started = target.call("POST", f"/containers/{ident}/start")
        if started.status >= 300:
            self.rig.admin("DELETE", f"/containers/{ident}?force=1")
            return started
        self.rig.admin("POST", f"/containers/{ident}/wait")
        return logs(self.rig, ident, a)

    def behaves(self, label, host, script, bites, **more):
        """Runs a container; `bites` judges what it printed."""
        config = more.pop("config", {})
        self.probe(
            label,
            lambda target, state: self.output(target, fill(host, state), script, **config),
            lambda answer, _: hasattr(answer, "output") and bites(answer.output),
            **more,
        )


def logs(rig, ident, answer):
    from .wire import streams

    answer.output = streams(rig.admin("GET", f"/containers/{ident}/logs?stdout=1&stderr=1").body).decode(errors="replace")
    return answer


def refused(answer):
    """By dockgate, in the engine's shape; a policy's refusal names its rule."""
    if answer.engines or not (400 <= answer.status < 500 or answer.status == 501):
        return False
    if not answer.body and answer.header("Content-Length") != "0":
        return True  # to HEAD
    try:
        message = answer.json()["message"]
    except (ValueError, KeyError, TypeError):
        return False
    return (
        answer.status != 403
        or message.startswith("dockgate: requests of browsers")
        or (message.startswith("dockgate: ") and "(rule " in message)
    )


def made(rig, answer):
    """The inspect of the container that an answer of create speaks of."""
    if answer.status != 201:
        return None
    a = rig.admin("GET", f"/containers/{answer.json()['Id']}/json")
    return a.json() if a.status == 200 else None


def fill(value, state):
    """`{name}` in texts, from a dict; other braces stay."""
    if not isinstance(state, dict):
        return value
    if isinstance(value, str):
        for key, known in state.items():
            value = value.replace("{" + key + "}", str(known))
        return value
    if isinstance(value, list):
        return [fill(v, state) for v in value]
    if isinstance(value, dict):
        return {fill(k, state): fill(v, state) for k, v in value.items()}
    return value


def show(data):
    head, _, body = data.partition(b"\r\n\r\n")
    lines = head.decode(errors="replace").split("\r\n")
    keep = [lines[0]] + [
        l for l in lines[1:] if not l.startswith(("Host: engine", "Connection: close", "Content-Length", "Content-Type: application/json"))
    ]
    return " | ".join(keep)[:400] + (f" {body[:500]!r}" if body else "")


def escaped(text):
    """JSON of a text with every character as an escape."""
    return '"' + "".join(f"\\u{ord(c):04x}" for c in text) + '"'


def pretty(value):
    return json.dumps(value)[:100]
