# Credentials of the docker CLI: certificates, and what `HttpHeaders` of its config.json sends.
. "$E2E_LIB/gate.sh"
works - "$E2E_DOCKGATE" certs certs --client ci
printf 'correct horse\n' | "$E2E_DOCKGATE" passwd alice > htpasswd
gate g < <(cat << X
[[listener]]
name = "password"
url = "unix://$PWD/password.sock"
auth = ["password", "token"]
[[listener]]
name = "peer"
url = "unix://$PWD/peer.sock"
auth = ["peer"]
[[listener]]
name = "nobody"
url = "unix://$PWD/nobody.sock"
auth = ["others"]
$(tls_listener tls "$PORT" 'auth = ["certificate"]')
[auth.password]
kind = "basic"
file = "htpasswd"
[auth.token]
kind = "jwt"
key = "of-no-worth-but-more-than-32-bytes-long"
issuer = "https://ci.example"
audience = "dockgate"
user = "sub"
[auth.certificate]
kind = "certificate"
[auth.peer]
kind = "unix-peer"
users = { root = "captain" }
[auth.others]
kind = "unix-peer"
users = { nobody = "someone" }
X
)
# header VALUE: what the CLI sends from now on
header() { printf '{"HttpHeaders": {"Authorization": "%s"}}\n' "$1" > "$DOCKER_CONFIG/config.json"; }
basic() { printf 'Basic %s' "$(printf %s "$1" | base64 -w0)"; }
token() { # SECRET EXPIRES_IN
    "$E2E_PYTHON" - "$1" "$2" << 'X'
import base64, hashlib, hmac, json, sys, time
part = lambda data: base64.urlsafe_b64encode(data).rstrip(b"=")
now = int(time.time())
claims = {"iss": "https://ci.example", "aud": "dockgate", "sub": "group/project", "iat": now - 60, "exp": now + int(sys.argv[2])}
text = part(json.dumps({"alg": "HS256", "typ": "JWT"}).encode()) + b"." + part(json.dumps(claims).encode())
print((text + b"." + part(hmac.new(sys.argv[1].encode(), text, hashlib.sha256).digest())).decode())
X
}
SECRET=of-no-worth-but-more-than-32-bytes-long
# at LISTENER COMMAND...
at() {
    local sock=$PWD/$1.sock
    shift
    DOCKER_HOST=unix://$sock "$@"
}
run() { printf abc | d run -i --rm busybox sh -c 'cat; echo tail'; }
# the last record of a listener: FIELD
last() { grep "\"listener\":\"$1\"" g.access | tail -n 1 | "$E2E_PYTHON" -c 'import json, sys; print(json.load(sys.stdin).get(sys.argv[1]))' "$2"; }
is() { [ "$(last "$1" "$2")" = "$3" ]; }

# answers STATUS: what the same header gets; a failed login is answered with 429 for a moment afterwards
answers() { [ "$(curl -s -m 120 -o body -w '%{http_code}' -H "Authorization: $(sed 's/.*: "\(.*\)"}}/\1/' "$DOCKER_CONFIG/config.json")" --unix-socket password.sock http://engine/info)" = "$1" ]; }

fails 'dockgate: ' at password d ps
eventually is password status 401
header "$(basic alice:wrong)"
fails 'dockgate: ' at password d ps
eventually answers 401
header "$(basic 'alice:correct horse')"
eventually at password d ps
works abctail at password run
eventually is password user alice
header "Bearer $(token $SECRET 300)"
works abctail at password run
eventually is password user group/project
header "Bearer $(token $SECRET -120)"
eventually answers 401
fails 'dockgate: ' at password d ps
header "Bearer $(token another-secret-of-more-than-32-bytes-long 300)"
eventually answers 401
fails 'dockgate: ' at password d ps
works 401 curl -s -m 120 -o body -w '%{http_code}' --unix-socket password.sock http://engine/info
works - "$E2E_PYTHON" -c 'import json; assert json.load(open("body"))["message"].startswith("dockgate: "), open("body").read()'
asked() { curl -s -m 120 -o body -D - --unix-socket password.sock http://engine/info | grep -ci '^www-authenticate: \(basic\|bearer\)'; }
works 2 asked
# no credential got into a log
works 1 sh -c 'grep -cE "correct horse|$1|$2" g.err g.access > count; echo $?' - "$(printf 'alice:correct horse' | base64)" "$SECRET"

echo '{}' > "$DOCKER_CONFIG/config.json"
works abctail at peer run
eventually is peer user captain
fails 'dockgate: ' at nobody d ps
eventually is nobody status 401
works abctail over_tls "$PORT" certs run
eventually is tls user ci
