# What is no request: dockgate answers for itself and in its own words, with the engine's status, and ends the connection.
from raw import Conn, title

H = "Host: docker\r\n"
for text, data in (
    ("not HTTP", "hello there\r\n\r\n"),
    ("no version", f"GET /_ping\r\n{H}\r\n"),
    ("blank in a header name", f"GET /_ping HTTP/1.1\r\n{H}Bad Name: x\r\n\r\n"),
    ("two Hosts", "GET /_ping HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"),
    ("two lengths", f"POST /containers/create HTTP/1.1\r\n{H}Content-Length: 2\r\nContent-Length: 3\r\n\r\n{{}} "),
    ("no number", f"POST /containers/create HTTP/1.1\r\n{H}Content-Length: x\r\n\r\n"),
    ("a negative number", f"POST /containers/create HTTP/1.1\r\n{H}Content-Length: -1\r\n\r\n"),
    ("no chunk size", f"POST /containers/create HTTP/1.1\r\n{H}Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n{{}}\r\n0\r\n\r\n"),
):
    title(text)
    with Conn() as c:
        c.send(data)
        try:
            print(" ", c.answer().status, c.ended(120))
        except (EOFError, OSError) as e:
            print(" ", type(e).__name__)
