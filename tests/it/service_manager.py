"""Plays systemd for tests/it/service_manager.rs: socket activation, notifications, the descriptor store.

    service_manager.py SETTINGS     (JSON: see `Manager`; one command a line on stdin, one answer on stdout)

Written after sd_notify(3), sd_listen_fds(3) and service_notify_message() of systemd: a test in Rust cannot
put descriptors at 3 and above without unsafe code.
"""
import array
import ctypes
import json
import os
import select
import signal
import socket
import struct
import sys
import time

PATIENCE = 120
PR_SET_CHILD_SUBREAPER = 36


class Manager:
    def __init__(self, program, dir, env=(), sockets=(), most=16, access="all"):
        self.program, self.env, self.most, self.access = program, dict(env), most, access
        self.passed = [(s["name"], listening(s)) for s in sockets]
        self.stored = []  # newest first, as systemd has them
        self.main, self.state, self.heard, self.pids = None, "dead", [], set()
        self.address = os.path.join(dir, "notify")
        self.notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.notify.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self.notify.bind(self.address)

    def start(self):
        self.state, self.heard = "starting", []
        fds = self.passed + [(name, fd) for name, fd in self.stored]
        numbers = [fd if isinstance(fd, int) else fd.fileno() for _, fd in fds]
        self.main = os.fork()
        if self.main == 0:
            self.become(numbers, ":".join(name for name, _ in fds))
        self.pids.add(self.main)
        self.until(lambda: self.state in ("running", "dead"))
        return {"state": self.state, "passed": [name for name, _ in fds]}

    def become(self, numbers, names):
        high = [os.dup2(fd, 200 + at, inheritable=True) for at, fd in enumerate(numbers)]
        for at, fd in enumerate(high):
            os.dup2(fd, 3 + at, inheritable=True)
        os.closerange(3 + len(high), 300)
        null = os.open(os.devnull, os.O_RDWR)
        os.dup2(null, 0)
        os.dup2(null, 1)
        os.closerange(3 + len(high), 300)
        env = {"NOTIFY_SOCKET": self.address, **self.env}
        if high:
            env |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": str(len(high)), "LISTEN_FDNAMES": names}
        try:
            os.execve(self.program[0], self.program, env)
        finally:
            os._exit(127)

    def stop(self):
        for pid in self.pids:
            os.kill(pid, signal.SIGTERM)
        self.until(lambda: not self.pids)
        return {"state": self.state, "heard": self.heard}

    def restart(self):
        self.stop()
        return self.start()

    def signal(self, name, until):
        """Sends a signal to the main process and waits for a notification with this field."""
        self.heard = []
        os.kill(self.main, getattr(signal, "SIG" + name))
        self.until(lambda: any(until in fields for fields in self.heard))
        return {"main": self.main, "heard": self.heard}

    def settle(self, count):
        """Waits until there are no more than so many processes."""
        self.until(lambda: len(self.pids) <= count)
        return self.look()

    def look(self):
        # What was said before is there already: a datagram is sent when it has arrived.
        while select.select([self.notify], [], [], 0)[0]:
            self.listen()
        return {"state": self.state, "main": self.main, "stored": sorted(name for name, _ in self.stored)}

    def until(self, holds):
        end = time.monotonic() + PATIENCE
        while not holds():
            if time.monotonic() > end:
                raise TimeoutError(f"{self.look()} {self.pids} {self.heard}")
            if select.select([self.notify], [], [], 0.01)[0]:
                self.listen()
            elif self.pids:
                self.reap()

    def reap(self):
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            pid = 0
        # A process that another one started is no child of ours before that one has ended.
        self.pids = {pid for pid in self.pids - {pid} if os.path.exists(f"/proc/{pid}")}
        if self.main not in self.pids:
            self.state = "dead"

    def listen(self):
        data, control, _, _ = self.notify.recvmsg(65536, 4096)
        fds, sender = array.array("i"), 0
        for level, kind, body in control:
            if kind == socket.SCM_RIGHTS:
                fds.frombytes(body)
            elif kind == socket.SCM_CREDENTIALS:
                sender = struct.unpack("iII", body)[0]
        fields = dict(line.split("=", 1) for line in data.decode().splitlines())
        self.obey(fields, list(fds), sender)

    def obey(self, fields, fds, sender):
        if self.access == "main" and sender != self.main:
            fields = {"REFUSED": ",".join(fields)}
        self.heard.append(fields)
        name = fields.get("FDNAME", "stored")
        assert all(" " <= c < "\x7f" and c != ":" for c in name) and len(name) < 256, name
        if fields.get("FDSTOREREMOVE") == "1":
            for old, fd in self.stored:
                if old == name:
                    os.close(fd)
            self.stored = [(old, fd) for old, fd in self.stored if old != name]
        if fields.get("FDSTORE") == "1" and len(self.stored) < self.most:
            known = [os.fstat(fd).st_ino for _, fd in self.stored]
            for fd in fds:
                if os.fstat(fd).st_ino not in known:
                    self.stored.insert(0, (name, os.dup(fd)))
        for fd in fds:
            os.close(fd)
        if "MAINPID" in fields:
            self.main = int(fields["MAINPID"])
            self.pids.add(self.main)
        if "RELOADING" in fields:
            assert self.state == "running" and int(fields["MONOTONIC_USEC"]) > 0
        if fields.get("READY") == "1" and self.state == "starting":
            self.state = "running"
        if fields.get("STOPPING") == "1":
            self.state = "stopping"


def listening(wanted):
    kind, _, where = wanted["listen"].partition(":")
    if kind == "unix":
        one = socket.socket(socket.AF_UNIX)
        one.bind(where)
    else:
        one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM if kind == "udp" else socket.SOCK_STREAM)
        host, port = where.split(":")
        one.bind((host, int(port)))
    if kind in ("unix", "tcp"):
        one.listen()
    return one


def main():
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)
    manager = Manager(**json.loads(sys.argv[1]))
    try:
        for line in sys.stdin:
            command, *args = json.loads(line)
            print(json.dumps(getattr(manager, command)(*args)), flush=True)
    finally:
        for pid in manager.pids:
            os.kill(pid, signal.SIGKILL)


main()
