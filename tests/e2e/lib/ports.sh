# shellcheck shell=bash
# Sourced by run.sh and gate.sh: ports of this machine for listeners.
# From 20000 to 32767: below what Linux gives to connections that go out (net.ipv4.ip_local_port_range), any of which may
# hold any port above for as long as it likes.

free_ports() { # OFFSET COUNT: the first of COUNT ports in a row that nothing has, at 20000 + OFFSET or a multiple of 1000 later
    local first port
    for ((first = 20000 + $1; first + $2 <= 32768; first += 1000)); do
        for ((port = first; port < first + $2; port++)); do
            [ -z "$(ss -Htan "sport = :$port")" ] || continue 2
        done
        echo "$first"
        return
    done
    echo "no $2 free ports in a row" >&2
    return 1
}
