# e2e: tls=yes
# docker run -i: the client closes its half early, output follows.
. "$E2E_LIB/case.sh"
printf abc | t d run -i --rm busybox sh -c 'cat; sleep 1; echo tail'
printf '' | t d run -i --rm busybox sh -c 'cat; echo empty'
t d run -i --rm busybox sh -c 'cat; echo devnull' < /dev/null
t d run -a stdout -a stderr --rm busybox sh -c 'echo no stdin; echo e >&2'
# the container ends first, stdin stays open
mkfifo open
exec 3<> open
t d run -i --rm busybox sh -c 'read -t 1 x; echo ended; exit 4' <&3
exec 3>&-
seq 1 200000 > in
d run -i --rm busybox cat < in | cmp - in && echo same
d run -i --rm busybox sh -c 'wc -l; echo after' < in
