#!/usr/bin/env bash
# `make test` and `make test-all`: installs what is missing, then runs every check, the fast ones first.
#
#   test.sh quick|all
set -euo pipefail
. "$(dirname "$0")/lib.sh"
tier=${1:-quick}
cd "$root"
need_cargo

started=$SECONDS
step() {
    local t0=$SECONDS
    echo "==> $*"
    "$@" || { echo "==> FAILED after $((SECONDS - t0)) s: $*"; exit 1; }
    echo "==> $((SECONDS - t0)) s"
}

# ---- what the checks need ----

command -v cc > /dev/null || install_packages gcc libc6-dev
command -v go > /dev/null || install_packages golang-go # decodes bodies as dockerd does, in tests/differential
for c in fmt clippy; do
    cargo "$c" --version > /dev/null 2>&1 || step rustup component add rustfmt clippy
done
cargo deny --version > /dev/null 2>&1 || step cargo install --locked cargo-deny
# it installs Debian packages, clients and engines; packages must not start a second dockerd
as_root true
without_services as_root env PATH="$PATH" tests/e2e/setup.sh "$tier"
as_root env PATH="$PATH" tests/cache/setup.sh "$tier"

# ---- the checks ----

step cargo fmt --check
[ ! -e benches/Cargo.toml ] || step cargo fmt --check --manifest-path benches/Cargo.toml
step cargo clippy --all-targets -- -D warnings
step cargo deny check licenses bans sources
if cargo nextest --version > /dev/null 2>&1; then
    step cargo nextest run
else
    echo "cargo-nextest is not installed: the same tests with cargo test"
    step cargo test --lib --bins --tests
fi
[ "$tier" != all ] || step scripts/test-s3.sh
[ "$tier" != all ] || step env DOCKGATE_DIFFERENTIAL=1000000 cargo test --test it differential
step cargo test --doc # what must not compile, does not
step cargo build --release
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
echo "==> all checks passed in $((SECONDS - started)) s"
