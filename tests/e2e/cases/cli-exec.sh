# e2e: tls=yes namespace=20.10,28
# docker exec: streams, exit codes, stdin with half-close, detached, errors.
. "$E2E_LIB/case.sh"
q d run -d --name c1 -e A=1 busybox sleep 3000
t d exec c1 echo hello
t d exec -e B=2 -w /tmp -u 65534 c1 sh -c 'echo $A$B $(pwd) $(id -u); echo err >&2; exit 5'
printf abc | t d exec -i c1 sh -c 'cat; sleep 0.5; echo tail'
printf '' | t d exec -i c1 cat
t d exec c1 sh -c 'kill -9 $$'
t d exec c1 nosuchcommand
t d exec nosuch echo
t d exec -d c1 sh -c 'echo detached > /tmp/f'
until_ok d exec c1 grep -q detached /tmp/f && echo detached
q d pause c1
t d exec c1 echo paused
q d unpause c1
q d stop -t 0 c1
t d exec c1 echo stopped
q d rm -f c1
