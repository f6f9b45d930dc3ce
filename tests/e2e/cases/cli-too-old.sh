# e2e: clis=20 engines=*-min1.44
# A client older than the engine allows: the engine's own words.
. "$E2E_LIB/case.sh"
t d ps
t d run --rm busybox true
DOCKER_API_VERSION=1.24 t d version
