# Builds of two namespaces on one engine: the same names are two images, each begins with its own, and none sees the other's.
# e2e: timeout=240
. "$E2E_LIB/gate.sh"
(umask 077 && head -c 32 /dev/urandom > key)
gate g < <(cat << X
[policy.t]
kind = "namespace"
name = "{listener}"
key = "$PWD/key"
network_pool = "10.214.0.0/16"
shared = ["docker.io/library/busybox"]
[[listener]]
name = "a"
url = "unix://$PWD/a.sock"
policies = ["t"]
[[listener]]
name = "b"
url = "unix://$PWD/b.sock"
policies = ["conservative", "t"]
X
)
export BUILDKIT_PROGRESS=plain
at() { local who=$1; shift; DOCKER_HOST=unix://$PWD/$who.sock d "$@"; }
all=$PWD/all.log
: > "$all"
# says WHO COMMAND...: works, and whatever it says is looked through in the end
says() {
    works - at "$@"
    cat "$E2E_TMP/.out" "$E2E_TMP/.err" >> "$all"
}
misses() { # REGEX WHO COMMAND...
    local re=$1
    shift
    fails "$re" at "$@"
    cat "$E2E_TMP/.out" "$E2E_TMP/.err" >> "$all"
}

mkdir base-a base-b app stages from
for who in a b; do
    echo "of $who" > base-$who/who
    printf 'FROM busybox\nCOPY who /who\n' > base-$who/Dockerfile
done
printf 'FROM base:1\nRUN cat /who > /copy\nCMD ["cat", "/copy"]\n' > app/Dockerfile
cat > stages/Dockerfile << 'X'
ARG V=1
FROM busybox AS first
RUN echo staged > /staged
FROM base:$V
COPY --from=first /staged /staged
COPY --from=app /copy /copy
CMD ["cat", "/copy", "/staged"]
X
printf 'FROM only-of-a\nRUN true\n' > from/Dockerfile

tour() { # DOCKER_BUILDKIT
    local who real
    export DOCKER_BUILDKIT=$1
    for who in a b; do
        says $who build --no-cache -t base:1 -t ghcr.io/x/other:2 base-$who
        says $who build --no-cache -t app app
        works "of $who" at $who run --rm app
        says $who build --no-cache -t stages stages
        works "of $who
staged" at $who run --rm stages
        says $who images
        says $who inspect base:1 app ghcr.io/x/other:2
        says $who history app
    done
    says a build -t only-of-a base-a
    says a build from
    # Neither to read, nor to begin with, by any name.
    misses 'only-of-a' b build from
    misses 'o such (image|object)' b inspect --type image only-of-a
    real=$(DOCKER_HOST=unix://$E2E_SOCK d images --format '{{.Repository}}' | grep only-of-a | head -n 1)
    printf 'FROM %s\nRUN true\n' "$real" > from/other
    fails . at b build -f from/other from
    printf 'FROM busybox\nCOPY --from=%s /who /who\n' "$real" > from/other
    fails . at b build -f from/other from
    says a rmi only-of-a
    fails 'shared' at a build -t busybox base-a
    works - at a run --rm busybox true
}
tour 0
if "$DOCKER" buildx version > /dev/null 2>&1 && [ "${E2E_ENGINE%%.*}" != 20 ]; then
    tour 1
    cat > from/cached << 'X'
FROM busybox
ARG WHO
RUN --mount=type=cache,target=/c echo "found $(cat /c/who 2>&1), by $WHO"; echo kept > /c/who
X
    says a build --build-arg WHO=1 -f from/cached from
    says b build --build-arg WHO=2 -f from/cached from
    if grep -q 'found kept' "$E2E_TMP/.err"; then bad "the cache of a mount is another's"; fi
    says a build --build-arg WHO=3 -f from/cached from
    grep -q 'found kept' "$E2E_TMP/.err" || bad "the cache of a mount is lost"
    says a buildx du
    # What a step has made of a secret is nobody else's, though all that is in the Dockerfile is the same.
    cat > from/secret << 'X'
FROM busybox
RUN --mount=type=secret,id=s cat /run/secrets/s > /out
CMD ["cat", "/out"]
X
    for who in a b; do
        echo "secret of $who" > secret
        says $who build --secret id=s,src=secret -t secret -f from/secret from
        works "secret of $who" at $who run --rm secret
    done
    says a build --secret id=s,src=secret -t secret -f from/secret from
    works 'secret of a' at a run --rm secret
fi
says a builder prune -f
if grep -nE 'dg[a-z2-7]{10}' "$all"; then bad "a name of the engine's is shown"; fi
