# 20 restarts by SIGUSR2 under a loop of `docker version`: none of 200 fails, and a stream of the first process ends well.
# e2e: engines=28 clis=28 timeout=1800
. "$E2E_LIB/gate.sh"
works - "$E2E_DOCKGATE" certs certs
gate g < <(cat << X
[[listener]]
name = "unix"
url = "unix://$PWD/g.sock"
$(tls_listener tls "$PORT")
X
)
trap 'for pid in "${gates[@]}" $(cat pids 2> /dev/null); do kill -KILL "$pid" 2> /dev/null; done; [ "$failures" = 0 ] || exit 1' EXIT
# the processes that listen now
listening() { ss -Htlp "sport = :$PORT" | grep -oE 'pid=[0-9]+' | sort -u | cut -d= -f2; }
T=1500 over_tls "$PORT" certs d run -i --rm busybox sh -c 'cat; echo tail' > stream 2>&1 < <(echo one; while [ ! -e go ]; do sleep 0.1; done; echo two) &
stream=$!
eventually grep -q one stream
asking() { # NAME COMMAND...: until there is `stop`; a line for each answer
    local name=$1
    shift
    while [ ! -e stop ]; do "$@" d version --format '{{.Server.Os}}' >> "$name" 2>&1 || echo failed >> "$name"; done
}
asking tls over_tls "$PORT" certs &
loops=$!
DOCKER_HOST=unix://$PWD/g.sock asking unix &
loops="$loops $!"
for ((i = 1; i <= 20; i++)); do
    kill -USR2 "$gate" || break
    now=$gate
    for ((j = 0; j < 1200; j++)); do
        now=$(listening)
        # two of them for a moment
        [ -z "$now" ] || [ "$now" = "$gate" ] || [ "$(wc -l <<< "$now")" != 1 ] || break
        sleep 0.05
    done
    [ "$j" -lt 1200 ] || { bad "restart $i: no new process"; break; }
    echo "$now" >> pids
    gate=$now
    sleep 0.3
done
answers() { cat tls unix | wc -l; }
for ((j = 0; j < 9000; j++)); do [ "$(answers)" -lt 200 ] || break; sleep 0.1; done
touch stop
# shellcheck disable=SC2086
wait $loops
works - test "$(answers)" -ge 200
works 0 sh -c 'cat tls unix | grep -vc "^linux$"; true'
touch go
wait "$stream"
works 'one
two
tail' cat stream
works 20 sh -c 'sort -u pids | wc -l'
kill -TERM "$gate"
gone() { ! kill -0 "$gate" 2> /dev/null; }
eventually gone
