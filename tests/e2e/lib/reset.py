"""Puts an engine back to its first state, so that every case starts from the same: only the base image is left.

reset.py SOCKET BASE_IMAGE_ID
"""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "lib"))

from rawhttp import Conn  # noqa: E402

sock, base = sys.argv[1], sys.argv[2]
conn = Conn(sock, seconds=60)


def call(method, path):
    answer = conn.send(f"{method} {path} HTTP/1.1\r\nHost: engine\r\nContent-Length: 0\r\n\r\n").answer(method)
    return answer.json() if answer.status == 200 and answer.body else None


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
