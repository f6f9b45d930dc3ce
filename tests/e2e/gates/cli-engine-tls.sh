# The engine itself behind tls://; and TLS on both sides at once.
# e2e: cross=all
. "$E2E_LIB/gate.sh"
C=$E2E_ENGINE_CERTS
works - "$E2E_DOCKGATE" certs certs
ENGINE_URL=tls://$E2E_ENGINE_TLS ENGINE_KEYS="ca = \"$C/ca.pem\"
cert = \"$C/cert.pem\"
key = \"$C/key.pem\"" gate g < <(cat << X
[[listener]]
name = "unix"
url = "unix://$PWD/g.sock"
$(tls_listener tls "$PORT")
X
)
export DOCKER_HOST=unix://$PWD/g.sock
tail_of() { printf abc | d run -i --rm busybox sh -c 'cat; sleep 1; echo tail'; }
works abctail tail_of
works abctail over_tls "$PORT" certs tail_of
works - d run -d --name c1 busybox sleep 3000
works hi d exec c1 echo hi
head -c 67108864 /dev/urandom > in
echoed() { d exec -i c1 cat < in | cmp - in; }
works '' echoed
works '' over_tls "$PORT" certs echoed
# the engine ends the stream first, stdin stays open
mkfifo open
exec 3<> open
engine_first() { d run -i --rm busybox sh -c 'read -t 1 x; echo ended; exit 4' <&3; }
fails ended engine_first
fails ended over_tls "$PORT" certs engine_first
works - d cp in c1:/in
works - d exec c1 cmp /in /in
printf 'FROM busybox\nRUN echo built\n' > Dockerfile
works - env DOCKER_BUILDKIT=0 "$DOCKER" build -q .
works - d rm -f c1

# an engine that somebody else has certified is not believed: 502, and the reason in the log
ENGINE_URL=tls://$E2E_ENGINE_TLS ENGINE_KEYS="ca = \"certs/ca.pem\"" gate h < <(cat << X
[[listener]]
name = "unix"
url = "unix://$PWD/h.sock"
X
)
works 502 curl -s -m 120 -o body -w '%{http_code}' --unix-socket h.sock http://engine/_ping
eventually grep -qiE 'certificate|issuer' h.err
# an engine that wants a certificate and gets none
ENGINE_URL=tls://$E2E_ENGINE_TLS ENGINE_KEYS="ca = \"$C/ca.pem\"" gate i < <(cat << X
[[listener]]
name = "unix"
url = "unix://$PWD/i.sock"
X
)
works 502 curl -s -m 120 -o body -w '%{http_code}' --unix-socket i.sock http://engine/_ping
eventually grep -qiE 'certificate' i.err
