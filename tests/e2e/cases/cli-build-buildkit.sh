# e2e: cross=all conservative=20.10,26,28,28-containerd namespace=28
# BuildKit: CLI 20.10 speaks it itself (/session and /build), CLI 28 through buildx (/grpc and /session).
. "$E2E_LIB/case.sh"
export DOCKER_BUILDKIT=1 BUILDKIT_PROGRESS=plain
mkdir ctx
cat > ctx/Dockerfile <<'X'
FROM busybox AS base
ARG WHO=nobody
RUN echo "hello $WHO" > /hello
FROM busybox
COPY --from=base /hello /hello
COPY data /data/
RUN --mount=type=secret,id=s cat /run/secrets/s > /got
RUN --mount=type=cache,target=/c echo cached > /c/f
CMD ["cat", "/hello"]
X
echo content > ctx/data
echo secret > s
# the order of its progress lines is not fixed: the steps, sorted
built() {
    local rc=0
    d build "$@" > log 2>&1 || rc=$?
    grep -oE '\[[^]]*[0-9]/[0-9]\] .*' log | grep -v FROM | sort -u
    echo "status $rc"
    [ "$rc" = 0 ] || grep -v '^#' log | tail -n 5
}
built -t k1:x --build-arg WHO=world --secret id=s,src=s ctx
t d run --rm k1:x
t d run --rm k1:x sh -c 'cat /data/data /got; ls /c'
t d inspect -f '{{.RepoTags}} {{len .RootFS.Layers}}' k1:x
built -t k1:x --build-arg WHO=world --secret id=s,src=s ctx
built --no-cache --target base -t k2 ctx
printf 'FROM busybox\nRUN echo from stdin > /f\n' | built -t k3 -
t d run --rm k3 cat /f
built --output type=local,dest=out --target base --build-arg WHO=exported ctx
cat out/hello
t d images --format '{{.Repository}}:{{.Tag}}' | sort
