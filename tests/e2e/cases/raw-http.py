# Requests as odd clients write them; status line, headers (but Date) and body must be the same.
import socket

from raw import Conn, call, pause, title


def goes_on(c):
    """The connection takes one more request."""
    try:
        return c.send(f"GET /_ping HTTP/1.1\r\n{H}\r\n").answer().status == 200
    except (EOFError, OSError):
        return False


def ask(text, data, method="GET", answers=1, body=True):
    title(text)
    with Conn() as c:
        try:
            c.send(data)
            for _ in range(answers):
                a = c.answer(method).show(body)
            said = (a.header("Connection") or "").lower()
            closes = said == "close" or (a.line.startswith("HTTP/1.0") and said != "keep-alive")
            print("  ended", c.ended(120) if closes else not goes_on(c))
        except (EOFError, OSError, socket.timeout) as e:
            print(" ", type(e).__name__)


H = "Host: docker\r\n"
ask("GET /_ping", f"GET /_ping HTTP/1.1\r\n{H}\r\n")
ask("HEAD /_ping", f"HEAD /_ping HTTP/1.1\r\n{H}\r\n", "HEAD")
ask("GET /v1.41/_ping", f"GET /v1.41/_ping HTTP/1.1\r\n{H}\r\n")
ask("GET /version", f"GET /version HTTP/1.1\r\n{H}\r\n")
ask("Connection: close", f"GET /_ping HTTP/1.1\r\n{H}Connection: close\r\n\r\n")
ask("HTTP/1.0", "GET /_ping HTTP/1.0\r\n\r\n")
ask("HTTP/1.0 with Host", f"GET /_ping HTTP/1.0\r\n{H}\r\n")
ask("HTTP/1.0, keep-alive", "GET /_ping HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET /_ping HTTP/1.0\r\n\r\n", answers=2)
ask("HTTP/1.0, a streamed answer", "GET /containers/json HTTP/1.0\r\n\r\n")
ask("HTTP/1.1 without Host", "GET /_ping HTTP/1.1\r\n\r\n")
ask("empty Host", "GET /_ping HTTP/1.1\r\nHost: \r\n\r\n")
ask("empty Host, no blank", "GET /_ping HTTP/1.1\r\nHost:\r\n\r\n")
ask("Host of a socket path", "GET /_ping HTTP/1.1\r\nHost: %2Fvar%2Frun%2Fdocker.sock\r\n\r\n")
ask("absolute form", "GET http://docker/_ping HTTP/1.1\r\nHost: docker\r\n\r\n")
ask("bare LF", "GET /_ping HTTP/1.1\nHost: docker\n\n")
ask("lower-case header names", "GET /_ping HTTP/1.1\r\nhost: docker\r\nuser-agent: x\r\n\r\n")
ask("no such path", f"GET /nope HTTP/1.1\r\n{H}\r\n")
ask("no such versioned path", f"GET /v1.41/nope HTTP/1.1\r\n{H}\r\n")
ask("no such method", f"PUT /containers/json HTTP/1.1\r\n{H}\r\n")
ask("version from the future", f"GET /v1.99/version HTTP/1.1\r\n{H}\r\n")
ask("version from the past", f"GET /v1.1/version HTTP/1.1\r\n{H}\r\n")
ask("no such container", f"GET /containers/nosuch/json HTTP/1.1\r\n{H}\r\n")
ask("double slash", f"GET //_ping HTTP/1.1\r\n{H}\r\n")
ask("escaped path", f"GET /containers/a%2Fb/json HTTP/1.1\r\n{H}\r\n")
ask("bad escape", f"GET /containers/%zz/json HTTP/1.1\r\n{H}\r\n")
ask("bad filters", f"GET /containers/json?filters=nope HTTP/1.1\r\n{H}\r\n")
ask("bad JSON", f"POST /containers/create HTTP/1.1\r\n{H}Content-Type: application/json\r\nContent-Length: 5\r\n\r\n{{bad}}", "POST")
ask("wrong content type", f"POST /containers/create HTTP/1.1\r\n{H}Content-Type: text/plain\r\nContent-Length: 2\r\n\r\n{{}}", "POST")
ask("no body", f"POST /containers/create HTTP/1.1\r\n{H}Content-Type: application/json\r\nContent-Length: 0\r\n\r\n", "POST")
# (what is no HTTP: raw-malformed)
ask("a body on GET", f"GET /_ping HTTP/1.1\r\n{H}Content-Length: 4\r\n\r\nbody")
ask("OPTIONS", f"OPTIONS /_ping HTTP/1.1\r\n{H}\r\n")
ask("Expect: something else", f"POST /containers/create HTTP/1.1\r\n{H}Expect: nope\r\nContent-Length: 2\r\n\r\n{{}}", "POST")
ask("three pipelined", f"GET /_ping HTTP/1.1\r\n{H}\r\nGET /nope HTTP/1.1\r\n{H}\r\nGET /v1.41/_ping HTTP/1.1\r\n{H}\r\n", answers=3)
ask("POST and GET pipelined",
    f"POST /containers/create HTTP/1.1\r\n{H}Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{{}}GET /_ping HTTP/1.1\r\n{H}\r\n", answers=2)

body = b'{"Image":"busybox","Cmd":["true"]}'
head = f"POST /containers/create?name=raw HTTP/1.1\r\n{H}Content-Type: application/json\r\n"

title("keep-alive: four requests, one after the other")
with Conn() as c:
    for path in ("/_ping", "/containers/nosuch/json", "/containers/json", "/_ping"):
        c.send(f"GET {path} HTTP/1.1\r\n{H}\r\n").answer().show()

title("Expect: 100-continue")
with Conn() as c:
    c.send(f"{head}Expect: 100-continue\r\nContent-Length: {len(body)}\r\n\r\n")
    c.head().show()
    c.send(body).answer().show()
    c.send(f"GET /_ping HTTP/1.1\r\n{H}\r\n").answer().show(False)
call("DELETE", "/containers/raw")

title("Expect: 100-continue, refused before the body")
with Conn() as c:
    c.send(f"PUT /containers/nosuch/archive?path=/ HTTP/1.1\r\n{H}Expect: 100-continue\r\nContent-Length: 1000\r\n\r\n")
    c.answer().show()

title("chunked, in pieces, with an extension and a trailer")
with Conn() as c:
    c.send(f"{head}Transfer-Encoding: chunked\r\nTrailer: X-End\r\n\r\n")
    c.send(b"5;ext=1\r\n" + body[:5] + b"\r\n")
    pause(0.1)
    c.send(f"{len(body) - 5:X}\r\n".encode() + body[5:] + b"\r\n0\r\nX-End: 1\r\n\r\n")
    c.answer().show()
    c.send(f"GET /_ping HTTP/1.1\r\n{H}\r\n").answer().show(False)
call("DELETE", "/containers/raw")

title("a request in single bytes")
with Conn() as c:
    for byte in f"GET /_ping HTTP/1.1\r\n{H}\r\n".encode():
        c.send(bytes([byte]))
    c.answer().show()

title("an early 404 while 8 MiB of body are still to come")
with Conn() as c:
    c.send(f"PUT /containers/nosuch/archive?path=/ HTTP/1.1\r\n{H}Content-Type: application/x-tar\r\nContent-Length: {8 << 20}\r\n\r\n")
    c.send(b"x" * 1000)
    c.answer().show()
    try:
        for _ in range(128):
            c.send(b"x" * 65536)
    except (BrokenPipeError, ConnectionResetError):
        pass
    print("  the rest was taken or refused")

title("an early 404, small body, then the next request")
with Conn() as c:
    c.send(f"PUT /containers/nosuch/archive?path=/ HTTP/1.1\r\n{H}Content-Type: application/x-tar\r\nContent-Length: 4\r\n\r\nbody")
    c.answer().show()
    c.send(f"GET /_ping HTTP/1.1\r\n{H}\r\n").answer().show()

title("the client half-closes right after its request")
with Conn() as c:
    c.send(f"GET /_ping HTTP/1.1\r\n{H}\r\n")
    c.half_close()
    c.answer().show()

title("the client half-closes in the middle of its body")
with Conn() as c:
    c.send(f"{head}Content-Length: {len(body)}\r\n\r\n")
    c.send(body[:10])
    c.half_close()
    try:
        c.answer().show()
    except (EOFError, OSError) as e:
        print(" ", type(e).__name__)
