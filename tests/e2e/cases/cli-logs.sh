# e2e: tls=yes cross=all namespace=20.10,28
# docker logs: all, tail, both streams, follow until the container ends, follow a container that is removed.
. "$E2E_LIB/case.sh"
# (each of the two streams has a reader of its own in the engine: which comes first is chance, unless one waits)
q d run -d --name c1 busybox sh -c 'for i in 1 2 3 4 5; do echo line $i; done; until [ -e /go ]; do sleep 0.05; done; echo err >&2'
until_ok eval 'd logs c1 | grep -q "line 5"'
q d exec c1 touch /go
q d wait c1
t d logs c1
t d logs --tail 2 c1
t d logs --timestamps --tail 1 c1
t d logs --since 1h c1
t d logs --until 1h c1
q d run -d --name c2 busybox sh -c 'for i in 1 2 3; do echo line $i; sleep 0.4; done; echo end >&2'
t d logs -f c2
# a line must arrive when it is written, not when the stream ends
q d run -d --name c3 busybox sh -c 'echo first; sleep 3000'
d logs -f c3 > follow &
f=$!
until_ok grep -q first follow && echo 'arrived while following'
q d rm -f c3
wait "$f"; echo "status $?"
q d run -d -t --name c4 busybox echo tty
q d wait c4
t d logs c4
t d logs nosuch
q d run -d --name c5 busybox sh -c 'head -c 5000000 /dev/zero | tr "\0" "a" | fold -w 99'
q d wait c5
d logs c5 2>&1 | sum
q d rm -f c1 c2 c4 c5
