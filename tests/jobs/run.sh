#!/usr/bin/env bash
# Jobs on real engines: what they must keep to whatever is killed meanwhile. See README.md.
#
#   run.sh quick|all      DOCKGATE=path of the binary (default: target/release/dockgate of this repository)
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=scripts/lib.sh
. "$here/../../scripts/lib.sh"
case ${1:-} in
    quick) rounds=(--rounds 12 --seconds 30) older=(paths) ;;
    all) rounds=(--rounds 200) older=() ;;
    *) sed -n '2,4s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
esac

# for what jobs push; Debian's starts a service of its own
command -v docker-registry > /dev/null || without_services install_packages docker-registry

"$here/opened.py"
"$here/replay.py" --engine 28
"$here/replay.py" --engine 20.10 "${older[@]}"
failed=0 pids=()
for engine in 28 20.10; do
    "$here/campaign.py" --engine "$engine" "${rounds[@]}" &
    pids+=($!)
done
for pid in "${pids[@]}"; do wait "$pid" || failed=1; done
exit $failed
