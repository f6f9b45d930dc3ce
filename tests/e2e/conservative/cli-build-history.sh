# A history longer than its limit. (Engines up to BuildKit 0.27 may end as a whole when they list it, moby/buildkit 6614: the gate
# asks without a limit.)
# e2e: clis=28 engines=28 tier=all
. "$E2E_LIB/assert.sh"
for n in {1..60}; do
    printf 'FROM busybox\nLABEL n=%s\n' "$n" | d build -q - > "$E2E_TMP/.out" 2> "$E2E_TMP/.err" || bad "build $n"
    works - d buildx history ls
done
works - d version
