# e2e: cross=all
# A context of 64 MiB, and a large one that the engine refuses before it has read it.
. "$E2E_LIB/case.sh"
mkdir ctx
head -c 67108864 /dev/urandom > ctx/f
printf 'FROM busybox\nCOPY f /f\nCMD sha256sum /f\n' > ctx/Dockerfile
# BuildKit of CLI 28: see cli-buildx
for DOCKER_BUILDKIT in 0 $([ "$E2E_CLI" != 20 ] || echo 1); do
    export DOCKER_BUILDKIT
    d build -t "b$DOCKER_BUILDKIT" ctx > log 2>&1 || cat log
    d run --rm "b$DOCKER_BUILDKIT" | cut -c1-40 | cmp - <(sum < ctx/f) && echo 'same sum'
done
DOCKER_BUILDKIT=0 d build -t 'UPPER CASE' ctx > log 2>&1; echo "status $?"
tail -n 1 log
DOCKER_BUILDKIT=0 d build -t x --platform no/such/thing/at/all ctx > log 2>&1; echo "status $?"
grep -v 'Sending build' log | tail -n 1
