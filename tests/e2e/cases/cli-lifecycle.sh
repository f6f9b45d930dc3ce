# e2e: cross=all namespace=28
# start, stop, restart, kill, pause, rename, update, wait, rm: one after the other.
. "$E2E_LIB/case.sh"
state() { d inspect -f '{{.State.Status}} {{.State.ExitCode}} {{.RestartCount}}' "$1"; }
# (process 1 knows no TERM before it has said what to do with it; what is in /t is new with every start)
t d create --name c1 --tmpfs /t busybox sh -c 'trap "exit 7" TERM; touch /t/ready; while :; do sleep 0.1; done'
ready() { until_ok d exec "$1" test -e /t/ready; }
t d start c1
ready c1
t d pause c1
state c1
t d pause c1
t d unpause c1
t d rename c1 c2
t d rename c2 c2
t d update --memory 64m --memory-swap 128m --cpu-shares 512 --restart on-failure:3 c2
t d inspect -f '{{.HostConfig.Memory}} {{.HostConfig.CpuShares}} {{.HostConfig.RestartPolicy}}' c2
t d update --memory 1 c2
t d update --restart no c2
t d stop -t 60 c2
state c2
t d restart -t 0 c2
ready c2
# a wait that is open while things happen (one that comes later is answered the same)
d wait c2 > waited &
w=$!
sleep 0.4
t d kill -s TERM c2
wait "$w"
cat waited
state c2
t d start c2
t d kill c2
t d wait c2
t d kill c2
t d kill -s NOSUCH c2
t d rm c2
t d rm c2
t d run -d --name c3 busybox sleep 3000
t d rm c3
t d rm -f c3
# wait for the removal, opened before the start
q d create --rm --name c4 busybox sh -c 'sleep 0.3; exit 11'
t d start -a c4
t d container prune -f
