"""One tenant, behind the gate or on an engine of its own: what it calls, and what of an answer is the same on both.

Both sides are asked for the same things by symbols (`{c1}`, `{c1:12}`): each has its own ids for them.
"""

import collections
import contextlib
import json
import re
import select
import socket
import time
import urllib.parse

from rig import PATIENCE, call

# What no two engines have alike: times, addresses, processes, places; and what namespaces are documented to show otherwise.
VOLATILE = {
    "Created", "CreatedAt", "created", "LastTagTime", "StartedAt", "FinishedAt", "Pid", "ResolvConfPath", "HostnamePath",
    "HostsPath", "LogPath", "GraphDriver", "SandboxID", "SandboxKey", "EndpointID", "Gateway", "IPAddress", "MacAddress",
    "IPPrefixLen", "GlobalIPv6Address", "GlobalIPv6PrefixLen", "IPv6Gateway", "IPv4Address", "IPAM", "Mountpoint", "Source",
    "SizeRw", "SizeRootFs", "SharedSize", "VirtualSize", "Options", "SpaceReclaimed", "time", "timeNano", "timestamp", "mtime",
    "Size", "Storage", "UsageData", "BuildCache", "LayersSize", "BuilderSize", "Cpu",
    # of the engine's default bridge only, and of what one has for it
    "EnableIPv4", "EnableIPv6", "Ingress", "NetworkID", "SecondaryIPAddresses", "SecondaryIPv6Addresses", "LinkLocalIPv6Address",
    "LinkLocalIPv6PrefixLen", "HairpinMode", "Bridge", "DNSNames", "GwPriority",
}  # fmt: skip
HEX = re.compile(r"\b(?:[0-9a-f]{64}|[0-9a-f]{12})\b")
TIMES = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)")
UP = re.compile(r"^(Up|Exited \(\d+\)|Created|Restarting|Dead|Removal).*?( \(Paused\))?$")
SYMBOL = re.compile(r"\{([a-z]+\d+)(?::(\d+))?\}")


class Side:
    def __init__(self, address, api):
        self.address, self.api = address, api
        self.symbols, self.stream, self.told, self.known_as = {}, None, collections.Counter(), {}

    def begin(self, root):
        """An image that is its own, by whatever id."""
        answer = call(self.address, "POST", "/images/create?fromSrc=-&repo=base&tag=1&changes=CMD%20%5B%22sh%22%5D", root, "application/x-tar")
        found = re.findall(rb"sha256:([0-9a-f]{64})", answer.body)
        if answer.status != 200 or not found:
            raise SystemExit(f"no image for {self.address}: {answer.status} {answer.text}")
        self.bind("i0", found[-1].decode())
        self.follow_events()

    # ---- symbols ----

    def bind(self, symbol, value):
        if value and symbol not in self.symbols:
            self.symbols[symbol] = value
            self.known_as[value] = symbol

    def filled(self, text):
        def fill(found):
            value = self.symbols.get(found[1], "0" * 64)
            return value[: int(found[2])] if found[2] else value

        return SYMBOL.sub(fill, text)

    def text(self, text):
        """With symbols for ids, and without times."""

        def symbol(found):
            if found[0] in self.known_as:
                return f"<{self.known_as[found[0]]}>"
            full = next((value for value in self.known_as if len(found[0]) == 12 and value.startswith(found[0])), None)
            return f"<{self.known_as[full]}:12>" if full else "<id>"

        for value, name in self.known_as.items():
            if name.startswith("n_"):
                text = text.replace(value, f"<{name}>")
        return TIMES.sub("<time>", HEX.sub(symbol, text))

    def plain(self, value):
        if isinstance(value, dict):
            return {self.text(key): self.plain(one) for key, one in sorted(value.items()) if key not in VOLATILE}
        if isinstance(value, list):
            return [self.plain(one) for one in value]
        if isinstance(value, str):
            found = UP.match(value)
            return (found[1] + (found[2] or "")) if found else self.text(value)
        return value

    # ---- calls ----

    def make(self, one):
        target, body = self.filled(one.target), one.body
        if isinstance(body, dict):
            body = self.filled(json.dumps(body)).encode()
        answer = call(self.address, one.method, f"/v{one.version or self.api}{target}", body or b"", one.kind)
        json_answer = None
        with contextlib.suppress(ValueError):
            json_answer = answer.json()
        if one.made:
            one.made(self, json_answer, answer)
        return one.seen(self, answer, json_answer) if one.seen else (answer.status, self.body(answer, json_answer))

    def body(self, answer, json_answer):
        if json_answer is not None:
            return self.plain(json_answer)
        lines = []
        for line in answer.text.splitlines():
            try:
                lines.append(self.plain(json.loads(line)))
            except ValueError:
                lines.append(self.text(line))
        return lines

    # ---- events ----

    def follow_events(self):
        if self.stream:
            self.stream.close()
        self.stream, self.rest = socket.socket(socket.AF_UNIX), b""
        self.stream.connect(str(self.address))
        self.stream.sendall(b"GET /events HTTP/1.1\r\nHost: engine\r\n\r\n")
        while b"\r\n\r\n" not in self.rest:
            self.rest += self.stream.recv(1 << 16)
        self.rest = self.rest.split(b"\r\n\r\n", 1)[1]

    def read_events(self, seconds):
        """Whether there were some."""
        if not select.select([self.stream], [], [], seconds)[0]:
            return False
        self.rest += self.stream.recv(1 << 16)
        *lines, self.rest = self.rest.split(b"\n")
        for line in lines:
            if line.startswith(b"{"):
                self.tell(json.loads(line))
        return True

    def tell(self, event):
        actor = event["Actor"]
        # an exec ends when it likes, and a container may be gone before it is killed a second time; what a network and its driver call each other is of the default bridge
        if event["Action"].startswith(("exec_", "kill")) or event["Type"] == "network" and event["Action"] not in ("create", "destroy"):
            return
        # the engine's own word on a prune, which in a namespace is many removals; what is said of an image by its id alone
        # nobody is told (documented); nor of the builder's own containers
        if event["Action"] == "prune" or event["Type"] == "image" and event["Action"] in ("create", "import", "untag", "delete"):
            return
        if event["Type"] == "container" and actor["ID"] not in self.known_as:
            return
        # volumes are mounted by their mount's id; what has no name is not told of (documented)
        named = [actor["Attributes"].get("name", ""), actor["ID"]]
        if event["Type"] == "volume" and HEX.fullmatch(actor["ID"]):
            return
        # engines below 23 say nothing of volumes that a prune removes
        if event["Action"] == "destroy" and event["Type"] == "volume" and self.api < "1.42" and "sentinel" not in actor["ID"]:
            return
        name = named[0] if event["Type"] == "container" else self.text(named[0] or named[1])
        self.told[(event["Type"], event["Action"].split(":")[0], self.text(name))] += 1

    def events(self, sentinel):
        """Up to one that is made for it."""
        call(self.address, "POST", "/volumes/create", json.dumps({"Name": sentinel}).encode())
        call(self.address, "DELETE", f"/volumes/{sentinel}")
        end = time.monotonic() + PATIENCE
        while not self.told[("volume", "destroy", sentinel)]:
            if not self.read_events(1) and time.monotonic() > end:
                raise SystemExit(f"{self.address}: the events have no {sentinel}")
        return collections.Counter(self.told)

    def later_events(self, wanted):
        end = time.monotonic() + 10
        while self.told != wanted and time.monotonic() < end:
            self.read_events(1)
        return collections.Counter(self.told)


def quoted(text):
    return urllib.parse.quote(text, safe="{}:/")


def shown(one, other):
    """The parts that differ."""
    if isinstance(one, dict) and isinstance(other, dict):
        return {key: shown(value, other.get(key)) for key, value in one.items() if value != other.get(key, ...)}
    if isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)) and len(one) == len(other):
        return [shown(left, right) for left, right in zip(one, other) if left != right]
    return one
