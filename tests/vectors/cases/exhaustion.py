"""160-164: what a client can make the other side hold, before and after it is known, and a gateway in front of itself."""

import json
import os
import pathlib
import socket
import time

from lib.case import vector
from lib.wire import SECONDS, Conn, exchange, request

MEBIBYTE = 1 << 20
HEAD = b"GET /_ping HTTP/1.1\r\nHost: engine\r\nX-Filler: "


def memory(pid):
    """Resident, in MiB."""
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmRSS:")).split()[1]) >> 10


def engine_pid(c):
    return int((c.rig.dir / "pid").read_text())


def gate(c, name, text):
    """A dockgate of the case's own; its process."""
    process = c.rig.serve(name, text)
    c.rig.processes.remove(process)
    return process


def end(process):
    process.terminate()
    process.wait(SECONDS)


def pieces(data, size=1 << 17):
    return (data[at : at + size] for at in range(0, len(data), size))


def flood(address, count, data, wanted=0):
    """So many connections with a request that does not end. When so many as wanted are told something, and no more of them:
    all, and how many were."""
    held = []
    for _ in range(count):
        held.append(conn := Conn(address))
        for piece in pieces(data):
            try:
                conn.sock.sendall(piece)
            except OSError:
                break
    told, quiet, end = 0, 0, time.monotonic() + SECONDS
    while quiet < 5 or (told < wanted and time.monotonic() < end):
        time.sleep(0.2)
        before, told = told, sum(map(is_told, held))
        quiet = quiet + 1 if told == before else 0
    return held, told


def is_told(conn):
    """Is there an answer, or the end?"""
    conn.sock.setblocking(False)
    try:
        conn.sock.recv(1, socket.MSG_PEEK)
        return True
    except BlockingIOError:
        return False
    except OSError:
        return True
    finally:
        conn.sock.settimeout(SECONDS)


def close(held):
    for conn in held:
        conn.sock.close()


def listener(c, name, limits=""):
    return f"""
[engine]
url = "unix://{c.rig.socket}"
[[listener]]
name = "{name}"
url = "unix://{c.rig.gate_socket(name)}"
policies = ["conservative"]
[limits]
{limits}
"""


@vector(160, "a flood of unfinished heads")
def heads(c):
    unfinished = HEAD + b"x" * (MEBIBYTE - 200)
    count = 100

    def grown(address, pid, wanted):
        before = memory(pid)
        held, told = flood(address, count, unfinished, wanted)
        answer = exchange(address, request("GET", "/_ping"))
        grown = memory(pid) - before
        close(held)
        return grown, told, answer.status

    grown_engine, told, _ = grown(c.rig.direct.address, engine_pid(c), 0)
    c.expect(f"the engine takes {grown_engine} MiB for {count} MiB of heads", not told, f"{told} told")
    c.bitten += 1
    process = gate(c, "heads", listener(c, "heads"))
    try:
        address = c.rig.gate_socket("heads")
        exchange(address, request("GET", "/_ping"))
        mib, told, status = grown(address, process.pid, count - 16)
        c.expect(f"the gate takes {mib} MiB and tells {told}", mib < 48 and told >= count - 16, f"{mib} MiB, {told} told")
        c.expect("others are served meanwhile", status == 200, f"{status}")
        held, _ = flood(address, 20, unfinished, 1)
        refused = [conn.answer() for conn in held if is_told(conn)]
        close(held)
        good = [a for a in refused if a.status == 429 and "limits.head_memory" in a.text]
        c.expect("they are told which bound it was", good, "; ".join(map(str, refused)))
    finally:
        end(process)


@vector(161, "JSON bodies that do not come")
def bodies(c):
    """The engine waits for ever for a body; the gate does not, and holds no more than its budget."""
    body = b'{"Image":"' + b"x" * (4 * MEBIBYTE - 100)
    unfinished = request("POST", c.rig.direct.path("/containers/create"), body, keep=True)
    unfinished = unfinished.replace(b"Content-Length: %d" % len(body), b"Content-Length: %d" % (len(body) + 50))

    with Conn(c.rig.direct.address) as conn:
        conn.send(unfinished)
        conn.sock.settimeout(8)
        try:
            ended = not conn.fill()
        except socket.timeout:
            ended = False
        c.expect("the engine waits", not ended)
        c.bitten += 1
    limits = 'body_time = "15s"\nbody_memory = "32m"'
    process = gate(c, "bodies", listener(c, "bodies", limits))
    try:
        address = c.rig.gate_socket("bodies")
        exchange(address, request("GET", "/_ping"))
        before = memory(process.pid)
        held, _ = flood(address, 40, unfinished)
        mib = memory(process.pid) - before
        c.expect(f"the gate takes {mib} MiB for 160 MiB of bodies", mib < 64, f"{mib} MiB")
        answers = [conn.answer() for conn in held]
        close(held)
        statuses = sorted({a.status for a in answers})
        # a connection that was still being written to may be reset before it has read its answer
        c.expect(f"they are told: {statuses}", set(statuses) <= {0, 408, 429} and {408, 429} <= set(statuses), "; ".join(map(str, answers))[:900])
        keys = "".join(a.text for a in answers)
        c.expect("and which bound it was", "limits.body_memory" in keys and "limits.body_time" in keys, keys[:600])
        made = exchange(address, request("POST", c.rig.direct.path("/containers/create"), {"Image": "busybox"}))
        c.expect("others are served", made.status == 201, str(made))
        c.rig.admin("DELETE", f"/containers/{made.json()['Id']}?force=1")
    finally:
        end(process)


def looped(c, policies):
    """Two gates, each the other's engine."""
    processes = []
    for name, engine in (("loop-a", "loop-b"), ("loop-b", "loop-a")):
        text = f"""
[engine]
url = "unix://{c.rig.gate_socket(engine)}"
[[listener]]
name = "{name}"
url = "unix://{c.rig.gate_socket(name)}"
policies = {json.dumps(policies)}
"""
        processes.append(gate(c, name, text))
    return processes


@vector(162, "gateways that lead to each other")
def loops(c):
    for policies in ([], ["conservative"]):
        processes = looped(c, policies)
        try:
            address = c.rig.gate_socket("loop-a")
            descriptors = lambda: sum(len(os.listdir(f"/proc/{p.pid}/fd")) for p in processes)  # noqa: E731
            for path in ("/_ping", "/version", "/containers/json"):
                answer = exchange(address, request("GET", path))
                c.expect(f"{path} {policies or 'none'}: 508", answer.status == 508 and "back to this gateway" in answer.text, str(answer))
            before = descriptors()
            for _ in range(200):
                exchange(address, request("GET", "/containers/json"))
            after = descriptors()
            c.expect("nothing grows", after <= before + 8, f"{before} then {after}")
            with Conn(address) as conn:
                conn.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").half_close()
                conn.take_all()
            c.expect("nor by a tunnel", descriptors() <= before + 8, f"{descriptors()}")
        finally:
            for process in processes:
                end(process)
    c.declare("the engine is none of two gateways")


@vector(163, "a listener in the engine's place")
def in_its_place(c):
    inode = os.stat(c.rig.socket).st_ino
    work = c.rig.work
    (work / "hard.sock").unlink(missing_ok=True)
    os.link(c.rig.socket, work / "hard.sock")
    text = '[engine]\nurl = "unix://{}"\n[[listener]]\nname = "a"\nurl = "unix://{}"\n'
    complaint = c.rig.check(text.format(c.rig.socket, c.rig.socket))
    c.expect("check refuses the address", "own address" in complaint, complaint)
    try:
        process = gate(c, "hard", text.format(c.rig.socket, work / "hard.sock"))
        end(process)
        c.fail("by another name", "it started")
    except SystemExit as why:
        c.expect("the start refuses the inode", "own socket" in str(why), str(why))
    c.expect("the engine's socket is as it was", os.stat(c.rig.socket).st_ino == inode)
    c.expect("and answers", c.rig.direct.call("GET", "/_ping", version="").status == 200)
    (work / "hard.sock").unlink(missing_ok=True)
    c.declare("nobody but dockgate is configured so")


@vector(164, "refusals that leave a client waiting")
def ends(c):
    """A client that reads to the end: both sides close where it asked for it."""
    for label, line in (("close", b"HTTP/1.1\r\nHost: engine\r\nConnection: close"), ("HTTP/1.0", b"HTTP/1.0\r\nHost: engine")):
        for target in (c.rig.direct, c.rig.gates["conservative"]):
            for path in ("/nosuch", "/containers/nosuch/json", "/swarm"):
                with Conn(target.address) as conn:
                    conn.send(b"GET " + target.path(path).encode() + b" " + line + b"\r\n\r\n")
                    try:
                        said = conn.take_all()
                    except socket.timeout:
                        said = b""
                    c.expect(f"{target.name} {label} {path}", said.startswith(b"HTTP/1."), repr(said[:200]))
    with Conn(c.rig.gates["conservative"].address) as conn:
        for path in ("/_ping", "/version", "/swarm", "/containers/json"):
            conn.send(b"GET " + path.encode() + b" HTTP/1.0\r\nHost: engine\r\nConnection: keep-alive\r\n\r\n")
            answer = conn.answer()
            c.expect(f"keep-alive {path}", answer.header("Connection") == "keep-alive", f"{answer} {answer.headers}")
    c.declare("the engine ends such connections itself")
