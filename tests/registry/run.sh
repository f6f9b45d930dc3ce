#!/usr/bin/env bash
# The registry reverse proxy in front of real registries: installs what it needs, then runs the suite.
#
#   run.sh quick|all [suite.py's options]...
#
# DOCKGATE=path of the binary (default: target/release/dockgate of this repository). See README.md.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=scripts/lib.sh
. "$here/../../scripts/lib.sh"
tier=${1:-}
case $tier in quick | all) shift ;; *) sed -n '2,6s/^# \{0,1\}//p' "$0" >&2; exit 2 ;; esac
packages=(openssl python3)
command -v docker-registry > /dev/null || packages+=(docker-registry)
command -v htpasswd > /dev/null || packages+=(apache2-utils)
command -v skopeo > /dev/null || packages+=(skopeo)
# Debian's docker-registry starts a service of its own
without_services install_packages "${packages[@]}"

unset http_proxy https_proxy all_proxy HTTP_PROXY HTTPS_PROXY ALL_PROXY
export LC_ALL=C.UTF-8 TZ=UTC PYTHONDONTWRITEBYTECODE=1
"$here/suite.py" "$@"
[ $# -eq 0 ] || exit 0
"$here/judge.py"
"$here/ecr.py" # says SKIPPED without moto, which `pip install moto[server]` brings
if [ "$tier" = quick ]; then
    "$here/namespaces.py" by-hand
else
    "$here/namespaces.py"
    "$here/engines.py"
fi
