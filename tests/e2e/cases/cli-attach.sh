# e2e: tls=yes namespace=20.10,28
# docker attach without a terminal.
. "$E2E_LIB/case.sh"
q d run -d --name c1 busybox sh -c 'while ! [ -e /go ]; do sleep 0.05; done; echo out; echo err >&2; exit 6'
(until_ok attached c1; d exec c1 touch /go) &
t d attach c1
q d wait c1
# without StdinOnce the engine drops the output once stdin has ended, so: create -i and start -ai
q d create -i --name c2 busybox sh -c 'read x; echo got $x; read y; echo got $y; cat; echo end'
printf 'one\ntwo\nthree\n' | t d start -ai c2
t d wait c2
q d run -d --name c3 busybox sh -c 'while :; do echo tick; sleep 0.1; done'
# a client that goes away in the middle
"$DOCKER" attach --sig-proxy=false c3 > ticks 2>&1 &
gone=$!
until_ok grep -q tick ticks && echo 'saw ticks'
# (in braces: the shell says that it was killed when it notices)
{
    kill -KILL "$gone"
    wait "$gone"
    status=$?
} 2> /dev/null
echo "status $status"
t d inspect -f '{{.State.Status}}' c3
t d attach nosuch
t d attach c1
q d rm -f c1 c2 c3
