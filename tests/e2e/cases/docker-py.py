# docker-py 7.2: a tour.
import io
import os
import re
import socket
import tarfile
import threading
import time

import docker
from docker.errors import APIError, BuildError, ImageNotFound, NotFound

client = docker.from_env(timeout=120)
api = client.api


def say(*words):
    print(*words, flush=True)


def fails(kind, function, *args, **kwargs):
    try:
        say("did not fail", function(*args, **kwargs))
    except kind as e:
        say(type(e).__name__, getattr(e, "status_code", ""), getattr(e, "explanation", e))


def raw(stream):
    """The socket below the wrappers of docker-py."""
    return getattr(stream, "_sock", stream)


def read_all(sock):
    sock.settimeout(120)
    data = b""
    while chunk := sock.recv(65536):
        data += chunk
    return data


say("ping", client.ping())
say("version", sorted(client.version()))
say("info", client.info()["ServerVersion"])
say("run", client.containers.run("busybox", ["echo", "hello"], remove=True))
fails(docker.errors.ContainerError, client.containers.run, "busybox", ["sh", "-c", "echo no >&2; exit 3"], remove=True)
fails((ImageNotFound, APIError), client.images.get, "nosuch:v1")
fails(NotFound, client.containers.get, "nosuch")

c = client.containers.run("busybox", ["sleep", "3000"], name="py1", detach=True, init=True, labels={"a": "b"}, environment={"X": "1"}, mem_limit="64m")
say("list", [x.name for x in client.containers.list(filters={"label": "a=b"})])
say("exec", c.exec_run(["sh", "-c", "echo out; echo err >&2; exit 4"], demux=True))
say("exec stream", b"".join(c.exec_run(["seq", "1", "5"], stream=True).output))
say("exec tty", c.exec_run(["tty"], tty=True))
fails(APIError, c.exec_run, ["echo"], workdir=7)

# half-close: cat ends, its tail still arrives
execution = api.exec_create("py1", ["sh", "-c", "cat; sleep 0.3; echo tail"], stdin=True)
s = raw(api.exec_start(execution["Id"], socket=True))
s.sendall(b"through the socket\n")
s.shutdown(socket.SHUT_WR)
say("exec socket", read_all(s))
say("exec inspect", api.exec_inspect(execution["Id"])["ExitCode"])
blob = os.urandom(4 << 20)
execution = api.exec_create("py1", ["cat"], stdin=True)
s = raw(api.exec_start(execution["Id"], socket=True, tty=False))
threading.Thread(target=lambda: (s.sendall(blob), s.shutdown(socket.SHUT_WR))).start()
data, out = read_all(s), b""
while data:
    size = int.from_bytes(data[4:8], "big")
    out, data = out + data[8 : 8 + size], data[8 + size :]
say("4 MiB echoed", out == blob)

tar = io.BytesIO()
with tarfile.open(fileobj=tar, mode="w") as t:
    info = tarfile.TarInfo("put/file")
    info.size = 3_000_000
    t.addfile(info, io.BytesIO(blob[: info.size]))
say("put_archive", c.put_archive("/tmp", tar.getvalue()))
chunks, stat = c.get_archive("/tmp/put/file")
with tarfile.open(fileobj=io.BytesIO(b"".join(chunks))) as t:
    say("get_archive", stat["name"], stat["size"], t.extractfile("file").read() == blob[:3_000_000])
fails(NotFound, c.get_archive, "/nosuch")
say("stats", sorted(k for k in c.stats(stream=False) if k.endswith("_stats")))
for sample in c.stats(stream=True, decode=True):
    say("stats stream", sample["name"])
    break
say("top", len(c.top()["Processes"]))
say("diff", "/tmp/put" in {d["Path"] for d in c.diff()})
say("commit", c.commit("py-image", tag="t", message="m").tags)
c.pause(), c.unpause(), c.rename("py1b"), c.update(mem_limit="96m", memswap_limit=-1)
c.reload()
say("renamed", c.name, c.attrs["HostConfig"]["Memory"])

# a wait opened before the end, and logs that follow to it
waited = []
w = threading.Thread(target=lambda: waited.append(api.wait("py1b")))
w.start()
time.sleep(0.3)
c.kill()
w.join(120)
say("wait", waited)
c.remove()
follow = client.containers.run("busybox", ["sh", "-c", "for i in 1 2 3; do echo line $i; sleep 0.2; done"], name="py2", detach=True)
say("logs follow", b"".join(follow.logs(stream=True, follow=True)))
follow.wait()  # the log ends a little before the container does
say("logs", follow.logs(tail=1), follow.logs(stdout=False))
follow.remove()

api.create_container("busybox", ["sh", "-c", "read x; echo got $x; cat"], name="py3", stdin_open=True)
a = raw(api.attach_socket("py3", params={"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1}))
api.start("py3")
a.sendall(b"attached\nmore\n")
a.settimeout(120)
seen, lines = b"", b""
while lines.count(b"\n") < 2:  # in one frame or in two
    seen += a.recv(4096)
    lines = re.sub(rb"\x01\0\0\0....", b"", seen)
say("attach_socket", lines)
a.close()
api.remove_container("py3", force=True)

image, log = client.images.build(fileobj=io.BytesIO(b"FROM busybox\nRUN echo built > /b\nCMD cat /b"), tag="py-built", rm=True)
say("build", image.tags, any("Successfully built" in x.get("stream", "") for x in log))
say("run built", client.containers.run("py-built", remove=True))
fails(BuildError, client.images.build, fileobj=io.BytesIO(b"FROM busybox\nRUN exit 5"))
say("save", len(b"".join(image.save())) > 1_000_000)
say("load", [i.tags for i in client.images.load(b"".join(image.save(named=True)))])

seen = []
stream = client.events(decode=True, filters={"type": "volume"})


def watch():
    for event in stream:
        seen.append((event["Type"], event["Action"], event["Actor"]["ID"]))
        break


w = threading.Thread(target=watch)
w.start()
for _ in range(600):
    client.volumes.create("py-v").remove()
    w.join(0.1)
    if not w.is_alive():
        break
say("event", seen[0][0], seen[0][2])
stream.close()

n = client.networks.create("py-n", labels={"x": "y"})
c = client.containers.run("busybox", ["sleep", "3000"], name="py4", detach=True, network="py-n", init=True)
n.reload()
say("network", [x.name for x in n.containers])
n.disconnect(c)
c.remove(force=True)
n.remove()
say("prune", client.volumes.prune(), client.containers.prune(), client.networks.prune())
client.close()
