# The other profiles, with what each is for.
. "$E2E_LIB/gate.sh"
export DOCKER_BUILDKIT=0
profiles() {
    local name
    for name in read-only build-only jenkins-agent; do
        printf '[[listener]]\nname = "%s"\nurl = "unix://%s/%s.sock"\npolicies = ["%s"]\n' "$name" "$E2E_TMP" "$name" "$name"
    done
    for name in read-only build-only jenkins-agent; do
        printf '[policy.%s]\nkind = "conservative"\nrules = "%s/../../../policies/%s.toml"\n' "$name" "$E2E_LIB" "$name"
    done
}
gate g < <(profiles)
as() { local name=$1; shift; d -H "unix://$E2E_TMP/$name.sock" "$@"; }

mkdir ctx
printf 'FROM busybox\nARG TOKEN\nENV PASSWORD=hushhush\nRUN echo $TOKEN > /dev/null\nONBUILD ENV OTHER=hushhush\nCMD ["sleep", "3000"]\n' > ctx/Dockerfile
works - as build-only build --build-arg TOKEN=hushhush -t built ctx
works - as build-only tag built other:1
works - as build-only image inspect built
refused as build-only run --rm built true
refused as build-only ps
refused as build-only build --network host ctx

works - d run -d --init --name up -e SECRET=hushhush -v vol:/data built
works - d run -d --init --name mighty --pid host busybox sh -c 'echo logged; exec sleep 3000'
discreet() { # COMMAND...: works, and shows something, but nothing secret
    works - as read-only "$@"
    [ -s .out ] && ! grep -q hushhush .out || bad "shows nothing, or too much: $*"
}
discreet ps -a --no-trunc
discreet inspect up
discreet image inspect built
discreet history --no-trunc built
discreet system df -v
discreet info
discreet version
discreet images
discreet volume ls
discreet network inspect bridge
discreet top up
discreet top up -eo pid,comm
discreet stats --no-stream up
discreet events --since 1 --until "$(date +%s.%N)" --filter type=volume
eventually sh -c "'$DOCKER' logs mighty | grep -q logged"
discreet logs mighty
refused as read-only top up e
refused as read-only exec up env
refused as read-only cp up:/etc .
refused as read-only export up
refused as read-only save built
# the CLI does not read the body of a refused upgrade
fails 'received 403' as read-only attach up
refused as read-only pull busybox
refused as read-only stop up
refused as read-only volume rm vol

# docker.image(…).inside in an agent that is a container itself
works - as jenkins-agent inspect -f . built
works - as jenkins-agent run -t -d -u 1000:1000 -w /data --volumes-from up -e A=1 --name inside busybox cat
works - as jenkins-agent top inside -eo pid,comm
works 1 as jenkins-agent exec inside sh -c 'echo $A'
works - as jenkins-agent build --build-arg TOKEN=x -t job:1 ctx
works - as jenkins-agent stop --time=1 inside
works - as jenkins-agent rm -f --volumes inside
refused as jenkins-agent run -d -v "$E2E_TMP:$E2E_TMP:rw,z" busybox cat
refused as jenkins-agent run -d --volumes-from mighty busybox cat
refused as jenkins-agent volume create v
works - d rm -f up mighty
