# Hijacked streams as odd clients open them, byte for byte.
import json
import os
import threading

from raw import Conn, call, container, execution, streams, pause, remove, running, title

UPGRADE = "Upgrade: tcp\r\nConnection: Upgrade\r\n"
START = json.dumps({"Detach": False, "Tty": False})


def exec_start(ident, upgrade=UPGRADE, host="Host: docker\r\n", tail="", eol="\r\n", body=START):
    text = f"POST /exec/{ident}/start HTTP/1.1\r\n{host}Content-Type: application/json\r\n{upgrade}Content-Length: {len(body)}\r\n\r\n"
    return (text.replace("\r\n", eol) + body + tail).encode()


running("h1", "sleep", "3000", HostConfig={"Init": True})

for text, upgrade in (("with Upgrade", UPGRADE), ("without Upgrade", ""), ("Upgrade without Connection", "Upgrade: tcp\r\n")):
    title(f"exec start {text}, half-close by the client, then the tail")
    with Conn() as c:
        c.send(exec_start(execution("h1", "sh", "-c", "cat; sleep 0.3; echo tail; echo err >&2"), upgrade))
        c.head().show(False)
        c.send("typed\n")
        pause()
        c.half_close()
        print(" ", streams(c.take_all()))

title("the empty Host of the docker CLI 20.10")
with Conn() as c:
    c.send(exec_start(execution("h1", "echo", "hi"), host="Host:\r\n"))
    c.head().show(False)
    print(" ", streams(c.take_all()))

title("as Jenkins does: bare LF, one line end too many behind the body")
for tail in ("", "\n", "\r\n"):
    with Conn() as c:
        c.send(exec_start(execution("h1", "cat"), host="Host: docker.sock\r\n", eol="\n", tail=tail))
        c.head().show(False)
        pause()
        c.send("real input\n")
        pause()
        c.half_close()
        print(" ", streams(c.take_all()))

title("the engine ends the stream, the client has not")
with Conn() as c:
    c.send(exec_start(execution("h1", "echo", "short")))
    c.head()
    print(" ", streams(c.take_all()))

title("a command that cannot run: 101, then the reason inside")
with Conn() as c:
    c.send(exec_start(execution("h1", "nosuchcommand")))
    c.head().show(False)
    print(" ", streams(c.take_all()))

title("exec start: unknown id, and the connection is still good")
with Conn() as c:
    c.send(exec_start("0" * 64))
    c.answer("POST").show()
    c.send("GET /_ping HTTP/1.1\r\nHost: docker\r\n\r\n").answer().show()

title("exec start twice")
ident = execution("h1", "true")
for _ in range(2):
    with Conn() as c:
        c.send(exec_start(ident))
        c.head().show(False)
        print(" ", streams(c.take_all()) if _ == 0 else c.take_all())
    pause()

title("exec start, detached")
with Conn() as c:
    c.send(exec_start(execution("h1", "true"), body=json.dumps({"Detach": True})))
    c.answer("POST").show()

title("exec with a terminal")
with Conn() as c:
    c.send(exec_start(execution("h1", "sh", "-c", "tty; echo $((6*7))", Tty=True), body=json.dumps({"Tty": True})))
    c.head().show(False)
    print(" ", c.take_all())

title("attach errors are raw and end with the connection")
for path in ("/containers/nosuch/attach?stream=1&stdout=1", "/v1.41/containers/nosuch/attach?stream=1"):
    with Conn() as c:
        c.send(f"POST {path} HTTP/1.1\r\nHost: docker\r\n{UPGRADE}Content-Length: 0\r\n\r\n")
        c.answer("POST").show()

for text, upgrade in (("with Upgrade", UPGRADE), ("without", "")):
    title(f"attach {text}, with a body, as dockerode posts it: not for the container")
    container("h2", "sh", "-c", "cat; echo tail", OpenStdin=True, StdinOnce=True, AttachStdin=True)
    options = json.dumps({"stream": True, "stdin": True, "stdout": True, "stderr": True})
    with Conn() as c:
        c.send(f"POST /containers/h2/attach?stream=1&stdin=1&stdout=1&stderr=1 HTTP/1.1\r\nHost: docker\r\n{upgrade}"
               f"Content-Type: application/json\r\nContent-Length: {len(options)}\r\n\r\n{options}")
        c.head().show(False)
        call("POST", "/containers/h2/start")
        pause()
        c.send("for the container\n")
        pause()
        c.half_close()
        print(" ", streams(c.take_all()))
    remove("h2")

title("half-close before the start: the output comes all the same")
container("h3", "sh", "-c", "cat; sleep 0.3; echo output", OpenStdin=True, StdinOnce=True, AttachStdin=True)
with Conn() as c:
    c.send(f"POST /containers/h3/attach?stream=1&stdin=1&stdout=1&stderr=1 HTTP/1.1\r\nHost: docker\r\n{UPGRADE}\r\n")
    c.head().show(False)
    c.half_close()
    call("POST", "/containers/h3/start")
    print(" ", streams(c.take_all()))
remove("h3")

title("4 MiB echoed, written in odd pieces, no frame header split or lost")
blob = os.urandom(4 << 20)
with Conn() as c:
    c.send(exec_start(execution("h1", "cat")))
    c.head()

    def write():
        at, size = 0, 1
        while at < len(blob):
            c.send(blob[at : at + size])
            at, size = at + size, size * 3 % 100003 + 1
        c.half_close()

    writer = threading.Thread(target=write)
    writer.start()
    echoed = streams(c.take_all())[1]
    writer.join()
    print(" ", len(echoed), echoed == blob)

title("the client goes away in the middle; the exec is left as the engine leaves it")
with Conn() as c:
    c.send(exec_start(execution("h1", "sh", "-c", "cat; sleep 0.2; touch /left")))
    c.head()
    c.send("x")
for _ in range(600):
    pause(0.1)
    probe = call("HEAD", "/containers/h1/archive?path=/left")
    if probe.status == 200:
        break
print(" ", probe.status)

title("logs, followed: each line when it is written")
running("h4", "sh", "-c", "echo one; until [ -e /go ]; do sleep 0.05; done; echo two >&2")
with Conn() as c:
    c.send("GET /containers/h4/logs?follow=1&stdout=1&stderr=1 HTTP/1.1\r\nHost: docker\r\n\r\n")
    while b"one\n" not in c.buffer:
        c.fill()
    call("POST", f"/exec/{execution('h4', 'touch', '/go')}/start", {"Detach": True})
    c.answer().show()
remove("h4")

title("session and grpc without h2c")
for path in ("/session", "/grpc"):
    with Conn() as c:
        c.send(f"POST {path} HTTP/1.1\r\nHost: docker\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        c.answer("POST").show()
title("grpc with h2c: the engine speaks first")
with Conn() as c:
    c.send("POST /grpc HTTP/1.1\r\nHost: docker\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n")
    c.head().show(False)
    c.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(3) + b"\x04" + bytes(5))
    frame = c.take(9)
    print("  type", frame[3], "length", int.from_bytes(frame[:3], "big"))
remove("h1")
