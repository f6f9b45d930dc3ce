# shellcheck shell=bash
# Sourced by cases that build: what builds fetch from and push to, in the engine's namespace and gone with the case.
#
#   127.0.0.1:5000         a registry
#   http://127.0.0.1:5080  /file and /r.git, whose Dockerfile copies `g`; 5081 has the same (a gate allows the first only)
servers=()
end_servers() { [ ${#servers[@]} = 0 ] || kill -KILL "${servers[@]}" 2> /dev/null; }
in_engine() { nsenter --net="/run/netns/dge$E2E_INDEX" setpriv --pdeathsig KILL "$@"; }

build_servers() {
    local i dir=$E2E_TMP/servers
    mkdir -p "$dir/repos"
    printf 'version: 0.1\nlog: {level: error}\nstorage: {filesystem: {rootdirectory: %s}}\nhttp: {addr: "127.0.0.1:5000"}\n' "$dir/registry" > "$dir/registry.yml"
    in_engine "$E2E_REGISTRY" serve "$dir/registry.yml" > "$dir/registry.log" 2>&1 < /dev/null &
    servers+=($!)
    git init -q -b main "$dir/work"
    printf 'FROM busybox\nCOPY g /g\n' > "$dir/work/Dockerfile"
    echo from git > "$dir/work/g"
    git -C "$dir/work" add .
    # the same commit in every run
    GIT_AUTHOR_DATE='1700000000 +0000' GIT_COMMITTER_DATE='1700000000 +0000' \
        git -C "$dir/work" -c user.name=e2e -c user.email=e2e@localhost commit -qm first
    git clone -q --bare "$dir/work" "$dir/repos/r.git"
    in_engine "$E2E_PYTHON" "$E2E_LIB/web.py" "$dir/repos" 5080 5081 > "$dir/web.log" 2>&1 < /dev/null &
    servers+=($!)
    for ((i = 0; i < 600; i++)); do
        ! nsenter --net="/run/netns/dge$E2E_INDEX" curl -sf -m 10 --fail-early http://127.0.0.1:5000/v2/ http://127.0.0.1:5080/file > "$dir/said" || return 0
        sleep 0.1
    done
    cat "$dir"/*.log
    return 1
}
