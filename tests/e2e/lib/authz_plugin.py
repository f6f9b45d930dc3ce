"""A Docker AuthZ plugin: does as its file of rules says, and records what it was asked.

authz_plugin.py SOCKET RECORD RULES

RULES is JSON, read again with every question: {"implements": ["authz"], "rules": [{...}, ...]}. A rule names a `phase` (`req`
or `res`), and texts that must be in `uri` and in `body` (of the request or of the answer); the first that fits decides by
`then`: `deny` (with `msg`), `err`, `hang`, `garbage`, `status`, `cut`, or `raw` (with the answer in `raw`). Without one: allowed.
RECORD gets a line of JSON for each question: path, headers, and what was asked, with the bodies decoded.
"""
import base64
import json
import os
import socketserver
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler

SOCKET, RECORD, RULES = sys.argv[1:4]
lock = threading.Lock()


def decoded(asked):
    out = dict(asked)
    for key in ("RequestBody", "ResponseBody"):
        if key in out:
            out[key] = base64.b64decode(out[key]).decode()
    if "RequestPeerCertificates" in out:
        out["RequestPeerCertificates"] = [base64.b64decode(one).decode() for one in out["RequestPeerCertificates"]]
    return out


class Plugin(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.headers.get("Transfer-Encoding") == "chunked":
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        asked = decoded(json.loads(body)) if body else None
        with lock, open(RECORD, "a", encoding="utf-8") as record:
            headers = {name.lower(): value for name, value in self.headers.items()}
            print(json.dumps({"path": self.path, "headers": headers, "asked": asked}), file=record)
        with open(RULES, encoding="utf-8") as file:
            rules = json.load(file)
        if self.path == "/Plugin.Activate":
            return self.reply(json.dumps({"Implements": rules.get("implements", ["authz"])}))
        phase, which = ("res", "ResponseBody") if self.path == "/AuthZPlugin.AuthZRes" else ("req", "RequestBody")
        for rule in rules.get("rules", []):
            fits = rule.get("uri", "") in asked["RequestUri"] and rule.get("body", "") in asked.get(which, "")
            if rule.get("phase", phase) == phase and fits:
                return self.follow(rule)
        return self.reply('{"Allow":true}')

    def follow(self, rule):
        then = rule["then"]
        if then == "hang":
            time.sleep(600)
        elif then == "cut":
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"Allow\":true")
            self.close_connection = True
        else:
            said = {"deny": json.dumps({"Allow": False, "Msg": rule.get("msg", "")}), "err": '{"Allow":true,"Err":"out of order"}',
                    "garbage": "<html>", "status": '{"Err":"broken inside"}', "raw": rule.get("raw")}[then]
            self.reply(said, 500 if then == "status" else 200)

    def reply(self, body, status=200):
        self.send_response(status)
        self.send_header("Content-Type", "application/vnd.docker.plugins.v1.2+json")
        self.send_header("Content-Length", str(len(body.encode())))
        self.end_headers()
        self.wfile.write(body.encode())

    def address_string(self):
        return "unix"

    def log_message(self, *_):
        pass


class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    request_queue_size = 128


if os.path.exists(SOCKET):
    os.unlink(SOCKET)
Server(SOCKET, Plugin).serve_forever()
