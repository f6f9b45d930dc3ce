# A job has a Docker socket of its own: what it makes is its own, and gone when the job is, whatever becomes of the gateway meanwhile.
# e2e: timeout=400 cross=all
. "$E2E_LIB/gate.sh"
mkdir jobs cc
echo cached > cc/file
config() {
    printf 'state_dir = "%s/state"\n[jobs]\ndir = "%s/jobs"\n' "$PWD" "$PWD"
    printf '[admin]\nlisten = ["unix://%s/admin.sock"]\n' "$PWD"
    printf '[[listener]]\nname = "ci"\nurl = "unix://%s/ci.sock"\npolicies = ["outside", "sockets"]\n' "$PWD"
    printf '[policy.outside]\nkind = "conservative"\nbinds = [{ host = "%s/cc", mode = "ro" }]\n' "$PWD"
    printf '[policy.sockets]\nkind = "temporary-listener"\nwhen = { label = "type=build" }\n'
    printf 'policies = ["conservative"]\nnamespace = "inside"\ngroup = "label:ci-job"\nenv = { IN_A_JOB = "yes" }\n'
    printf '[policy.inside]\nkind = "namespace"\nname = "{listener}"\nnetwork_pool = "10.215.0.0/16"\n'
    printf 'shared = ["docker.io/library/busybox"]\n'
}
served() { # with the engine's section behind the keys of the whole file
    { config | head -n 1; printf '[engine]\nurl = "unix://%s"\n' "$E2E_SOCK"; config | tail -n +2; } > g.toml
    : > g.err
    setpriv --pdeathsig KILL "$E2E_DOCKGATE" serve -c g.toml > g.access 2> g.err < /dev/null &
    gate=$!
    gates+=("$gate")
    eventually curl -sf -m 10 -o out --unix-socket ci.sock http://engine/_ping
}
served
ci() { DOCKER_HOST=unix://$PWD/ci.sock timeout -k 2 60 "$DOCKER" "$@"; }
engine() { DOCKER_HOST=unix://$E2E_SOCK timeout -k 2 60 "$DOCKER" "$@"; }
dockgate() { "$E2E_DOCKGATE" "$@" --socket "unix://$PWD/admin.sock"; }

# the CLI of this machine and what it is linked to, for containers that have none
mkdir -p root/bin
cp "$DOCKER" root/bin/docker
ldd "$DOCKER" | grep -oE '/[^ ]+' | while read -r lib; do
    mkdir -p "root$(dirname "$lib")"
    cp -L "$lib" "root$lib"
done
job() { # NAME [OPTION...]: a container that sleeps, with a CLI
    local name=$1
    shift
    ci create --name "$name" --label type=build "$@" busybox sleep 900 > "$name.id" || return 1
    tar -C root -c . | ci cp - "$name:/" && ci start "$name" > out
}
inside() { # JOB COMMAND...: of a docker CLI in the job
    local name=$1
    shift
    ci exec -i "$name" docker "$@"
}

works - job one
works - job two
[ "$failures" = 0 ] || exit 1
for name in one two; do
    works - inside "$name" volume create data
    works - inside "$name" network create front
    works - inside "$name" run -d --name web --network front -v data:/data busybox sh -c "echo $name > /data/of; exec sleep 900"
    works "$(printf 'web\n%s' "$name")" inside "$name" ps --format '{{.Names}}'
done
for name in one two; do
    eventually sh -c "DOCKER_HOST=unix://$PWD/ci.sock '$DOCKER' exec $name docker exec web cat /data/of | grep -qx $name"
done
works "yes" ci exec one sh -c 'echo $IN_A_JOB'
works "" ci exec one sh -c 'echo $DOCKER_HOST'
# a volume that has no name, and no container any more
works - inside one run --name gone -v /data busybox true
works - inside one rm gone
works 2 sh -c "DOCKER_HOST=unix://$PWD/ci.sock '$DOCKER' exec one docker volume ls -q | wc -l"
# an image of its own, by the classic builder
works - sh -c "printf 'FROM busybox\nRUN echo built > /built\n' | DOCKER_HOST=unix://$PWD/ci.sock '$DOCKER' exec -i -e DOCKER_BUILDKIT=0 one docker build -t app -"
works "built" inside one run --rm app cat /built
fails "No such (image|object)" inside two image inspect app
# who asks for the engine's socket gets the job's
works "app" inside one run --rm -v /var/run/docker.sock:/var/run/docker.sock busybox sh -c 'ls -l /var/run/docker.sock | grep -q /run/dockgate && echo app'
# never at the cost of what another mount has there
fails "temporary.socket" inside one run --rm -v data:/data -v /var/run/docker.sock:/data busybox true
fails "temporary.socket" inside one run --rm --volumes-from web -v /var/run/docker.sock:/data busybox true
works "unix:///run/dockgate/docker.sock" inside one run --rm --volumes-from web -v /var/run/docker.sock:/data/of busybox sh -c 'echo $DOCKER_HOST'
works "one" inside one exec web cat /data/of
fails "privileged|Privileged" inside one run --rm --privileged busybox true
# nobody else, were they root on the host
works job.peer sh -c 'curl -s --unix-socket "jobs/$(ls jobs | head -n 1)/docker.sock" http://e/containers/json | grep -o job.peer'
# another user in the container, and one whose files cannot be written to
works - ci exec -u 1000:1000 one docker ps
works - ci create --name shut --label type=build --read-only busybox sleep 900
works - ci start shut
works "unix:///run/dockgate/docker.sock" ci exec shut sh -c 'echo $DOCKER_HOST'
works - ci exec shut test -S /run/dockgate/docker.sock
# one that gets none may not have the engine's
fails "temporary.socket" ci run --rm -v /var/run/docker.sock:/var/run/docker.sock busybox true
works - ci run --rm busybox test ! -e /run/dockgate

# what a job sees of its own container: the same as everybody, by each of its names, and for reading
works - ci network create ci-net
works - ci volume create work
works - job own --network ci-net -v work:/builds -v "$PWD/cc:/cc:ro"
works - ci exec own sh -c 'mkdir -p /builds/group/app && echo source > /builds/group/app/file && ln -s /etc /builds/etc'
self=$(cat own.id)
for name in own "$self" "${self:0:12}" "${self:0:7}"; do
    works "/own" inside own inspect -f '{{.Name}}' "$name"
done
works "own" inside own ps --format '{{.Names}}'
works - inside own logs own
works - inside own top own
works - inside own diff own
for change in "stop own" "kill own" "restart own" "rm -f own" "rename own x" "pause own" "update --cpus 1 own" "exec own true" "commit own x" \
    "cp own:/etc/hostname -" "wait $self" "attach own" "network disconnect ci-net own" "network rm ci-net"; do
    # shellcheck disable=SC2086
    fails 'job.container|received 403' inside own $change
done
works "own" ci ps --filter id="$self" --format '{{.Names}}'
fails "No such container" inside two container inspect own
# what it has, others of the job have by it
works "source" inside own run --rm --volumes-from "${self:0:12}" busybox cat /builds/group/app/file
works "${self:0:12}" inside own run --rm --network container:own busybox hostname
works - inside own run -d --name neighbour --network ci-net busybox sleep 900
works - ci exec own ping -c 1 -W 20 neighbour
# and by binds of its own files, of which those of the host are none
works "source" inside own run --rm -v /builds:/src busybox cat /src/group/app/file
works "cached" inside own run --rm -v /cc:/cc busybox sh -c 'cat /cc/file && ! touch /cc/x 2> /dev/null'
works - inside own run -d --name worker -v /builds:/src --volumes-from own busybox sleep 900
works - inside own restart -t 0 worker
works - inside own exec worker sh -c 'echo made > /src/group/app/made'
works "made" ci exec own cat /builds/group/app/made
for path in /etc "$PWD/cc" /run/dockgate "$PWD/jobs" /builds/../etc /; do
    fails container.bind inside own run --rm -v "$path:/x" busybox true
done
case $E2E_ENGINE in
    20.10) fails job.bind inside own run --rm -v /builds/group/app:/src busybox cat /src/file ;;
    *)
        works "source" inside own run --rm -v /builds/group/app:/src busybox cat /src/file
        # no link leads out of the volume, were it put there when nobody looks any more
        fails "etc" inside own run --rm -v /builds/etc:/x busybox ls /x
        works - inside own create --name late -v /builds/group:/x busybox ls /x
        works - ci exec own sh -c 'mv /builds/group /builds/moved && ln -s / /builds/group'
        fails "group" inside own start -a late
        ;;
esac
fails job.bind inside own run --rm -v /cc/file:/file busybox true
works - ci rm -f own
only() { ls jobs && [ "$(ls jobs | wc -l)" = "$1" ]; }
eventually only 3
works "work" ci volume ls -q --filter name=work

# containers of one CI job are one job: until the last of them is gone, also when the gateway was killed meanwhile
works - job helper --label ci-job=7
works - job build --label ci-job=7
works - job alone --label ci-job=8
works - only 5
works - inside helper run -d --name web busybox sleep 900
works "$(printf 'web\nbuild\nhelper')" inside build ps --format '{{.Names}}'
works "alone" inside alone ps --format '{{.Names}}'
fails job.container inside build stop helper
fails "[Nn]o such image" ci create --pull never --label type=build --label ci-job=7 nosuch
works - ci rm -f helper
works "$(printf 'web\nbuild')" inside build ps --format '{{.Names}}'
kill -KILL "$gate"
served
works "$(printf 'web\nbuild')" inside build ps --format '{{.Names}}'
works - job third --label ci-job=7
works - only 5
works - ci rm -f build
works "$(printf 'third\nweb')" inside third ps --format '{{.Names}}'
# what it makes with its socket is none of it, though an image gives that the label
id=$(engine inspect -f '{{index .Config.Labels "io.dockgate.job"}}' third)
works - sh -c "printf 'FROM busybox\nLABEL io.dockgate.job=$id\n' | DOCKER_HOST=unix://$PWD/ci.sock '$DOCKER' exec -i -e DOCKER_BUILDKIT=0 third docker build -t labelled -"
works - inside third run -d --name spy -v /var/run/docker.sock:/var/run/docker.sock labelled sleep 900
works - ci rm -f third alone
eventually only 3

# who has the folder from a job is not the job; and another job has a container on the same image
works - ci create --name foreign --volumes-from one busybox sleep 900
works - sh -c "printf 'FROM busybox\nRUN echo built > /built\n' | DOCKER_HOST=unix://$PWD/ci.sock '$DOCKER' exec -i -e DOCKER_BUILDKIT=0 two docker build -t app -"
works - inside two run -d --name holder app sleep 900
works - inside two rmi app
# a create that the engine refuses leaves nothing
fails "[Nn]o such image" ci create --pull never --label type=build nosuch
works 3 sh -c "ls jobs | wc -l"

# killed, and there again
kill -KILL "$gate"
served
works "$(printf 'web\none')" inside one ps --format '{{.Names}}'
works - dockgate jobs
works 3 sh -c "'$E2E_DOCKGATE' jobs --socket unix://$PWD/admin.sock | grep -c ' open '"
# every stage of a job starts its container again
works - ci restart -t 0 one
works "$(printf 'web\none')" inside one ps --format '{{.Names}}'

# its end takes all of it, and nothing of others
left() { # PREFIX: what the engine has by such names
    engine ps -a --filter "name=$1" --format 'container {{.Names}}'
    engine volume ls --filter "name=$1" --format 'volume {{.Name}}'
    engine network ls --filter "name=$1" --format 'network {{.Name}}'
}
here() { left "$1" && [ -z "$(left "$1")" ]; }
prefix=$(engine ps --format '{{.Names}}' | grep -E -- '^dg[a-z2-7]{10}-web$' | while read -r web; do
    [ "$(engine exec "$web" cat /data/of)" != one ] || echo "${web%web}"
done)
works - test -n "$prefix"
works - ci rm -f one
eventually here "$prefix"
works "web" inside two ps --filter name=web --format '{{.Names}}'
works "two" inside two exec web cat /data/of
nameless() { engine volume ls -q --filter label=io.dockgate.volume; }
unmarked() { nameless && [ -z "$(nameless)" ]; }
eventually unmarked
image() { ! engine images --format '{{.Repository}}' | grep -q /app; }
eventually image
# while no gateway is there
kill -KILL "$gate"
works - engine rm -f two shut
served
works "foreign" ci inspect -f '{{slice .Name 1}}' foreign
all_gone() { dockgate jobs && left '^dg' && ls jobs && [ -z "$(left ^dg)$(ls jobs)" ]; }
eventually all_gone
