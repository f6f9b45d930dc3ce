# e2e: cross=all
# Builds that fail, early and late.
. "$E2E_LIB/case.sh"
mkdir ctx
try() {
    local rc=0
    d build "$@" > log 2>&1 || rc=$?
    # of BuildKit the error at the end; of the classic builder all
    if [ "$DOCKER_BUILDKIT" = 0 ]; then
        sed -E 's/[0-9a-f]{12}/ID/; s/(Sending build context to Docker daemon).*/\1/' log
    else
        grep -oE '(exit code: [0-9]+|parse error.*|not found|nosuch[a-z]*)' log | sort -u
    fi
    echo "status $rc"
}
for DOCKER_BUILDKIT in 0 1; do
    export DOCKER_BUILDKIT
    printf 'FROM busybox\nRUN echo bad; exit 9\nRUN echo never\n' > ctx/Dockerfile
    try ctx
    printf 'FROM busybox\nNOSUCH instruction\n' > ctx/Dockerfile
    try ctx
    printf 'FROM busybox\nCOPY nosuchfile /\n' > ctx/Dockerfile
    try ctx
    try -f nosuch ctx
done
