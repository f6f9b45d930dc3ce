"""A token service as docker's registry wants it: signed by a key whose certificate the registry trusts.

    with Issuer(folder, {"user": "password"}, {"private/": ["user"]}) as tokens: ...
        tokens.config     what docker-registry's `auth.token` is
        tokens.scopes     what tokens were asked for

Repositories that begin with a name of the third argument are for its users only; all others are open to all users.
"""

import base64
import json
import subprocess
import threading
import time
import urllib.parse
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def openssl(*words, data=None):
    return subprocess.run(["openssl", *words], input=data, capture_output=True, check=True).stdout


def flat(data):
    data = data if isinstance(data, bytes) else json.dumps(data).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=")


class Issuer:
    def __init__(self, folder, users, private=None):
        folder.mkdir(parents=True)
        self.users, self.private, self.scopes = users, private or {}, []
        self.folder = folder
        self.new_key()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                body = outer.answer(self)
                self.send_response(200 if body else 401)
                body = json.dumps(body or {"errors": [{"code": "UNAUTHORIZED", "message": "no"}]}).encode()
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        port = self.server.server_address[1]
        self.url = f"http://127.0.0.1:{port}"
        self.config = {
            "realm": f"http://127.0.0.1:{port}/token",
            "service": "upstream",
            "issuer": "issuer",
            "rootcertbundle": str(folder / "issuer.pem"),
        }

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()

    def answer(self, handler):
        user = None
        if login := handler.headers.get("Authorization"):
            user, _, password = base64.b64decode(login.split()[1]).decode().partition(":")
            if self.users.get(user) != password:
                return None
        query = urllib.parse.parse_qs(urllib.parse.urlsplit(handler.path).query)
        access = []
        for scope in query.get("scope", []):
            self.scopes.append(scope)
            kind, name, actions = scope.split(":")
            if self.may(user, name):
                access.append({"type": kind, "name": name, "actions": actions.split(",")})
        now = int(time.time())
        claims = {
            "iss": "issuer", "sub": user or "", "aud": "upstream", "exp": now + 300, "nbf": now - 10, "iat": now,
            "jti": str(uuid.uuid4()), "access": access,
        }
        der = base64.b64encode(openssl("x509", "-in", self.folder / "issuer.pem", "-outform", "DER")).decode()
        signed = flat({"alg": "RS256", "typ": "JWT", "x5c": [der]}) + b"." + flat(claims)
        signature = openssl("dgst", "-sha256", "-sign", self.folder / "key.pem", data=signed)
        return {"token": (signed + b"." + flat(signature)).decode(), "expires_in": 300}

    def new_key(self):
        openssl(
            "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", "-subj", "/CN=issuer",
            "-keyout", self.folder / "key.pem", "-out", self.folder / "issuer.pem",
        )

    def may(self, user, name):
        owners = [users for beginning, users in self.private.items() if name.startswith(beginning)]
        return user is not None and all(user in users for users in owners)

    def revoke(self, registry):
        """Tokens that were given are good no more: the registry trusts another key from now on."""
        self.new_key()
        registry.stop()
        registry.start()
