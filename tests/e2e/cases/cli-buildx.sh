# e2e: clis=28 conservative=20.10,26,28-containerd
# buildx on the engine's own builder (the docker driver).
. "$E2E_LIB/case.sh"
. "$E2E_LIB/build.sh"
mkdir ctx
printf 'FROM busybox\nCOPY f /f\nRUN sha256sum /f | cut -c1-40 > /sum\nCMD cat /sum\n' > ctx/Dockerfile
head -c 3000000 /dev/urandom > ctx/f
t d buildx ls --format '{{.Name}} {{.DriverEndpoint}} {{.Status}}' | sort
d buildx build --load --progress=plain -t x1 ctx > log 2>&1 || cat log
d run --rm x1 | cmp - <(sum < ctx/f) && echo 'same sum'
# 64 MiB of context, sent only when the builder asks for it
head -c 67108864 /dev/urandom > ctx/f
d buildx build --load --progress=plain -t x2 ctx > log 2>&1 || cat log
d run --rm x2 | cmp - <(sum < ctx/f) && echo 'same sum of 64 MiB'
printf 'FROM busybox\nRUN echo to-stdout; exit 9\n' > ctx/Dockerfile
d buildx build --progress=plain ctx > log 2>&1; echo "status $?"
grep -oE 'did not complete successfully: exit code: [0-9]+' log | sort -u
# gone in the middle of a build
printf 'FROM busybox\nRUN %s\n' "$SLEEP" > ctx/Dockerfile
rm ctx/f
"$DOCKER" buildx build --progress=plain ctx > log 2>&1 &
building=$!
until_ok runs
{
    kill -KILL $(cat "/proc/$building"/task/*/children) "$building" # the plugin, and the CLI
    wait "$building"
} 2> /dev/null
until_ok ended && echo 'the build has ended'
