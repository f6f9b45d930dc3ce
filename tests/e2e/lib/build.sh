# shellcheck shell=bash
# Sourced after case.sh: builds with BuildKit, by what is fixed of their progress.
export BUILDKIT_PROGRESS=plain

# Whether the step SLEEP runs, in whatever container: all processes are seen here, so each engine has a number of its own.
# (`[s]leep`, or grep would find itself.)
SLEEP="sleep 98$(printf %03d "$E2E_INDEX")"
runs() { cat /proc/[0-9]*/cmdline 2> /dev/null | tr '\0' ' ' | grep -q "[s]${SLEEP#s}"; }
ended() { ! runs; }

# The steps sorted (their lines come in any order), the status, and why it failed.
built() {
    local rc=0
    printf '$ build'
    printf ' %s' "$@"
    echo
    d build "$@" > log 2>&1 || rc=$?
    grep -oE '\[[^]]*[0-9]/[0-9]\] .*' log | grep -v FROM | sort -u
    [ "$rc" = 0 ] || { echo "= $rc"; grep -E '^ERROR' log | tail -n 1; }
}
