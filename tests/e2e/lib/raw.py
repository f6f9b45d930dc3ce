"""HTTP by hand over the engine's socket, for what the usual libraries cannot or will not send."""

import json
import os
import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "lib"))

import rawhttp  # noqa: E402


class Answer(rawhttp.Answer):
    def show(self, body=True):
        print("  <", self.line)
        for name, value in self.headers:
            if name.lower() != "date":
                print(f"  < {name}: {value}")
        if body:
            print("  <", repr(self.text))
        return self


class Conn(rawhttp.Conn):
    Answer = Answer

    def __init__(self):
        super().__init__(os.environ["E2E_SOCK"])


def call(method, path, body=None):
    """One ordinary call on its own connection."""
    data = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    kind = "Content-Type: application/json\r\n" if isinstance(body, dict) else ""
    with Conn() as c:
        c.send(f"{method} {path} HTTP/1.1\r\nHost: engine\r\n{kind}Content-Length: {len(data)}\r\nConnection: close\r\n\r\n".encode() + data)
        return c.answer(method)


def container(name, *command, **extra):
    """Creates a container; its id."""
    a = call("POST", f"/containers/create?name={name}", {"Image": "busybox", "Cmd": list(command), **extra})
    if a.status != 201:
        a.show()
    return a.json()["Id"]


def running(name, *command, **extra):
    ident = container(name, *command, **extra)
    call("POST", f"/containers/{name}/start")
    return ident


def execution(name, *command, **extra):
    settings = {"AttachStdin": True, "AttachStdout": True, "AttachStderr": True, "Cmd": list(command), **extra}
    return call("POST", f"/containers/{name}/exec", settings).json()["Id"]


def remove(*names):
    for name in names:
        call("DELETE", f"/containers/{name}?force=1&v=1")


def streams(data):
    """What a multiplexed stream carried, kind by kind: how it was cut and interleaved is chance."""
    out, at = {}, 0
    while at < len(data):
        kind, size = data[at], int.from_bytes(data[at + 4 : at + 8], "big")
        out[kind] = out.get(kind, b"") + data[at + 8 : at + 8 + size]
        at += 8 + size
    return dict(sorted(out.items()))


def title(text):
    print(f"-- {text}", flush=True)


def pause(seconds=0.15):
    time.sleep(seconds)
