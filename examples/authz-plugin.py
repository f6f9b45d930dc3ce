#!/usr/bin/env python3
# authz-plugin.py SOCKET: a Docker AuthZ plugin with one rule, no privileged containers.
import base64, http.server, json, os, socketserver, sys

class Plugin(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or "{}")
        if self.path == "/Plugin.Activate":
            return self.answer({"Implements": ["authz"]})
        if "/containers/create" in asked["RequestUri"]:
            made = json.loads(base64.b64decode(asked.get("RequestBody", "")) or "{}")
            if made.get("HostConfig", {}).get("Privileged"):
                return self.answer({"Allow": False, "Msg": "no privileged containers"})
        self.answer({"Allow": True})

    def answer(self, answer):
        self.send_response_only(200)
        self.end_headers()
        self.wfile.write(json.dumps(answer).encode())

if os.path.exists(sys.argv[1]):
    os.unlink(sys.argv[1])
socketserver.ThreadingUnixStreamServer(sys.argv[1], Plugin).serve_forever()
