#!/usr/bin/env python3
"""dockgate's store on disks that are full, read-only, failing, and under kill -9. Needs root (mounts in a namespace).

disk.py quick|all [NAME]...
"""

import fcntl
import os
import pathlib
import random
import socket
import subprocess
import sys
import threading
import time

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

from lib.case import Skipped, Wrong, case, expect, script, stored  # noqa: E402
from lib.measure import Download, fetch, right, run  # noqa: E402

MIB = 1 << 20
# kills: enough for the quick run to see what is grossly wrong, hundreds for the bar
KILLS = {"quick": 25, "all": 400}


def mount(*words):
    done = subprocess.run(["mount", *map(str, words)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise Skipped(f"mount {' '.join(map(str, words))}: {done.stderr.strip()}")


def small_disk(folder, size):
    folder.mkdir(parents=True)
    mount("-t", "tmpfs", "-o", f"size={size}", "none", folder)
    return folder


def served(gate, path, size, query=""):
    got = fetch(gate.http, f"{path}?size={size}{query}")
    if got.status != 200 or not right(got, path, size):
        raise Wrong(f"{path}: status {got.status}, {got.length} of {size} bytes, {got.error}\n{gate.tail()}")
    return got


def verified(gate):
    status, text = gate.cache("verify")
    if status:
        raise Wrong(f"`cache verify` ended with status {status}:\n{text[-2000:]}")
    return text


# ---- full ----


@case("a full disk: everything is served, whole and right, and nothing is an error")
def full_disk(rig):
    disk = small_disk(rig.folder / "full", "8m")
    with rig.gate(store=disk / "store", free="0") as gate:
        served(gate, "/full/large", 16 * MIB)
        served(gate, "/full/chunked", 16 * MIB, "&framing=chunked")
        for number in range(30):
            served(gate, f"/full/{number}", MIB)
        # and by somebody else, while an answer is being stored
        slow = Download(gate.http, f"/full/while?size={2 * MIB}&rate=1M")
        filler = disk / "somebody-else"
        run([slow, Later(0.5, lambda: fill(filler))])
        expect(right(slow, "/full/while", 2 * MIB), True, f"the one on its way when the disk filled up ({slow.error})")
        for number in range(5):
            served(gate, f"/full/after/{number}", 100 << 10)
        filler.unlink()
        served(gate, "/full/again", 100 << 10)
        stored(gate, f"/full/again?size={100 << 10}")
        before = rig.origin.counts("/full/again")["requests"]
        served(gate, "/full/again", 100 << 10)
        expect(rig.origin.counts("/full/again")["requests"], before, "requests, once there is room again")
        verified(gate)


class Later(Download):
    """Does something at a moment; to be run beside downloads."""

    def __init__(self, moment, action):
        super().__init__(0, "/")
        self.moment, self.action = moment, action

    def connect(self):
        self.socket, other = socket.socketpair()
        self.socket.setblocking(False)
        self.begin = time.monotonic()
        threading.Timer(self.moment, lambda: (self.action(), other.close())).start()

    def readable(self, buffer):
        return False


def fill(path):
    with open(path, "wb", buffering=0) as out:
        try:
            while True:
                out.write(bytes(64 << 10))
        except OSError:
            pass


@case("the store keeps below its size, and the newest object is there")
def size_is_kept(rig):
    with rig.gate(size="20MB") as gate:
        for number in range(60):
            served(gate, f"/size/{number}", MIB)
        held = sum(file.stat().st_blocks * 512 for file in gate.store.rglob("*") if file.is_file())
        if held > 22e6:
            raise Wrong(f"{held} bytes in a store of 20 MB")
        served(gate, "/size/59", MIB)
        expect(rig.origin.counts("/size/59")["requests"], 1, "requests for the newest object")
        verified(gate)
        return f"{held / 1e6:.1f} MB held"


# ---- read-only ----


def read_only(disk):
    """From now on, for whoever opens a path there; another mount on top, because files may be open for writing."""
    mount("--bind", disk, disk)
    mount("-o", "remount,bind,ro", disk)


@case("a disk that turns read-only: what is stored is served from it, all else passes through")
def read_only_disk(rig):
    disk = small_disk(rig.folder / "readonly", "64m")
    with rig.gate(store=disk / "store", free="1MB") as gate:
        served(gate, "/readonly/stored", MIB)
        stored(gate, f"/readonly/stored?size={MIB}")
        read_only(disk)
        served(gate, "/readonly/stored", MIB)
        expect(rig.origin.counts("/readonly/stored")["requests"], 1, "requests for what was stored")
        for _ in range(2):
            served(gate, "/readonly/new", MIB)
        expect(rig.origin.counts("/readonly/new")["requests"], 2, "requests for what cannot be stored")
        stale = fetch(gate.http, "/readonly/stored?size=1048576", headers={"Cache-Control": "no-cache"})
        expect(stale.status, 200, "status of a revalidation whose result cannot be written")
        subprocess.run(["umount", disk], check=True)
        served(gate, "/readonly/later", MIB)
        stored(gate, f"/readonly/later?size={MIB}")
        served(gate, "/readonly/later", MIB)
        expect(rig.origin.counts("/readonly/later")["requests"], 1, "requests, once it can be written again")
        verified(gate)


@case("a store on a read-only disk from the start is read, and all else passes through")
def read_only_from_the_start(rig):
    disk = small_disk(rig.folder / "readonly2", "64m")
    gate = rig.gate(store=disk / "store", free="1MB")
    try:
        served(gate, "/readonly2/stored", MIB)
        stored(gate, f"/readonly2/stored?size={MIB}")
        gate.stop()
        read_only(disk)
        gate.run()
        served(gate, "/readonly2/stored", MIB)
        expect(rig.origin.counts("/readonly2/stored")["requests"], 1, "requests for what was stored")
        served(gate, "/readonly2/new", MIB)
    finally:
        gate.stop()


# ---- failing ----


@case("a disk that fails to write: everything is served, whole and right")
def failing_writes(rig):
    disk, fails = failing_disk(rig, "writes")
    with rig.gate(store=disk / "store", free="1MB") as gate:
        served(gate, "/writes/before", MIB)
        flying = Download(gate.http, f"/writes/flying?size={4 * MIB}&rate=2M")
        run([flying, Later(1, fails)])
        if flying.complete and not right(flying, "/writes/flying", 4 * MIB):
            raise Wrong("a wrong body was completed for the one on its way when the disk failed")
        for _ in range(2):
            for number in range(12):
                served(gate, f"/writes/{number}", MIB)
        return f"{rig.origin.counts()['requests']} requests to the origin so far"


@case("a disk that fails to read: no wrong body is completed, and the gate goes on")
def failing_reads(rig):
    disk, fails = failing_disk(rig, "reads")
    size = 40 * MIB
    with rig.gate(store=disk / "store", free="1MB", more='memory = "0"') as gate:
        served(gate, "/reads/large", size)
        stored(gate, f"/reads/large?size={size}")
        fails(at=24 * MIB)  # some of it lies behind
        got = fetch(gate.http, f"/reads/large?size={size}")
        if got.complete and not right(got, "/reads/large", size):
            raise Wrong("a wrong body was completed")
        note = "ended early" if not got.complete else "whole from the origin"
        # who asks again gets it
        for _ in range(3):
            got = fetch(gate.http, f"/reads/large?size={size}")
            if right(got, "/reads/large", size):
                break
        else:
            raise Wrong(f"three requests later it still cannot be had: {got.status}, {got.length} bytes, {got.error}")
        served(gate, "/reads/new", MIB)
        return note


def failing_disk(rig, name):
    """ext4 on a device, and what makes the device fail with EIO from an offset on, to read and to write: its memory is cut
    there and sealed against growing, and the page cache forgets."""
    size, disk = 64 << 20, rig.folder / name
    disk.mkdir()
    memory = os.memfd_create(name, os.MFD_ALLOW_SEALING)
    os.truncate(memory, size)
    device = f"/proc/{os.getpid()}/fd/{memory}"
    made = subprocess.run(["mkfs.ext4", "-q", "-O", "^has_journal", "-m", "0", "-E", "nodiscard", device], capture_output=True,
                          text=True, check=False)
    if made.returncode:
        raise Skipped(f"mkfs.ext4: {made.stderr}")
    mount("-o", "loop,errors=continue", device, disk)

    def fails(at=MIB):
        os.sync()
        os.truncate(memory, at)
        fcntl.fcntl(memory, fcntl.F_ADD_SEALS, fcntl.F_SEAL_GROW)
        pathlib.Path("/proc/sys/vm/drop_caches").write_text("1")

    return disk, fails


# ---- what is on the disk is wrong ----


@case("`cache verify` finds a flipped byte, a cut file and a broken head, and none of them is served")
def verify_finds_what_is_wrong(rig):
    gate = rig.gate(more='memory = "0"')
    try:
        paths = [f"/verify/{what}" for what in ("flipped", "cut", "head", "whole")]
        for path in paths:
            served(gate, path, 300 << 10)
            stored(gate, f"{path}?size={300 << 10}")
        verified(gate)
        flipped, cut, head, _ = [file_of(gate, path) for path in paths]
        gate.stop()
        poke(flipped, -1000)
        os.truncate(cut, cut.stat().st_size - 1)
        poke(head, 0)
        gate.run()
        status, text = gate.cache("verify")
        expect(status != 0, True, "`cache verify` ends with an error")
        for what in ("flipped", "cut", "head"):
            if what not in text:
                raise Wrong(f"`cache verify` does not name the object {what!r}:\n{text}")
        if "/verify/whole" in text:
            raise Wrong(f"`cache verify` names the object that is whole:\n{text}")
        for path in paths[1:]:
            served(gate, path, 300 << 10)
    finally:
        gate.stop()


def file_of(gate, path):
    """The file of an object."""
    found = [file for file in gate.store.rglob("*") if file.is_file() and path.split("/")[-1] in str(file.relative_to(gate.store))]
    if len(found) != 1:
        raise Wrong(f"{len(found)} files for {path}: {found}")
    return found[0]


def poke(file, at):
    with open(file, "r+b") as data:
        data.seek(at, os.SEEK_END if at < 0 else os.SEEK_SET)
        byte = data.read(1)
        data.seek(-1, os.SEEK_CUR)
        data.write(bytes([byte[0] ^ 0x55]))


# ---- kill -9 ----


@case("kill -9 during fills: `cache verify` finds nothing wrong, and no body is wrong afterwards")
def kill_9(rig):
    kills = KILLS[sys.argv[1]]
    chance = random.Random(9)
    gate = rig.gate(size="60MB")
    try:
        complete, known = 0, {}
        for number in range(kills):
            asked = [(f"/kill/{chance.randrange(60)}", chance.choice([1000, 60_000, 700_000, 3_000_000])) for _ in range(8)]
            # a small object whole; a large one in up to a second; some with a changed body each time they are revalidated
            query = [chance.choice(["", "&rate=4M", "&framing=chunked", "&cc=max-age=0", "&drop=300K&times=1"]) for _ in asked]
            downloads = [Download(gate.http, f"{path}-{size}?size={size}{more}") for (path, size), more in zip(asked, query)]
            known |= {f"{path}-{size}?size={size}{more}": (f"{path}-{size}", size) for (path, size), more in zip(asked, query)}
            moment = chance.choice([0.02, 0.1, 0.3, 0.8]) * chance.random()
            run([*downloads, Later(moment, gate.kill)])
            for one, (path, size) in zip(downloads, asked):
                if one.complete and one.status == 200 and not right(one, f"{path}-{size}", size):
                    raise Wrong(f"kill {number}: a wrong body was completed: {path}-{size}")
                complete += one.complete
            gate.run()
            if number % 50 == 49 or number == kills - 1:
                verified(gate)
        left = [file for file in (gate.store / "tmp").rglob("*") if file.is_file()]
        if len(left) > 8:
            raise Wrong(f"{len(left)} drafts are left: {left[:5]}")
        # the same by eye: what it serves without an origin is right
        gate.stop()
        config = gate.dir / "dockgate.toml"
        config.write_text(f"{config.read_text()}\noffline = true\n")
        gate.run()
        kept = 0
        for target, (path, size) in known.items():
            got = fetch(gate.http, target)
            if got.status != 504 and not right(got, path, size):
                raise Wrong(f"{target} is stored, and wrong: status {got.status}, {got.error}")
            kept += got.status == 200
        return f"{kills} kills, {complete} bodies were complete before them, {kept} of {len(known)} objects are there"
    finally:
        gate.stop()


if __name__ == "__main__":
    if os.environ.get("DOCKGATE_MOUNTS") != "own":
        os.environ["DOCKGATE_MOUNTS"] = "own"
        os.execvp("unshare", ["unshare", "-m", "--propagation", "private", sys.executable, *sys.argv])
    script(__doc__)
