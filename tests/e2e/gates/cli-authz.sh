# A Docker AuthZ plugin behind `kind = "authz"`: it decides on bodies and answers, and when it fails nothing passes.
# e2e: engines=20.10,28
. "$E2E_LIB/gate.sh"
engine_folder=$(dirname "$E2E_ENGINE_PID")
inner=dockgate-e2e-$E2E_INDEX
inner_socket=$E2E_ENGINE_PLUGINS/$inner.sock
plugins=()
finish() {
    kill -KILL "${plugins[@]}" "${gates[@]}" 2> /dev/null
    rm -f "$inner_socket"
    [ ! -e engine.json ] || { cp engine.json "$engine_folder/daemon.json"; kill -HUP "$(cat "$E2E_ENGINE_PID")"; }
    [ "$failures" = 0 ] || exit 1
}
trap finish EXIT

plugin() { # NAME SOCKET: records to NAME.asked, does as NAME.rules says; $plugin is its process
    setpriv --pdeathsig KILL "$E2E_PYTHON" "$E2E_LIB/authz_plugin.py" "$2" "$1.asked" "$1.rules" > "$1.out" 2>&1 < /dev/null &
    plugin=$!
    plugins+=("$plugin")
    eventually curl -sf -m 60 -o curl.out --unix-socket "$2" -X POST http://plugin/Plugin.Activate
    : > "$1.asked"
}
rules() { echo "{\"rules\": [$1]}" > outer.rules; }
through() { DOCKER_HOST=unix://$PWD/a.sock "$@"; }

echo '{}' > outer.rules
plugin outer "$PWD/outer.sock"
gate a << X2
[[listener]]
name = "a"
url = "unix://$PWD/a.sock"
policies = ["legacy"]
[[listener]]
name = "impatient"
url = "unix://$PWD/i.sock"
policies = ["impatient"]
[policy.legacy]
kind = "authz"
url = "unix://$PWD/outer.sock"
timeout = "60s"
[policy.impatient]
kind = "authz"
url = "unix://$PWD/outer.sock"
timeout = "1s"
X2

echo "# all that a client does passes through a plugin that allows"
works hi through d run --rm busybox echo hi
works - through d run -d --name c1 busybox sleep 3000
works - through d start c1
works exec through d exec c1 echo exec
works in sh -c "echo in | DOCKER_HOST=unix://$PWD/a.sock timeout 120 '$DOCKER' exec -i c1 cat"
works typed sh -c "echo typed | DOCKER_HOST=unix://$PWD/a.sock timeout 120 '$DOCKER' run --rm -i busybox cat"
works - through d cp /etc/hostname c1:/tmp/
works c1 through d ps --filter name=c1 --format '{{.Names}}'
mkdir ctx
printf 'FROM busybox\nRUN echo built\n' > ctx/Dockerfile
works - through env DOCKER_BUILDKIT=0 timeout 120 "$DOCKER" build -q ctx

echo "# a request is denied by its body, however long"
rules '{"phase": "req", "uri": "/containers/create", "body": "\"Privileged\":true", "then": "deny", "msg": "no privileged containers"}'
fails 'authorization denied by plugin legacy: no privileged containers' through d create --privileged busybox
works - through d create --name c2 busybox
cat > large.py << 'P'
import json, sys
from raw import call
for privileged in (True, False):
    body = {"Image": "busybox", "Labels": {"a": "x" * (3 << 20)}, "HostConfig": {"Privileged": privileged}}
    print(call("POST", "/v1.41/containers/create", body).status)
P
works '403 201 ' sh -c "E2E_SOCK=$PWD/a.sock '$E2E_PYTHON' large.py | tr '\n' ' '"
works 0 sh -c "DOCKER_HOST=unix://$E2E_SOCK '$DOCKER' ps -aq --filter label=a | xargs -r '$DOCKER' -H unix://$E2E_SOCK inspect --format '{{.HostConfig.Privileged}}' | grep -c true || true"

echo "# an answer is denied by its body, a stream by its beginning"
rules '{"phase": "res", "uri": "/json", "body": "\"Name\":\"/c1\"", "then": "deny", "msg": "not yours"}, {"phase": "res", "uri": "/logs", "then": "deny", "msg": "no logs"}'
fails 'authorization denied by plugin legacy: not yours' through d inspect --type container c1
works - through d inspect --type container c2
fails 'authorization denied by plugin legacy: no logs' through d logs c2

echo "# a plugin that fails lets nothing through"
failed='plugin legacy failed with error: '
rules '{"uri": "/info", "then": "hang"}'
DOCKER_HOST=unix://$PWD/i.sock fails 'plugin impatient failed with error: there is no answer within 1s' d info
works c1 through d ps --filter name=c1 --format '{{.Names}}'
for then in garbage cut status err; do
    rules "{\"uri\": \"/info\", \"then\": \"$then\"}"
    case $then in
        garbage) why='AuthZPlugin.AuthZReq: the answer is no JSON' ;;
        cut) why='AuthZPlugin.AuthZReq: the answer broke off' ;;
        status) why="AuthZPlugin.AuthZReq: the answer's status is 500: broken inside" ;;
        err) why='out of order' ;;
    esac
    fails "$failed$why" through d info
    works c1 through d ps --filter name=c1 --format '{{.Names}}'
done
rules ''
kill -KILL "$plugin"
# (without an answer to its ping, the CLI asks by its own version)
fails "$failed" through env DOCKER_API_VERSION=1.41 "$DOCKER" ps
echo '{"implements": ["VolumeDriver"]}' > outer.rules
plugin outer "$PWD/outer.sock"
fails "${failed}the plugin does not implement .authz." through env DOCKER_API_VERSION=1.41 "$DOCKER" ps
rules ''
works c1 through d ps --filter name=c1 --format '{{.Names}}'

echo "# what the plugin is asked is what dockerd asks one of its own for the same call"
echo '{}' > inner.rules
plugin inner "$inner_socket"
cp "$engine_folder/daemon.json" engine.json
"$E2E_PYTHON" -c 'import json, sys; print(json.dumps(json.load(open("engine.json")) | {"authorization-plugins": [sys.argv[1]]}))' "$inner" > "$engine_folder/daemon.json"
kill -HUP "$(cat "$E2E_ENGINE_PID")"
eventually sh -c "DOCKER_HOST=unix://$E2E_SOCK timeout 120 '$DOCKER' ps > /dev/null && [ -s inner.asked ]"
: > inner.asked
: > outer.asked
works hi through d run --rm -e A=1 -v v1:/v busybox echo hi
works exec through d exec -w /tmp c1 echo exec
works - through d start c1
works - through d network create n1
works - through d network rm n1
fails . through d inspect nosuch
works - through d volume rm v1
fails . through d login -u ann -p S3cr3t 127.0.0.1:1
cat > compare.py << 'P'
import json

CALL = ("User", "UserAuthNMethod", "RequestMethod", "RequestUri", "RequestBody", "RequestHeaders", "RequestPeerCertificates")
RESULT = ("ResponseStatusCode", "ResponseBody", "ResponseHeaders")


def asked(name):
    with open(name + ".asked", encoding="utf-8") as file:
        return [(one["path"], one["headers"], one["asked"]) for one in map(json.loads, file) if one["asked"]]


left = asked("inner")
compared = answers = 0
for path, headers, ours in asked("outer"):
    of_call = [one for one in left if one[0] == path and one[2]["RequestUri"] == ours["RequestUri"]
               and one[2]["RequestMethod"] == ours["RequestMethod"]]
    assert of_call, f"dockerd was not asked: {ours}"
    left.remove(of_call[0])
    _, their_headers, theirs = of_call[0]
    assert set(ours) <= {*CALL, *RESULT}, ours
    assert headers["accept"] == their_headers["accept"]
    if ours["RequestUri"].endswith("/auth"):
        # dockerd 20.10 shows a plugin the password, 28 does not, and neither does dockgate
        assert "S3cr3t" not in json.dumps(ours)
        theirs.pop("RequestBody", None)
    # dockgate's own mark, by which gateways that lead to each other are found
    assert theirs["RequestHeaders"].pop("X-Dockgate-Via"), theirs
    for key in CALL:
        assert ours.get(key) == theirs.get(key), f"{key} of {ours['RequestUri']}\n ours   {ours.get(key)}\n theirs {theirs.get(key)}"
    compared += 1
    # of answers that it writes in one piece dockerd's plugin knows the status
    if theirs.get("ResponseStatusCode"):
        answers += 1
        assert ours["ResponseStatusCode"] == theirs["ResponseStatusCode"], (ours, theirs)
        assert ours.get("ResponseBody", "") == theirs.get("ResponseBody", "").rstrip("\n"), (ours, theirs)
        assert ours["ResponseHeaders"] == theirs["ResponseHeaders"], (ours, theirs)
assert compared > 40 and answers > 5, (compared, answers)
print("compared")
P
# (of a stream dockerd asks again when it has ended, which is a little later)
eventually "$E2E_PYTHON" compare.py
works - through d rm -f c1 c2
