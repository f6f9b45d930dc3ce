"""What builds fetch, in the engine's namespace: a file, and repositories for git (by `git http-backend`).

web.py FOLDER PORT...     serves FOLDER/NAME.git and `/file` on 127.0.0.1; prints `ready`
"""

import http.server
import os
import subprocess
import sys
import threading

FOLDER, PORTS = sys.argv[1], [int(port) for port in sys.argv[2:]]


class Handler(http.server.BaseHTTPRequestHandler):
    def answer(self):
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        status, fields, data = 200, [("content-type", "text/plain")], b"served\n"
        if self.path != "/file":
            status, fields, data = self.git(body)
        self.send_response(status)
        for name, value in fields:
            self.send_header(name, value)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    do_GET = do_HEAD = do_POST = answer

    def git(self, body):
        path, _, query = self.path.partition("?")
        said = {
            "GIT_PROJECT_ROOT": FOLDER,
            "GIT_HTTP_EXPORT_ALL": "1",
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "REQUEST_METHOD": self.command,
            "CONTENT_TYPE": self.headers.get("content-type", ""),
            "HTTP_CONTENT_ENCODING": self.headers.get("content-encoding", ""),
            "GIT_PROTOCOL": self.headers.get("git-protocol", ""),
        }
        ran = subprocess.run(["git", "http-backend"], input=body, env={**os.environ, **said}, capture_output=True)
        head, _, data = ran.stdout.partition(b"\r\n\r\n")
        fields = [line.split(": ", 1) for line in head.decode().split("\r\n")]
        status = next((value.split()[0] for name, value in fields if name == "Status"), "200")
        return int(status), [field for field in fields if field[0] != "Status"], data

    def log_message(self, *_):
        pass


for port in PORTS:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
    threading.Thread(target=server.serve_forever).start()
print("ready", flush=True)
