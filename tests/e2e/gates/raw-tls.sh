# How TLS connections end: by the engine with close_notify, by a client that only vanishes.
. "$E2E_LIB/gate.sh"
works - "$E2E_DOCKGATE" certs certs
gate g < <(tls_listener tls "$PORT")
works - d run -d --name c1 busybox sleep 3000
cat > raw_tls.py << 'X'
import json, os, socket, ssl, struct, sys
from raw import call, execution

context = ssl.create_default_context(cafile="certs/ca.pem")
context.load_cert_chain("certs/cert.pem", "certs/key.pem")


def connected():
    # an end without close_notify is an error here
    sock = socket.create_connection(("127.0.0.1", int(sys.argv[2])), timeout=120)
    return context.wrap_socket(sock, server_hostname="localhost", suppress_ragged_eofs=False)


def started(*command):
    ident, body = execution("c1", *command), json.dumps({"Detach": False, "Tty": False})
    conn = connected()
    conn.sendall(f"POST /exec/{ident}/start HTTP/1.1\r\nHost: d\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n"
                 f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())
    head = b""
    while b"\r\n\r\n" not in head:
        head += conn.recv(1)
    assert head.startswith(b"HTTP/1.1 101"), head
    return ident, conn


def ends(ident):
    for _ in range(1200):
        if not call("GET", f"/exec/{ident}/json").json()["Running"]:
            return True
        __import__("time").sleep(0.1)
    return False


def engine_first():
    ident, conn = started("echo", "short")
    got = b""
    while data := conn.recv(4096):
        got += data
    return got[8:] == b"short\n" and ends(ident)


def vanish(reset):
    ident, conn = started("cat")
    conn.sendall(b"x\n")
    assert conn.recv(9)
    plain = socket.socket(fileno=conn.detach())
    if reset:
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    plain.close()
    return ends(ident)


def truncated():
    # a chunked body that ends without its end: not taken for a whole one
    conn = connected()
    conn.sendall(b"POST /v1.24/images/load HTTP/1.1\r\nHost: d\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n")
    socket.socket(fileno=conn.detach()).close()
    with connected() as other:
        other.sendall(b"GET /_ping HTTP/1.1\r\nHost: d\r\nConnection: close\r\n\r\n")
        return other.recv(12) == b"HTTP/1.1 200"


def alpn(offer):
    other = ssl.create_default_context(cafile="certs/ca.pem")
    other.load_cert_chain("certs/cert.pem", "certs/key.pem")
    other.set_alpn_protocols(offer)
    with socket.create_connection(("127.0.0.1", int(sys.argv[2])), timeout=120) as sock:
        with other.wrap_socket(sock, server_hostname="localhost") as conn:
            return conn.selected_alpn_protocol() == "http/1.1"


what = sys.argv[1]
good = {"engine-first": engine_first, "vanish": lambda: vanish(False), "reset": lambda: vanish(True), "truncated": truncated,
        "alpn": lambda: alpn(["h2", "http/1.1"])}[what]()
sys.exit(0 if good else f"{what}: no")
X
for how in engine-first vanish reset truncated alpn; do works - "$E2E_PYTHON" raw_tls.py "$how" "$PORT"; done
nobody() { [ "$(ss -Htn state established state close-wait "sport = :$PORT" | wc -l)" = 0 ]; }
eventually nobody
# 300 that never get as far as a handshake
works - "$E2E_PYTHON" - "$PORT" << 'X'
import socket, sys
held = [socket.create_connection(("127.0.0.1", int(sys.argv[1]))) for _ in range(300)]
for n, sock in enumerate(held):
    sock.sendall([b"\x16\x03\x01\x02\x00\x01", b"\x16", b"", b"GET / HTTP/1.1\r\n\r\n", b"\x00" * 50][n % 5])
for sock in held:
    sock.close()
X
eventually nobody
works - kill -0 "$gate"
works - over_tls "$PORT" certs d version
works - d rm -f c1
