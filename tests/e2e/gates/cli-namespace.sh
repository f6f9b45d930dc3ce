# Two tenants with the same names on one engine: each has the engine to itself, and neither sees, names, counts or removes anything
# of the other's.
# e2e: timeout=240
. "$E2E_LIB/gate.sh"
head -c 32 /dev/urandom > key
namespace() {
    printf '[[listener]]\nname = "%s"\nurl = "unix://%s/%s.sock"\npolicies = [%s"tenant"]\n' "$1" "$PWD" "$1" "${2:-}"
}
gate g < <(
    namespace a
    namespace b '"ports", '
    printf '[policy.ports]\nkind = "conservative"\nports = "any"\n'
    printf '[policy.tenant]\nkind = "namespace"\nname = "{listener}"\nkey = "key"\nnetwork_pool = "10.214.0.0/16"\nports = "namespace"\n'
    printf 'shared = ["docker.io/library/busybox"]\n'
)
a() { DOCKER_HOST=unix://$PWD/a.sock timeout -k 2 40 "$DOCKER" "$@"; }
b() { DOCKER_HOST=unix://$PWD/b.sock timeout -k 2 40 "$DOCKER" "$@"; }
# all that a tenant is told, for the hunt at the end
told() { "$@" >> "told.$1" 2>&1; }
is() { # WANTED COMMAND...
    local got wanted=$1
    shift
    got=$("$@" 2>&1 | sort | tr '\n' ' ')
    got=${got% }
    if [ "$got" = "$wanted" ]; then echo "ok: $*"; else bad "$*: not \`$wanted\` but \`$got\`"; fi
}

for tenant in a b; do
    works - $tenant network create front
    works - $tenant volume create data
    works - $tenant run -d --name web --network front -v data:/data -p 5432:80 --label who=$tenant busybox sh -c "echo $tenant > /data/of; exec sleep 900"
    works - $tenant run -d --name plain busybox sleep 900
done

shows() { # TEXT COMMAND...
    local text=$1
    shift
    if "$@" 2>&1 | grep -qF -- "$text"; then echo "ok: $*"; else bad "does not show $text: $*"; fi
}

# each finds its own by name, by id and by the beginning of one
for tenant in a b; do
    is $tenant $tenant inspect -f '{{index .Config.Labels "who"}}' web
    is $tenant $tenant exec web cat /data/of
    is $tenant $tenant run --rm --volumes-from web busybox cat /data/of
    is "plain web" $tenant ps --format '{{.Names}}' --filter name=web --filter name=plain
    is "data" $tenant volume ls -q
    is "bridge front host none" $tenant network ls --format '{{.Name}}'
    is 2 $tenant info -f '{{.Containers}}'
    is web $tenant ps -a --filter name='^web$' --format '{{.Names}}'
    is "0.0.0.0:5432" $tenant port web 80
    is front $tenant inspect -f '{{.HostConfig.NetworkMode}}' web
    shows "Address: 10.214" $tenant run --rm --network front busybox nslookup web
    shows "Address: 10.214" $tenant run --rm busybox nslookup plain
done

# images of one's own beside those of others, and by their ids
for tenant in a b; do
    works - $tenant tag busybox "team/app:$tenant"
    is "team/app:$tenant" $tenant images --format '{{.Repository}}:{{.Tag}}' team/app
    is "busybox:latest team/app:$tenant" $tenant images --format '{{.Repository}}:{{.Tag}}'
    told $tenant history busybox
done
id=$(a images -q --no-trunc team/app)
# as on an engine of one's own: by an id not while a container of it runs (moby's checkImageDeleteConflict), by a name always
fails "cannot be forced\) - image is being used by running container" a rmi "$id"
fails "cannot be forced\) - image is being used by running container" a rmi -f "$id"
is "Untagged: team/app:a" a rmi team/app:a
is "busybox:latest team/app:b" b images --format '{{.Repository}}:{{.Tag}}'

# the other's, by whatever names it
other=$(b inspect -f '{{.Id}}' web)
network=$(b network inspect -f '{{.Id}}' front)
for name in "$other" "${other:0:12}"; do
    fails "No such container: $name" a container inspect "$name"
    fails "No such container: $name" a rm "$name"
    fails "No such container: $name" a logs "$name"
    fails "No such container: $name" a run --rm --network "container:$name" busybox true
    fails "No such container: $name" a run --rm --volumes-from "$name" busybox true
done
fails "[Nn]etwork:? $network" a network inspect "$network"
fails "network $network not found" a network connect "$network" web
fails "No such container" a network connect front "$other"
is "" a ps -aq --filter id="$other"
is "" a ps -aq --filter network="$network"

# what one clears away is its own
works - a rm -f web plain
works - a tag busybox team/app:a
is "Untagged: team/app:a" a rmi -f "$id"
is "busybox:latest team/app:b" b images --format '{{.Repository}}:{{.Tag}}'
works - a container prune -f
works - a network prune -f
# from API 1.42 on those with a name need `all`, which there is not before
all=(--filter all=true)
[ "$E2E_ENGINE" != 20.10 ] || all=()
works - a volume prune -f ${all[@]+"${all[@]}"}
is "" a volume ls -q
is b b exec web cat /data/of
is "bridge front host none" b network ls --format '{{.Name}}'

# nothing that either was told has anything of the other's, or of the engine's own names
for tenant in a b; do
    told $tenant ps -a
    told $tenant ps -a --no-trunc --format json
    told $tenant inspect web
    told $tenant network inspect front bridge
    told $tenant volume ls --format json
    told $tenant volume inspect data
    told $tenant images --format json
    told $tenant system df -v
    told $tenant info
    told $tenant events --since 1h --until 0s --format json
    told $tenant stats --no-stream --format json
    told $tenant inspect "$other"
    told $tenant run --rm --name web busybox true
    told $tenant network create front
    told $tenant network rm front
    told $tenant volume rm data
done
if grep -E 'dg[a-z2-7]{10}' told.a told.b; then bad "an engine's name is told"; fi
if grep -E "$other|$network" told.a | grep -v 'No such\|not found'; then bad "a is told of what is b's"; fi
