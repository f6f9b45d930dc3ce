# `docker build` of today through every kind of policy and of listener.
# e2e: clis=28 engines=26,28,28-containerd
. "$E2E_LIB/gate.sh"
"$E2E_DOCKGATE" certs certs > /dev/null
plugin=
finish() {
    kill -KILL $plugin "${gates[@]}" 2> /dev/null
    [ "$failures" = 0 ] || exit 1
}
trap finish EXIT
echo '{}' > plugin.rules
setpriv --pdeathsig KILL "$E2E_PYTHON" "$E2E_LIB/authz_plugin.py" "$PWD/plugin.sock" plugin.asked plugin.rules > plugin.out 2>&1 < /dev/null &
plugin=$!
eventually curl -sf -m 60 -o curl.out --unix-socket plugin.sock -X POST http://plugin/Plugin.Activate
cat > builds.rego << 'X'
package dockgate
allow := true
deny contains "nobody builds this target" if {
    input.operation == "Solve"
    input.Body.FrontendAttrs.target == "forbidden"
}
X
listener() { printf '[[listener]]\nname = "%s"\nurl = "%s"\npolicies = [%s]\n' "$@"; }
gate g < <(
    listener limits "unix://$PWD/limits.sock" '"conservative", "sizes"'
    listener rego "unix://$PWD/rego.sock" '"rego"'
    listener authz "unix://$PWD/authz.sock" '"plugin"'
    listener tcp "tcp://127.0.0.1:$PORT" '"conservative"'
    tls_listener tls $((PORT + 1)) 'policies = ["conservative"]'
    cat << X
client_auth = "required"
[policy.sizes]
kind = "limits"
max = { memory = "256m" }
[policy.rego]
kind = "rego"
file = "builds.rego"
[policy.plugin]
kind = "authz"
url = "unix://$PWD/plugin.sock"
timeout = "60s"
X
)
mkdir ctx
echo data > ctx/data
echo hidden > secret
cat > ctx/Dockerfile << 'X'
FROM busybox AS first
RUN --mount=type=secret,id=s cat /run/secrets/s > /got
FROM busybox AS forbidden
RUN true
FROM busybox
COPY --from=first /got /got
COPY data /data
CMD ["cat", "/got", "/data"]
X
builds() { # NAME COMMAND...: an image, and what is in it
    local name=$1
    shift
    works - "$@" build -q --no-cache --secret id=s,src=secret -t "$name" ctx
    works 'hidden
data' "$@" run --rm "$name"
}
at() { local host=$1; shift; DOCKER_HOST=$host d "$@"; }
builds limits at "unix://$PWD/limits.sock"
builds rego at "unix://$PWD/rego.sock"
builds authz at "unix://$PWD/authz.sock"
builds tcp at "tcp://127.0.0.1:$PORT"
builds tls over_tls $((PORT + 1)) certs d

fails 'nobody builds this target' at "unix://$PWD/rego.sock" build --target forbidden ctx
echo '{"rules": [{"phase": "req", "uri": "Solve", "body": "\"target\":\"forbidden\"", "then": "deny", "msg": "no such target here"}]}' > plugin.rules
fails 'no such target here' at "unix://$PWD/authz.sock" build --target forbidden ctx
builds again at "unix://$PWD/authz.sock"
eventually grep -q '"listener":"rego".*"operation":"Solve","verdict":"deny"' g.access
