# e2e: tier=all timeout=600
# bollard 0.21: version negotiation, create, attach, start, logs, exec, wait, remove.
. "$E2E_LIB/case.sh"
t timeout 60 "$E2E_BOLLARD"
