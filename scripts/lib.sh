#!/usr/bin/env bash
# What run.sh and test.sh share: messages, cargo, Debian packages. `scripts/lib.sh FUNCTION ARG...` runs one of them.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
PATH=$PATH:${CARGO_HOME:-$HOME/.cargo}/bin:/usr/sbin:/sbin

say() { echo "dockgate: $*" >&2; }
fail() { say "$*"; exit 1; }

# cargo is there and as new as Cargo.toml asks for
need_cargo() {
    local want have
    if ! command -v cargo > /dev/null; then
        say "cargo not found"
        say "hint: install Rust from https://rustup.rs, then open a new shell"
        return 1
    fi
    want=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' "$root/Cargo.toml")
    have=$(cd "$root" && cargo --version | cut -d' ' -f2)
    if [ "$(printf '%s\n' "$want" "$have" | sort -V | head -n 1)" != "$want" ]; then
        say "cargo $have is too old, $want or newer is needed"
        say "hint: rustup update stable, or install Rust from https://rustup.rs"
        return 1
    fi
}

# runs a command as root, through sudo when we are not
as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif command -v sudo > /dev/null; then
        sudo "$@"
    else
        fail "\`$1\` needs root, and there is no sudo"
    fi
}

installed() { case $(dpkg-query -W -f='${Status}' "$1" 2> /dev/null) in *'ok installed') ;; *) return 1 ;; esac; }

# Debian packages; none of the services that come with them is started
install_packages() {
    local p need=() log
    for p in "$@"; do installed "$p" || need+=("$p"); done
    [ ${#need[@]} -gt 0 ] || return 0
    command -v apt-get > /dev/null || fail "needed and not there: ${need[*]}; only Debian's apt-get is known here"
    say "apt-get install ${need[*]}"
    log=$(mktemp)
    if ! without_services as_root sh -c \
        'export DEBIAN_FRONTEND=noninteractive; apt-get -qq update && apt-get -qq install -y --no-install-recommends "$@"' \
        sh "${need[@]}" > "$log" 2>&1 < /dev/null; then
        tail -n 20 "$log" >&2
        rm -f "$log"
        fail "these packages could not be installed: ${need[*]}"
    fi
    rm -f "$log"
    if [ -d /run/systemd/system ] && [[ " ${need[*]} " == *' docker.io '* ]]; then
        say "docker.io is installed; its service was not started now, but would be at the next boot"
        say "hint: \`systemctl disable docker.service docker.socket\` if you do not want that"
    fi
}

# Runs a command while /usr/sbin/policy-rc.d forbids Debian's packages to start services, then puts back what was there.
without_services() (
    policy=/usr/sbin/policy-rc.d
    if [ -e "$policy" ] && [ "$("$policy" docker start > /dev/null 2>&1; echo $?)" = 101 ]; then
        "$@" # it is forbidden already
        exit
    fi
    restore() {
        trap '' INT TERM HUP
        as_root rm -f "$policy"
        [ ! -e "$policy.dockgate-saved" ] || as_root mv "$policy.dockgate-saved" "$policy"
    }
    trap restore EXIT
    trap 'exit 130' INT TERM HUP
    [ ! -e "$policy" ] || as_root mv "$policy" "$policy.dockgate-saved"
    printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" > /dev/null
    as_root chmod 755 "$policy"
    "$@"
)

if [ "${BASH_SOURCE[0]}" = "$0" ]; then
    set -euo pipefail
    "$@"
fi
