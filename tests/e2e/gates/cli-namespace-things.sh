# What an engine has no name for is somebody's all the same: volumes and images of two tenants that are given none; and how much one
# tenant may have of anything.
# e2e: timeout=240 cross=all
. "$E2E_LIB/gate.sh"
(umask 077 && head -c 32 /dev/urandom > key)
namespace() { # NAME POLICY
    printf '[[listener]]\nname = "%s"\nurl = "unix://%s/%s.sock"\npolicies = ["%s"]\n' "$1" "$PWD" "$1" "$2"
}
policy() { # NAME
    printf '[policy.%s]\nkind = "namespace"\nname = "{listener}"\nkey = "key"\nnetwork_pool = "10.214.0.0/16"\n' "$1"
    printf 'shared = ["docker.io/library/busybox"]\n'
}
gate g < <(
    namespace a free
    namespace b free
    namespace q small
    policy free
    policy small
    printf 'quota = { containers = 3, volumes = 2, networks = 1, ports = 2, image_bytes = "1k" }\n'
)
at() { local who=$1; shift; DOCKER_HOST=unix://$PWD/$who.sock timeout -k 2 60 "$DOCKER" "$@"; }
a() { at a "$@"; }
b() { at b "$@"; }
q() { at q "$@"; }
of_engine() { DOCKER_HOST=unix://$E2E_SOCK timeout -k 2 60 "$DOCKER" "$@"; }
count() { "$@" | grep -c .; }
ours() { of_engine images --format '{{.Repository}}' | grep -E 'dg[a-z2-7]{10}'; }
is() { # WANTED COMMAND...
    local got wanted=$1
    shift
    got=$("$@" 2>&1 | sort | tr '\n' ' ')
    got=${got% }
    if [ "$got" = "$wanted" ]; then echo "ok: $*"; else bad "$*: not \`$wanted\` but \`$got\`"; fi
}
export DOCKER_BUILDKIT=0
mkdir volume app
printf 'FROM busybox\nRUN mkdir /image && echo copied > /image/there\nVOLUME /image\n' > volume/Dockerfile
printf 'FROM busybox\nARG OF\nRUN echo "$OF" > /of\nCMD ["cat", "/of"]\n' > app/Dockerfile

# ---- volumes ----

for tenant in a b; do
    works - $tenant build -t vol volume
    works - $tenant run --name vol -v /own vol sh -c "cat /image/there; echo $tenant > /own/of"
    is '{"/image":{},"/own":{}} null' $tenant inspect -f '{{json .Config.Volumes}} {{json .HostConfig.Mounts}}' vol
    is 'volume volume ' $tenant inspect -f '{{range .Mounts}}{{.Type}}{{.Mode}} {{end}}' vol
done
own=$(a inspect -f '{{range .Mounts}}{{if eq .Destination "/own"}}{{.Name}}{{end}}{{end}}' vol)
image=$(a inspect -f '{{range .Mounts}}{{if eq .Destination "/image"}}{{.Name}}{{end}}{{end}}' vol)
all=$(printf '%s\n' "$own" "$image" | sort | tr '\n' ' ')
is "${all% }" a volume ls -q
works - a rm vol
# without their container they are as much hers
is "${all% }" a volume ls -q
is "${all% }" a volume ls -q -f dangling=true
is "$own" a volume inspect -f '{{.Name}}{{index .Labels "io.dockgate.volume"}}' "$own"
is a a run --rm -v "$own:/x" busybox cat /x/of
fails "[Nn]o such volume" b volume inspect "$own"
fails "[Nn]o such volume" b volume rm "$own"
fails "can't open" b run --rm -v "$own:/x" busybox cat /x/of
works "$own" b volume rm "$own"
is 2 count b volume ls -q
works "$own" a volume rm "$own"
works - a volume prune -f
is "" a volume ls -q
# what has no name goes with its container where that is asked for, as ever
works - a run --rm -v /x --mount type=volume,dst=/y vol true
works - a run --name vol -v /x --mount type=volume,dst=/y vol true
is 3 count a volume ls -q
works - a run --name with --volumes-from vol busybox test -e /image/there
works - a rm with
works - a rm -v vol
is "" a volume ls -q
works - b rm -v vol
is "" b volume ls -q
is "" of_engine volume ls -q

# ---- images ----

names() { ours | grep -c /none; }
for tenant in a b; do
    works - $tenant build --build-arg OF=$tenant app
    id=$($tenant images -q --no-trunc -f dangling=true)
    eval "$tenant=$id"
    is "$tenant" $tenant run --rm "$id"
    is "<none>:<none>" $tenant images -f dangling=true --format '{{.Repository}}:{{.Tag}}'
    is "" $tenant images -q -f dangling=true -f reference=app
    is "[] $id" $tenant image inspect -f '{{.RepoTags}} {{.Id}}' "${id:7:12}"
    # once more is the same image, and no more names
    works - $tenant build --build-arg OF=$tenant app
    works - $tenant build --build-arg OF=$tenant app
    is "$id" $tenant images -q --no-trunc -f dangling=true
done
if [ "$(names)" -gt 4 ]; then bad "names of ours pile up"; fi
fails "No such image" a run --rm "$b"
fails "No such image" a rmi "$b"
if grep -q . <(a build --build-arg OF=a app 2>&1 | grep -E 'dg[a-z2-7]{10}|tagged'); then bad "a name of ours is told"; fi
a run --name cont busybox sh -c 'echo committed > /of'
works - a commit cont
committed=$(cat .out)
is committed a run --rm "$committed" cat /of
fails "No such image" b inspect --type image "$committed"
# the one before of a tag that has moved
works - a build -t app:1 --build-arg OF=first app
first=$(a images -q --no-trunc app)
works - a build -t app:1 --build-arg OF=second app
is first a run --rm "$first"
is second a run --rm app:1
all=$(printf '%s\n' "$a" "$committed" "$first" | sort | tr '\n' ' ')
is "${all% }" a images -q --no-trunc -f dangling=true
is app:1 a images --format '{{.Repository}}:{{.Tag}}' app
# a second name of an old one is a name
works - a tag "$first" old
is "app:1 busybox:latest old:latest vol:latest" a images -f dangling=false --format '{{.Repository}}:{{.Tag}}'
works - a rmi old
fails "No such image" a run --rm "$first"
works - a rmi "$committed"
if ! grep -q "^Deleted: $committed" .out; then bad "does not say what is deleted"; fi
fails "[Nn]o such image" of_engine inspect --type image "$committed"
works - a rm cont
works - a image prune -f
is "" a images -q -f dangling=true
is "$b" b images -q --no-trunc -f dangling=true
works - b rmi "$b"
works - a rmi app:1 vol
works - b rmi vol
is "busybox:latest" a images --format '{{.Repository}}:{{.Tag}}'
is "" ours
case $E2E_ENGINE in
    28*)
        export DOCKER_BUILDKIT=1
        printf 'FROM busybox\nARG OF\nRUN echo "$OF" > /of\nCMD ["cat", "/of"]\n' > app/Dockerfile
        works - a build --progress plain --build-arg OF=kit app
        if grep -E 'dg[a-z2-7]{10}' .out .err; then bad "a name of ours is told"; fi
        is kit a run --rm "$(a images -q --no-trunc -f dangling=true)"
        works - a build -t app --build-arg OF=one app
        works - a build -t app --build-arg OF=two app
        is 2 count a images -q -f dangling=true
        works - a image prune -f
        works - a rmi app
        is "" ours
        ;;
esac

# ---- save and load ----

export DOCKER_BUILDKIT=0
for tenant in a b; do works - $tenant build -t app:1 --build-arg OF=$tenant app; done
a save app:1 busybox > both.tar
tar -xOf both.tar manifest.json > names
if grep -E 'dg[a-z2-7]{10}' names || ! grep -q '"app:1"' names || ! grep -q '"busybox:latest"' names; then bad "an archive with other names"; cat names; fi
if tar -xOf both.tar repositories index.json 2> /dev/null | grep -E 'dg[a-z2-7]{10}'; then bad "an engine's name in an archive"; fi
works - b build -t app:1 --build-arg OF=before app
before=$(b images -q --no-trunc app)
a save app:1 > app.tar
works - b load -i app.tar
if ! grep -qx 'Loaded image: app:1' .out || grep -E 'dg[a-z2-7]{10}' .out; then bad "what is loaded is told otherwise"; fi
is a b run --rm app:1
is before b run --rm "$before"
gzip -1 < app.tar > app.tar.gz
works - b rmi app:1
works "Loaded image: app:1" b load -i app.tar.gz
is a b run --rm app:1
works - b rmi app:1
works - bash -c "DOCKER_HOST=unix://$PWD/b.sock '$DOCKER' load < app.tar.gz"
fails "it is compressed" b load -i <(xz -0 < app.tar)
fails "is shared by the operator" b load -i both.tar
fails "must be a file in an archive that a namespace loads" b load -i <(mkdir -p bad && ln -sf x bad/manifest.json && tar -C bad -cf - manifest.json)
# what it names and does not hold may be another's
fails "namespace.archive" b load -i <(layer=$(tar -tf app.tar | grep -E '/layer.tar$|^blobs/sha256/' | while read -r one; do
    [ "$(tar -xOf app.tar "$one" | head -c 1)" = "{" ] || { echo "$one"; break; }
done) && tar --delete -f - "$layer" < app.tar)
fails "[Nn]o such image|reference does not exist" a save nosuch
# an image without a name goes out without one, and is loaded without one
a save "$(a inspect -f '{{.Id}}' --type image app:1)" > bare.tar
if tar -xOf bare.tar manifest.json | grep -E 'dg[a-z2-7]{10}'; then bad "a name of ours is told"; fi
works - a rmi app:1
works - a load -i bare.tar
if grep -E 'dg[a-z2-7]{10}' .out; then bad "a name of ours is told"; fi
is a a run --rm "$(a images -q --no-trunc -f dangling=true)"
works - a image prune -f
works - b image prune -f
works - b rmi -f app:1
is "" ours

# ---- quotas ----

full() { # WHAT COMMAND...
    local what=$1
    shift
    fails "dockgate: $what: must be .* \(rule namespace.quota\)" q "$@"
}
# of many at once no more than there is room for
for i in 1 2 3 4 5 6 7 8; do q create --name "many$i" busybox sleep 900 > /dev/null 2>&1 & made[i]=$!; done
wait "${made[@]}"
is 3 count q ps -aq
full containers create busybox
works - a create --name other busybox
works - q container prune -f
works - q volume create one
works - q volume create one
works - q create --name cont -v one:/one -v /x busybox
full volumes volume create three
full volumes create -v /y busybox
full volumes create -v three:/y busybox
works - q rm -v cont
works - q create --name cont -v two:/y busybox
works - q network create net
full networks network create other
works - q run -d --name p1 -p 80 busybox sleep 900
works - q create --name p2 -p 80 -p 81 busybox sleep 900
full ports start p2
works - q restart -t 0 p1
works - q stop -t 0 p1
works - q start p2
works - q tag busybox own
full image_bytes commit cont
works - q rmi own
works - q rm -f cont p1 p2
