# BuildKit where it is refused: every client prints the reason in one line, and asks the engine for nothing else. (After a 403 buildx
# would pull `moby/buildkit` and create a privileged container.)
. "$E2E_LIB/gate.sh"
cat > rules.toml << 'X'
extends = "conservative"
[refuse."class.buildkit"]
operations = ["Session", "Grpc"]
why = "BuildKit is not for this listener"
hint = "set `DOCKER_BUILDKIT=0`"
X
gate g << X
[[listener]]
name = "g"
url = "unix://$PWD/g.sock"
policies = ["closed"]
[policy.closed]
kind = "conservative"
rules = "rules.toml"
X
export DOCKER_HOST=unix://$PWD/g.sock BUILDKIT_PROGRESS=plain
mkdir ctx
printf 'FROM busybox\nRUN id\n' > ctx/Dockerfile
printf 'services:\n  web:\n    build: ctx\n' > compose.yaml

reason='BuildKit is not for this listener.*\(rule class.buildkit\)' rule=class.buildkit

# says_so COMMAND...: fails, says why in exactly one line, and nothing of another refusal or of another builder
says_so() {
    local rc=0 before
    before=$(wc -l < g.access)
    timeout -k 2 120 "$@" > "$E2E_TMP/.out" 2> "$E2E_TMP/.err" || rc=$?
    cat "$E2E_TMP/.out" "$E2E_TMP/.err" > said
    # (a record is written behind its answer)
    for _ in {1..600}; do
        tail -n +$((before + 1)) g.access > asked
        ! grep -q "\"rule\":\"$rule\"" asked || break
        sleep 0.1
    done
    if [ "$rc" = 0 ] || [ "$rc" = 124 ] || [ "$rc" = 137 ]; then
        bad "status $rc: $*"
    elif [ "$(grep -c 'dockgate: ' said)" != 1 ] || ! grep -qE "$reason.*DOCKER_BUILDKIT=0" said; then
        bad "not one line with the reason: $*"
    elif grep -qiE 'moby/buildkit|booting|RestartPolicy|privileged|panic' said; then
        bad "more than the reason: $*"
    elif grep -qE '"operation":"(ImageCreate|ContainerCreate|ContainerInspect|ContainerStart|VolumeCreate)"' asked; then
        cat asked >> "$E2E_TMP/.err"
        bad "asked for more: $*"
    elif ! grep -q "\"rule\":\"$rule\"" asked; then
        bad "nothing in the access log: $*"
    else
        echo "ok: says so: $*"
    fi
}

case $E2E_CLI in
    20*)
        says_so env DOCKER_BUILDKIT=1 "$DOCKER" build ctx
        # without any variable it takes BuildKit where the engine says so
        [ "$E2E_ENGINE" = 20.10 ] || says_so "$DOCKER" build ctx
        ;;
    *)
        says_so "$DOCKER" build ctx
        says_so "$DOCKER" buildx build ctx
        says_so "$DOCKER" compose build
        says_so "$DOCKER" compose up -d
        ;;
esac
works - env DOCKER_BUILDKIT=0 "$DOCKER" build -q ctx
works '' "$DOCKER" ps -aq
