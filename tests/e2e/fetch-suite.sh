#!/usr/bin/env bash
# Packages of another Debian suite, unpacked in the cache and not installed.
#
#   fetch-suite.sh SUITE PKG...      prints the folder; exit 3 and a reason on stderr when it cannot be had
#
# The mirror is the one of this machine's own apt configuration and the signatures are checked with its keyring.
# A suite is fetched once; remove its folder to fetch a newer one.
set -euo pipefail

suite=$1
shift
cache=${DOCKGATE_E2E_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/dockgate-e2e}
tree=$cache/suite-$suite
want=$(printf '%s\n' "$@" | sort)

missing() { echo "$*" >&2; exit 3; }

if [ "$(cat "$tree/.packages" 2> /dev/null)" = "$want" ]; then
    echo "$tree"
    exit 0
fi

# the first mirror that serves this machine's own release, in either of apt's two file formats
codename=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
mirror=$(
    shopt -s nullglob
    files=(/etc/apt/sources.list /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources)
    for f in "${files[@]}"; do
        [ -r "$f" ] || continue
        case $f in
            *.sources) awk -v c="$codename" '
                function flush() { if (suites ~ "(^| )" c "( |$)" && uri != "") print uri; suites = uri = "" }
                /^[[:space:]]*$/ { flush() }
                /^URIs:/ { uri = $2 }
                /^Suites:/ { $1 = ""; suites = $0 }
                END { flush() }' "$f" ;;
            *) sed -E 's/^deb[[:space:]]+\[[^]]*\]/deb/' "$f" | awk -v c="$codename" '$1 == "deb" && $3 == c { print $2 }' ;;
        esac
    done | head -n 1
)
[ -n "$mirror" ] || missing "suite $suite: no Debian mirror for $codename in this machine's apt configuration"
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
[ -r "$keyring" ] || missing "suite $suite: no $keyring"

mkdir -p "$cache"
work=$(mktemp -d "$cache/.fetch.XXXXXX")
trap 'rm -rf "$work"' EXIT
mkdir -p "$work"/{lists/partial,cache/archives/partial,tree}
: > "$work/status"
echo "deb [signed-by=$keyring] $mirror $suite main" > "$work/sources.list"
apt=(apt-get -qq
    -o "Dir::State=$work" -o "Dir::State::lists=$work/lists" -o "Dir::State::status=$work/status"
    -o "Dir::Cache=$work/cache" -o "Dir::Etc::sourcelist=$work/sources.list"
    -o Dir::Etc::sourceparts=/dev/null -o Dir::Etc::preferencesparts=/dev/null
    -o Acquire::Languages=none -o Acquire::Retries=3 -o APT::Sandbox::User=root)

"${apt[@]}" update 2> "$work/err" >&2 || missing "suite $suite: $(tail -n 1 "$work/err")"
(cd "$work/cache" && "${apt[@]}" download "$@" 2> "$work/err" >&2) || missing "suite $suite: $(tail -n 1 "$work/err")"
for deb in "$work"/cache/*.deb; do
    dpkg -x "$deb" "$work/tree"
done

# Never the whole tree in PATH: its runc and iptables want a newer libc than this machine's. Only these four.
mkdir -p "$work/tree/bin"
for b in usr/sbin/dockerd usr/sbin/docker-proxy usr/bin/containerd usr/bin/containerd-shim-runc-v2; do
    [ ! -e "$work/tree/$b" ] || ln -s "../$b" "$work/tree/bin/"
done
[ ! -e "$work/tree/bin/dockerd" ] || "$work/tree/bin/dockerd" --version > /dev/null 2> "$work/err" || missing "suite $suite: dockerd does not run here: $(tail -n 1 "$work/err")"

echo "$want" > "$work/tree/.packages"
rm -rf "$tree"
mv "$work/tree" "$tree"
echo "$tree"
