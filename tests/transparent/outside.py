#!/usr/bin/env python3
"""The world outside of an engine's network: a DNS server, and an origin for hosts that cannot be reached from here.

    outside.py FOLDER ADDRESS      FOLDER has outside.json, cert.pem and key.pem; FOLDER/outside.log is written

outside.json: `hosts`, which are the origin here; `walks`, whose servers the DNS names (SRV of `_http._tcp` and `_https._tcp`):
the origin here, which has nothing of theirs, so that a client that asks the DNS instead of its hosts file gets nothing;
`resolver`, who knows all other names. Every path is an object, its bytes follow from the path; below /repo.git/ is a git repository
(smart HTTP). The log has a line of JSON for each connection and each request.
"""

import contextlib
import hashlib
import json
import os
import pathlib
import re
import socket
import ssl
import struct
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

A, SRV = 1, 33
WALK = "walk.outside.test"
# (KIND: `kept` is fresh for an hour, `asked` has a validator and is asked for each time)
FIGURE = re.compile(r"/figures/\d+-(\d+)-(kept|asked)")


def content(path):
    """What is there: some 100 KB, which depend on all of the path; of /figures/NUMBER-SIZE-KIND, SIZE bytes."""
    figure = FIGURE.fullmatch(path)
    return hashlib.shake_256(path.encode()).digest(int(figure[1]) if figure else 100_000 + len(path))


class Log:
    def __init__(self, path):
        self.file, self.lock = open(path, "a", buffering=1), threading.Lock()

    def line(self, **what):
        with self.lock:
            self.file.write(json.dumps(what) + "\n")


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def setup(self):
        # in this connection's own thread: a client that says nothing holds up nobody
        if self.server.tls:
            self.request.settimeout(60)
            self.request = self.server.tls.wrap_socket(self.request, server_side=True)
        super().setup()

    def finish(self):
        super().finish()
        if self.server.tls:
            # said that this is the end: OpenSSL wants that
            with contextlib.suppress(OSError):
                self.request.unwrap()
            self.request.close()

    def any(self):
        length = int(self.headers.get("Content-Length") or 0)
        if (self.headers.get("Transfer-Encoding") or "").lower() == "chunked":
            body = b"".join(iter(self.chunk, b""))
        else:
            body = self.rfile.read(length)
        scheme = "https" if self.server.tls else "http"
        host = self.headers.get("Host", "").split(":")[0]
        self.server.log.line(event="request", scheme=scheme, host=host, method=self.command, path=self.path,
                             through="Via" in self.headers, agent=self.headers.get("User-Agent", ""), check=self.headers.get("If-None-Match", ""))
        if self.path.startswith("/repo.git/"):
            return self.git(body)
        if host not in self.server.hosts:
            return self.say(404, b"nothing of theirs is here\n")
        if (figure := FIGURE.fullmatch(self.path)) and figure[2] == "asked":
            return self.asked()
        fixed = self.server.fixed.get(self.path)
        self.say(200, fixed.encode("latin-1") if fixed is not None else content(self.path))

    def asked(self):
        """An object with a validator: 304 to who has it."""
        tag = f'"{self.path}"'
        if self.headers.get("If-None-Match") != tag:
            return self.say(200, content(self.path), fresh="no-cache", tag=tag)
        self.send_response(304)
        self.send_header("ETag", tag)
        self.send_header("Cache-Control", "no-cache")
        self.end_headers()

    do_GET = do_HEAD = do_POST = do_PUT = any

    def chunk(self):
        size = int(self.rfile.readline().split(b";")[0], 16)
        piece = self.rfile.read(size)
        self.rfile.readline()
        return piece

    def say(self, status, body, kind="application/octet-stream", fresh="max-age=3600", tag=None):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Type", kind)
        self.send_header("Cache-Control", fresh)
        if tag:
            self.send_header("ETag", tag)
        self.send_header("Alt-Svc", 'h3=":443"')
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def git(self, body):
        """CGI, as RFC 3875 has it."""
        path, _, query = self.path.partition("?")
        environment = os.environ | {
            "GIT_PROJECT_ROOT": str(self.server.folder), "GIT_HTTP_EXPORT_ALL": "1", "PATH_INFO": path, "QUERY_STRING": query,
            "REQUEST_METHOD": self.command, "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""), "CONTENT_LENGTH": str(len(body)),
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""), "GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "safe.directory",
            "GIT_CONFIG_VALUE_0": "*"}
        done = subprocess.run(["git", "http-backend"], input=body, env=environment, capture_output=True, check=False)
        head, _, answer = done.stdout.partition(b"\r\n\r\n")
        fields = dict(line.split(": ", 1) for line in head.decode().splitlines() if ": " in line)
        self.say(int(fields.get("Status", "200").split()[0]), answer, fields.get("Content-Type", "text/plain"), "no-cache")

    def log_message(self, *_):
        pass


class Origin(ThreadingHTTPServer):
    daemon_threads, request_queue_size = True, 256

    def get_request(self):
        connection, peer = super().get_request()
        self.log.line(event="connection", port=self.server_port, peer=peer[0])
        return connection, peer

    def handle_error(self, *_):
        # a client that does not like the certificate
        pass


def origin(address, port, about, folder, log, tls=None):
    one = Origin((address, port), Handler)
    one.hosts, one.fixed, one.folder, one.log, one.tls = set(about["hosts"]), about.get("fixed", {}), folder, log, tls
    threading.Thread(target=one.serve_forever, daemon=True).start()


def name_at(packet, at):
    """A name of a question, and where it ends; questions have no pointers."""
    labels = []
    while length := packet[at]:
        labels.append(packet[at + 1:at + 1 + length].decode("latin-1"))
        at += 1 + length
    return ".".join(labels).lower(), at + 1


def wire_name(name):
    return b"".join(bytes([len(label)]) + label.encode() for label in name.split(".")) + b"\0"


class Names:
    def __init__(self, address, about):
        self.address, self.about = address, about
        self.own = set(about["hosts"]) | {WALK}
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((address, 53))

    def serve(self):
        while True:
            packet, peer = self.socket.recvfrom(4096)
            threading.Thread(target=self.one, args=(packet, peer), daemon=True).start()

    def one(self, packet, peer):
        try:
            name, end = name_at(packet, 12)
            kind = struct.unpack("!H", packet[end:end + 2])[0]
            answer = self.answer(packet, name, kind, end + 4)
        except (IndexError, struct.error, OSError):
            return
        if answer:
            self.socket.sendto(answer, peer)

    def answer(self, packet, name, kind, end):
        walked = name.split(".", 2)[2] if name.startswith(("_http._tcp.", "_https._tcp.")) else None
        found = []
        if walked in self.about["walks"] and kind == SRV:
            port = 443 if name.startswith("_https") else 80
            found = [struct.pack("!HHH", 0, 0, port) + wire_name(WALK)]
        elif name in self.own:
            found = [socket.inet_aton(self.address)] if kind == A else []
        elif walked is None:
            return self.ask(packet)
        status = 0x8180 if found or name in self.own else 0x8183
        head = packet[:2] + struct.pack("!HHHHH", status, 1, len(found), 0, 0)
        answers = b"".join(b"\xc0\x0c" + struct.pack("!HHIH", kind, 1, 60, len(one)) + one for one in found)
        return head + packet[12:end] + answers

    def ask(self, packet):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
            other.settimeout(20)
            other.sendto(packet, (self.about["resolver"], 53))
            return other.recv(4096)


def main():
    folder, address = pathlib.Path(sys.argv[1]), sys.argv[2]
    about = json.loads((folder / "outside.json").read_text())
    log = Log(folder / "outside.log")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    names = Names(address, about)
    origin(address, 80, about, folder, log)
    origin(address, 443, about, folder, log, tls)
    log.line(event="ready")
    names.serve()


if __name__ == "__main__":
    main()
