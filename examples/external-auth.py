#!/usr/bin/env python3
# external-auth.py SOCKET TOKENS: lets in who has a token of the file TOKENS, lines of `token user [group]...`.
import hmac, http.server, json, os, socketserver, sys

class Program(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        question = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        scheme, _, token = (question["authorization"] or "").partition(" ")
        if scheme.lower() != "bearer":
            return self.answer(204)
        for known, user, *groups in (line.split() for line in open(sys.argv[2]) if line.strip()):
            if hmac.compare_digest(known.encode(), token.strip().encode()):
                return self.answer(200, {"user": user, "groups": groups, "ttl": 30})
        self.answer(403, {"message": "this token is not known"})

    def answer(self, status, answer=None):
        self.send_response_only(status)
        self.end_headers()
        self.wfile.write(json.dumps(answer).encode() if answer else b"")

if os.path.exists(sys.argv[1]):
    os.unlink(sys.argv[1])
socketserver.ThreadingUnixStreamServer(sys.argv[1], Program).serve_forever()
