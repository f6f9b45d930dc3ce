# attach/ws with a small RFC 6455 client: echo, fragments, ping, close handshake.
import os
import base64
import hashlib

from raw import Conn, container, call, pause, remove, title


def send_frame(c, opcode, payload, fin=True):
    mask = os.urandom(4)
    size = len(payload)
    length = bytes([0x80 | size]) if size < 126 else b"\xfe" + size.to_bytes(2, "big") if size < 65536 else b"\xff" + size.to_bytes(8, "big")
    c.send(bytes([(0x80 if fin else 0) | opcode]) + length + mask + bytes(b ^ mask[i & 3] for i, b in enumerate(payload)))


def read_frame(c):
    first, second = c.take(2)
    size = second & 0x7F
    if size == 126:
        size = int.from_bytes(c.take(2), "big")
    elif size == 127:
        size = int.from_bytes(c.take(8), "big")
    return first & 0x0F, c.take(size)


def read_until(c, marker):
    kinds, data = set(), b""
    while marker not in data:
        opcode, payload = read_frame(c)
        if opcode == 8:
            break
        kinds.add(opcode)
        data += payload
    return sorted(kinds), data


key = base64.b64encode(os.urandom(16)).decode()
accept = base64.b64encode(hashlib.sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()).decode()
handshake = f"Host: docker\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\nOrigin: http://docker\r\n\r\n"

for name, tty in (("w1", False), ("w2", True)):
    title(f"echo, terminal {tty}")
    container(name, "sh", "-c", "stty -echo 2>/dev/null; exec cat", OpenStdin=True, Tty=tty)
    call("POST", f"/containers/{name}/start")
    # (the terminal repeats what is typed until `stty` has run)
    while b'"cat"' not in call("GET", f"/containers/{name}/top?ps_args=-o%20pid,comm").body:
        pause()
    with Conn() as c:
        c.send(f"GET /containers/{name}/attach/ws?stream=1&stdin=1&stdout=1&stderr=1 HTTP/1.1\r\n{handshake}")
        a = c.head()
        print(" ", a.line, a.header("Upgrade"), a.header("Sec-WebSocket-Accept") == accept)
        send_frame(c, 2, b"hello\n")
        print(" ", read_until(c, b"\n"))
        send_frame(c, 2, b"in three ", fin=False)
        send_frame(c, 0, b"frag", fin=False)
        send_frame(c, 0, b"ments\n")
        print(" ", read_until(c, b"\n"))
        if not tty:
            big = base64.b64encode(os.urandom(60000)) + b"\n"
            send_frame(c, 2, big)
            print(" ", read_until(c, b"\n")[1] == big)
        send_frame(c, 8, (1000).to_bytes(2, "big"))
        c.take_all()
        print("  ended")
    print(" ", call("GET", f"/containers/{name}/json").json()["State"]["Running"])
    remove(name)

title("the container ends: close frame and end of stream")
# It speaks when it is spoken to: what it wrote before the attach would come from its log, from the stream or from both
# (moby/daemon/attach.go copies the log while the stream is open already).
container("w3", "sh", "-c", "read line; echo from the container", OpenStdin=True)
call("POST", "/containers/w3/start")
with Conn() as c:
    c.send(f"GET /containers/w3/attach/ws?stream=1&stdin=1&stdout=1 HTTP/1.1\r\n{handshake}")
    print(" ", c.head().line)
    send_frame(c, 2, b"speak\n")
    print(" ", read_until(c, b"never"))
    c.take_all()
    print("  ended")
call("POST", "/containers/w3/wait")

title("the log alone")
with Conn() as c:
    c.send(f"GET /containers/w3/attach/ws?logs=1&stdout=1 HTTP/1.1\r\n{handshake}")
    print(" ", c.head().line)
    print(" ", read_until(c, b"never"))
    c.take_all()
    print("  ended")
remove("w3")

title("no such container; not a websocket")
for path, headers in (("nosuch", handshake), ("nosuch", "Host: docker\r\n\r\n")):
    with Conn() as c:
        c.send(f"GET /containers/{path}/attach/ws?stream=1 HTTP/1.1\r\n{headers}")
        a = c.answer()
        print(" ", a.line, a.body)
