# A leak hunt: two tenants each tour all that there is, at the same time, and every byte that each is given is kept. In it is no
# name and no id of the other's, and none of the engine's names for anybody's things.
# e2e: timeout=400 cross=all
. "$E2E_LIB/gate.sh"
(umask 077 && head -c 32 /dev/urandom > key)
gate g < <(
    for who in ann bob; do
        printf '[[listener]]\nname = "%s"\nurl = "unix://%s/%s.sock"\npolicies = ["t"]\n' "$who" "$PWD" "$who"
    done
    printf '[policy.t]\nkind = "namespace"\nname = "{listener}"\nkey = "%s/key"\nnetwork_pool = "10.215.0.0/16"\nports = "namespace"\n' "$PWD"
    printf 'shared = ["docker.io/library/busybox"]\n'
)
recorder() { # WHO
    setpriv --pdeathsig KILL "$E2E_PYTHON" "$E2E_LIB/recorder.py" "$PWD/$1.rec" "$PWD/$1.sock" "$PWD/record.$1" > "$1.recorder" &
    gates+=($!)
    eventually grep -q recording "$1.recorder"
}
for who in ann bob; do recorder $who; done
buildkit=
if "$DOCKER" buildx version > /dev/null 2>&1 && [ "${E2E_ENGINE%%.*}" != 20 ]; then buildkit=yes; fi

# Everything is called by the word of its tenant, and that is in nobody's names but his: neither in ids nor in the engine's words.
tour() { # WHO OTHER: whatever it says, also of what goes wrong
    local who=$1 w=${1}sown o=${2}sown id
    mkdir -p "$w" && cd "$w" || return
    export DOCKER_CONFIG=$PWD/.docker DOCKER_BUILDKIT=0
    mkdir -p .docker/cli-plugins && cp -P "$E2E_TMP"/../config/cli-plugins/* .docker/cli-plugins/ 2> /dev/null
    at() { DOCKER_HOST=unix://$E2E_TMP/$who.rec timeout -k 2 60 "$DOCKER" "$@"; }
    at events > events.log 2>&1 &
    local events=$!
    at network create "$w-net"
    at volume create --label "of=$w" "$w-vol"
    at run -d --name "$w-web" --network "$w-net" -v "$w-vol:/data" -v /anonymous -p 5432:80 -e "E=$w" --label "l=$w" busybox sh -c "echo $w-said > /data/of; echo $w-logged; exec sleep 900"
    at run -d --name "$w-two" --link "$w-web:x" --volumes-from "$w-web" busybox sleep 900
    at run --rm --network "container:$w-web" busybox ip addr
    at create --name "$w-made" busybox true
    at run --name "$w-fails" --network "$w-net" busybox no-such-command
    at run --rm --name "$w-web" busybox true
    at exec "$w-web" sh -c "cat /data/of; echo $w-exec"
    at exec -d "$w-web" true
    at logs "$w-web"
    at top "$w-web"
    at stats --no-stream
    at port "$w-web"
    at diff "$w-web"
    at inspect -s "$w-web" "$w-two" "$w-made" "$w-fails"
    at network inspect "$w-net" bridge host none
    at network connect --alias "$w-alias" "$w-net" "$w-two"
    at network disconnect "$w-net" "$w-two"
    at network ls --no-trunc
    at volume inspect "$w-vol"
    at volume ls
    at ps -a --no-trunc --size
    echo "$w-copied" > copied
    at cp copied "$w-web:/copied"
    at cp "$w-web:/copied" back
    at export -o /dev/null "$w-made"
    at commit -m "$w" "$w-web" "$w/image:1"
    at tag "$w/image:1" "ghcr.io/$w/image:2"
    at images -a --digests --no-trunc
    at image inspect "$w/image:1" busybox
    at history --no-trunc "$w/image:1"
    at rename "$w-made" "$w-renamed"
    at update --cpu-shares 77 "$w-web"
    at pause "$w-web"
    at unpause "$w-web"
    at kill "$w-two"
    at wait "$w-two"
    at restart -t 0 "$w-two"
    printf 'FROM %s/image:1 AS one\nRUN echo %s > /built\nFROM busybox\nCOPY --from=one /built /built\nLABEL l=%s\n' "$w" "$w" "$w" > Dockerfile
    at build -t "$w/built:1" .
    at build -t "$w/built:2" - <<< "FROM $w/nosuch"
    if [ -n "$buildkit" ]; then
        export DOCKER_BUILDKIT=1 BUILDKIT_PROGRESS=plain
        echo "RUN echo $w-again" >> Dockerfile
        at build -t "$w/built:3" .
        at build -t "$w/built:4" - <<< "FROM $w/nosuch"
        at buildx du
        at buildx history ls
        printf 'name: %s-project\nservices:\n  s: {image: busybox, command: sleep 900, init: true, volumes: ["v:/v"], ports: ["5433:80"]}\n  t: {build: ., depends_on: [s], command: sleep 900, init: true}\nvolumes: {v: {}}\n' "$w" > compose.yaml
        at compose --ansi never up -d --build
        at compose ps -a
        at compose logs
        at compose down -v -t 0
    else
        printf 'version: "2.4"\nservices:\n  s: {image: busybox, command: sleep 900, init: true, volumes: ["v:/v"], ports: ["5433:80"]}\n  t: {build: ., depends_on: [s], command: sleep 900, init: true}\nvolumes: {v: {}}\n' > docker-compose.yml
        c() { DOCKER_HOST=unix://$E2E_TMP/$who.rec COMPOSE_DOCKER_CLI_BUILD=0 timeout -k 2 100 docker-compose --no-ansi -p "$w-project" "$@"; }
        c up -d --build
        c ps
        c logs
        c down -v -t 0
    fi
    # the other's, by names that everybody can guess
    for name in "$o-web" "$o-net" "$o-vol" "$o/image:1" "$o-project_s_1"; do
        for kind in container network volume image; do at "$kind" inspect "$name"; done
        at rm -f "$name"; at rmi "$name"; at volume rm "$name"; at network rm "$name"
        at run --rm -v "$o-vol:/d" busybox cat /d/of
        at ps -a --filter "name=$name" --filter "network=$name"
        at logs "$name"; at exec "$name" true
    done
    at system df -v
    at info
    at version
    at search x
    at pull "$w/nosuch"
    at push "$w/image:1"
    at save -o /dev/null "$w/image:1"
    at rmi "$w/built:1"
    at image prune -af
    at rm -f "$w-renamed" "$w-fails"
    at container prune -f
    at network prune -f
    at volume prune -f
    at builder prune -f
    at events --since 1h --until 0s --format json
    at images -a --digests
    at ps -a
    kill "$events"
    cd ..
}

# whose each id is, as the engine itself says it
DOCKER_HOST=unix://$E2E_SOCK "$DOCKER" events --format '{{json .}}' > events.direct &
direct=$!
tour ann bob > told.ann 2>&1 &
one=$!
tour bob ann > told.bob 2>&1 &
two=$!
wait "$one" "$two"
kill "$direct"

hunt() { # WHO OTHER: what is the other's, in what the one was given
    "$E2E_PYTHON" "$E2E_LIB/recorder.py" --owned events.direct "$2sown-web" > "ids.$2"
    [ "$(wc -l < "ids.$2")" -gt 12 ] || { echo "only $(wc -l < "ids.$2") ids are known to be $2's"; return 1; }
    { cat "ids.$2"; cut -c1-12 "ids.$2"; } > words
    # names of the other's that it has guessed are in what it is told of these, and no others
    "$E2E_PYTHON" "$E2E_LIB/recorder.py" --look "$PWD/record.$1" -- "$2sown-said" "$2sown-logged" "$2sown-exec" "$2sown-copied" "$2sown-alias" "$2sown-two" "$2sown-made" "$2sown-renamed" "$2sown-again" "of=$2sown" "ghcr.io/$2sown" < words
}
works '' hunt ann bob
works '' hunt bob ann
for who in ann bob; do
    # it has seen what it is about
    for word in "$who"sown-said "$who"sown-logged "$who"sown-exec "ghcr.io/${who}sown"; do
        if grep -qra -- "$word" record."$who".*; then echo "ok: $who is told $word"; else bad "$who's tour does not tell $word"; fi
    done
done
