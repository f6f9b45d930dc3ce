#!/usr/bin/env bash
# `make test` and `make test-all`: asks for what the checks need, installs it, runs all of them to the end, the fast ones
# first, and says in one list what became of each.
#
#   test.sh quick|all
set -euo pipefail
. "$(dirname "$0")/lib.sh"
tier=${1:-quick}
cd "$root"
need_cargo

started=$SECONDS
summary=()
failed=0
step() { # a check: the others go on without it
    local t0=$SECONDS result=ok
    echo "==> $*"
    "$@" || { result=FAILED failed=1; }
    summary+=("$(printf '%-6s %5d s  %s' "$result" $((SECONDS - t0)) "$*")")
    echo "==> $result after $((SECONDS - t0)) s"
}
end() {
    printf '\n==> summary\n'
    printf '%s\n' "${summary[@]}"
    [ "$failed" = 0 ] || fail "not all checks passed ($((SECONDS - started)) s)"
    echo "==> all checks passed in $((SECONDS - started)) s"
    exit
}

# ---- what the checks need ----

need=()
command -v cc > /dev/null || need+=(gcc libc6-dev)
command -v go > /dev/null || need+=(golang-go) # decodes bodies as dockerd does, in tests/differential
say "to be installed where they are missing: ${need[*]:-} and the packages of tests/e2e/setup.sh (docker.io, clients, engines beside it)"
# It installs Debian packages, clients and engines, and starts engines of its own. Asked before anything takes long.
[ "$(id -u)" = 0 ] || say "root is needed for that and for engines in network namespaces: asking sudo"
as_root true
install_packages "${need[@]}"
for c in fmt clippy; do
    cargo "$c" --version > /dev/null 2>&1 || rustup component add rustfmt clippy
done
# packages must not start a second dockerd
without_services as_root env PATH="$PATH" tests/e2e/setup.sh "$tier"
as_root env PATH="$PATH" tests/cache/setup.sh "$tier"

# ---- the checks ----

step cargo fmt --check
[ ! -e benches/Cargo.toml ] || step cargo fmt --check --manifest-path benches/Cargo.toml
step cargo clippy --all-targets -- -D warnings
if cargo nextest --version > /dev/null 2>&1; then
    step cargo nextest run --no-fail-fast
else
    say "cargo-nextest is not installed: the same tests with cargo test"
    step cargo test --no-fail-fast --lib --bins --tests
fi
[ "$tier" != all ] || step scripts/test-s3.sh
[ "$tier" != all ] || step env DOCKGATE_DIFFERENTIAL=1000000 cargo test --test it differential
step cargo test --doc # what must not compile, does not
step cargo build --release
[ -x target/release/dockgate ] || end # nothing that follows could run
end_to_end() { as_root env PATH="$PATH" tests/e2e/run.sh "$@"; }
step end_to_end "$tier" # `all` contains the quick ones
caching_proxy() { as_root env PATH="$PATH" tests/cache/run.sh "$@"; }
step caching_proxy "$tier"
registries() { as_root env PATH="$PATH" tests/registry/run.sh "$@"; }
step registries "$tier"
jobs_on_engines() { as_root env PATH="$PATH" tests/jobs/run.sh "$1"; }
step jobs_on_engines "$tier"
transparent_caches() { as_root env PATH="$PATH" tests/transparent/run.sh "$1"; }
step transparent_caches "$tier"
namespaces_on_engines() { as_root env PATH="$PATH" tests/namespaces/run.sh "$1"; }
step namespaces_on_engines "$tier"
attack_vectors() { as_root env PATH="$PATH" tests/vectors/run.py --tier "$1"; }
step attack_vectors "$tier"

# ---- fuzzing: 20 s a target, only where the tools are ----

if [ "$tier" = all ]; then
    if [ ! -e fuzz/Cargo.toml ]; then
        echo "SKIPPED fuzzing: no fuzz/Cargo.toml"
    elif ! cargo +nightly --version > /dev/null 2>&1; then
        echo "SKIPPED fuzzing: no nightly toolchain"
    elif ! cargo fuzz --version > /dev/null 2>&1; then
        echo "SKIPPED fuzzing: no cargo-fuzz"
    else
        for target in $(cargo +nightly fuzz list); do
            step cargo +nightly fuzz run "$target" -- -max_total_time=20 -verbosity=0
        done
    fi
fi

# ---- licences: the tool takes long to compile, so it is made for CI and the slow tier only ----

if ! cargo deny --version > /dev/null 2>&1 && { [ -n "${CI:-}" ] || [ "$tier" = all ]; }; then
    cargo install --locked --debug cargo-deny || failed=1
fi
if cargo deny --version > /dev/null 2>&1; then
    step cargo deny check licenses bans sources
else
    summary+=("skipped          cargo deny: not installed (\`cargo install --locked cargo-deny\`); CI runs it")
fi
end
