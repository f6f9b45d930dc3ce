# Audit, learn, enforce: what was let pass under audit passes by the learned rules, and nothing wider.
. "$E2E_LIB/gate.sh"
gate g < <(cat << X
[[listener]]
name = "watch"
url = "unix://$PWD/watch.sock"
policies = ["watch"]
[policy.watch]
kind = "conservative"
mode = "audit"
X
)
# at LISTENER COMMAND...
at() {
    local sock=$PWD/$1.sock
    shift
    DOCKER_HOST=unix://$sock "$@"
}
works 2 at watch d run --rm --cap-add SYS_PTRACE --name c1 busybox sh -c 'echo 2'
works - at watch d run -d --pid host --name c2 busybox sleep 3000
works hi at watch d exec c2 echo hi
works - at watch d rm -f c2
# a record comes a little later than its answer, and all are there when the gate has ended
kill -TERM "$gate"
wait "$gate"
works - grep -q '"operation":"ContainerDelete"' g.access
"$E2E_DOCKGATE" learn --listener watch g.access > learned.toml
gate h < <(cat << X
[[listener]]
name = "ci"
url = "unix://$PWD/ci.sock"
policies = ["ci"]
[policy.ci]
kind = "conservative"
rules = "learned.toml"
X
)
works - "$E2E_DOCKGATE" check -c h.toml
works 2 at ci d run --rm --cap-add SYS_PTRACE --name c1 busybox sh -c 'echo 2'
works - at ci d run -d --pid host --name c2 busybox sleep 3000
works hi at ci d exec c2 echo hi
works - at ci d rm -f c2
fails 'rule container.privileged' at ci d run --rm --privileged busybox true
fails 'rule container.cap-add' at ci d run --rm --cap-add SYS_ADMIN busybox true
fails 'rule rules.operation' at ci d volume ls
fails 'rule rules.operation' at ci d info
