# e2e: engines=20.10,28
# An engine sees nothing of the machine's plugins, of which a dead one would hold up every call about an unknown volume
# for 30 s, and of its containerd; and the machine sees none of its mounts.
. "$E2E_LIB/assert.sh"
engine=$(dirname "$E2E_ENGINE_PID")
name=dockgate-e2e-$E2E_INDEX
finish() {
    rm -f "/run/docker/plugins/$name.sock" "/run/containerd/$name" "$E2E_ENGINE_PLUGINS/$name-own.sock"
    [ "$failures" = 0 ] || exit 1
}
trap finish EXIT
trap 'exit 1' INT TERM
in_engine() { nsenter "--mount=/proc/$(cat "$E2E_ENGINE_PID")/ns/mnt" "$@"; }

# (a plain file: a socket would hold up an engine of the machine's own)
mkdir -p /run/docker/plugins
: > "/run/docker/plugins/$name.sock"
: > "$E2E_ENGINE_PLUGINS/$name-own.sock"
works "$name-own.sock" in_engine ls -A /run/docker/plugins
for specs in /etc/docker/plugins /usr/lib/docker/plugins; do
    [ ! -d "$specs" ] || works '' in_engine ls -A "$specs"
done

mkdir -p /run/containerd
: > "/run/containerd/$name"
fails . in_engine ls "/run/containerd/$name"

works - d run -d --name c1 -v v1:/v busybox sleep 3000
works - in_engine grep -F " $engine/data/overlay2/" /proc/self/mountinfo
works '' sh -c "! grep -F ' $engine/data/' /proc/self/mountinfo"
works - d rm -f c1
