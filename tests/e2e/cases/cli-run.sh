# e2e: namespace=20.10,28
# docker run: output of both streams, exit codes, environment, detached.
. "$E2E_LIB/case.sh"
t d run --rm busybox echo hello
t d run --rm busybox sh -c 'echo out; echo err >&2; exit 7'
t d run --rm -e A=1 -w /tmp -u 65534:65534 --hostname h1 busybox sh -c 'echo $A $(pwd) $(id -u) $(hostname)'
t d run --rm --entrypoint /bin/echo busybox from entrypoint
t d run --name c1 -d busybox sh -c 'sleep 0.3; exit 3'
t d wait c1
t d logs c1
t d start -a c1
t d inspect -f '{{.State.ExitCode}} {{.State.Status}}' c1
t d rm -f c1
printf 'x=1\ny=2\n' > variables
t d run --rm --env-file variables --read-only --tmpfs /scratch --pids-limit 20 --ulimit nofile=99 busybox sh -c 'echo $x$y; ulimit -n; touch /f; echo 1 > /scratch/f && cat /scratch/f'
# 20,000 lines, both streams, in order within each
t d run --rm busybox sh -c 'i=0; while [ $i -lt 20000 ]; do i=$((i+1)); echo line $i; done' > big
grep -c line big; sum < big
