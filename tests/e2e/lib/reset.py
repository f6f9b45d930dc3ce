"""Puts an engine back to its first state, so that every case starts from the same: only the base image is left.

reset.py SOCKET BASE_IMAGE_ID
"""

import http.client
import json
import socket
import sys

sock, base = sys.argv[1], sys.argv[2]


class Unix(http.client.HTTPConnection):
    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(60)
        self.sock.connect(sock)


conn = Unix("engine")


def call(method, path):
    conn.request(method, path)
    response = conn.getresponse()
    body = response.read()
    return json.loads(body) if response.status == 200 and body else None


for c in call("GET", "/containers/json?all=1") or []:
    call("DELETE", f"/containers/{c['Id']}?force=1&v=1")
for n in call("GET", "/networks?filters=%7B%22type%22%3A%5B%22custom%22%5D%7D") or []:
    call("DELETE", f"/networks/{n['Id']}")
for v in (call("GET", "/volumes") or {}).get("Volumes") or []:
    call("DELETE", f"/volumes/{v['Name']}?force=1")
call("POST", "/build/prune?all=1")
for _ in range(5):
    images = call("GET", "/images/json?all=1") or []
    extra = [i for i in images if i["Id"] != base]
    tags = [t for i in images for t in i["RepoTags"] or [] if t not in ("busybox:latest", "<none>:<none>")]
    if not extra and not tags:
        break
    for tag in tags:
        call("DELETE", f"/images/{tag}?force=1")
    for image in extra:
        call("DELETE", f"/images/{image['Id']}?force=1")
if not any(i["Id"] == base for i in call("GET", "/images/json") or []):
    sys.exit("the base image is gone")
