#!/usr/bin/env bash
# Namespaces beside engines of one's own: the same calls must have the same answers. See README.md.
#
#   run.sh quick|all      DOCKGATE=path of the binary (default: target/release/dockgate of this repository)
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
case ${1:-} in
    quick) "$here/model.py" --engine 28 --steps 60 --seed 22 ;;
    all)
        "$here/model.py" --engine 28 --steps 250 --seed 22
        "$here/model.py" --engine 20.10 --steps 300 --seed 5
        ;;
    *) sed -n '2,4s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
esac
