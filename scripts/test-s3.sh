#!/usr/bin/env bash
# The tests of the feature `object-store`, against moto, a server that speaks S3 and forgets all.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
cd "$root"
need_cargo

venv=${XDG_CACHE_HOME:-$HOME/.cache}/dockgate-e2e/moto
if [ ! -x "$venv/bin/moto_server" ]; then
    rm -rf "$venv"
    python3 -m venv "$venv"
    "$venv/bin/pip" -q --disable-pip-version-check install 'moto[server]'
fi
port=$(PYTHONPATH=tests/lib PYTHONDONTWRITEBYTECODE=1 python3 -c 'import ports; print(ports.free_port())')
log=$(mktemp)
"$venv/bin/moto_server" -H 127.0.0.1 -p "$port" > "$log" 2>&1 &
server=$!
trap 'kill "$server"; rm -f "$log"' EXIT
endpoint=http://127.0.0.1:$port
for _ in $(seq 600); do
    curl -sf -o /dev/null -X PUT "$endpoint/bucket" && break
    kill -0 "$server" || { cat "$log"; exit 1; }
    sleep 0.2
done
export AWS_ENDPOINT=$endpoint AWS_ALLOW_HTTP=true AWS_REGION=us-east-1
export AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test DOCKGATE_TEST_S3=s3://bucket
cargo test --features object-store --lib -- --ignored remote::tests
