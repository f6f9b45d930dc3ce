# `docker system dial-stdio`: what docker -H ssh:// runs at the far end; a raw tunnel with half-close.
import os
import subprocess

request = b"GET /_ping HTTP/1.1\r\nHost: d\r\nConnection: close\r\n\r\n"
p = subprocess.run(["timeout", "120", os.environ["DOCKER"], "system", "dial-stdio"], input=request, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
head, _, body = p.stdout.partition(b"\r\n\r\n")
print(p.returncode, head.split(b"\r\n")[0], body)
