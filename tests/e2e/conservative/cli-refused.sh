# What would give the host away is refused, with the reason.
. "$E2E_LIB/assert.sh"
refused d run --rm --privileged busybox true
refused d run --rm --pid host busybox true
refused d run --rm --network host busybox true
refused d run --rm --ipc host busybox true
refused d run --rm --uts host busybox true
refused d run --rm --userns host busybox true
refused d run --rm -v /:/host busybox true
refused d run --rm --mount type=bind,src=/etc,dst=/e busybox true
refused d run --rm --cap-add SYS_ADMIN busybox true
refused d run --rm --cap-add ALL busybox true
refused d run --rm --device /dev/null busybox true
refused d run --rm --device-cgroup-rule 'c 1:3 rwm' busybox true
refused d run --rm --security-opt seccomp=unconfined busybox true
refused d run --rm --security-opt apparmor=unconfined busybox true
refused d run --rm --cgroup-parent / busybox true
refused d create --privileged busybox
refused d swarm init
refused d swarm join --token x 127.0.0.1
refused d plugin ls
refused d plugin install x
# and what would reach others, or what is given to others
refused d run --rm -p 8080:80 busybox true
refused d create --restart always busybox
refused d run --rm -w /proc/self/fd/7 busybox true
refused d run --rm --runtime nothing busybox true
refused d run --rm --log-driver syslog busybox true
refused d run --rm --cgroupns host busybox true
refused d run --rm --oom-kill-disable busybox true
refused d run --rm --oom-score-adj -100 busybox true
refused d run --rm --security-opt label=disable busybox true
refused d run --rm --health-cmd true --health-interval 50ms busybox true
refused d run --rm --volume-driver nfs -v v:/v busybox true
refused d run --rm --ulimit nofile=2000000 busybox true
refused d run --rm --label io.dockgate.x=y busybox true
refused d volume create -o type=none -o o=bind -o device=/ v
refused d volume create -d nfs v
refused d network create -d macvlan n
refused d network create --subnet 10.9.0.0/16 n
refused d network create -o com.docker.network.bridge.name=docker0 n
refused d pull 127.0.0.1:5000/x
refused d import http://192.0.2.1/x.tar
refused d container prune -f
refused d volume prune -f
refused d system prune -f
# what the CLI does not offer, or does not show the reason of
denied() { # METHOD PATH
    works 403 curl -s -m 120 -o body -w '%{http_code}' --unix-socket "$E2E_SOCK" -X "$1" "${@:3}" "http://engine$2"
    works - grep -q '^{"message": *"dockgate: ' body
}
denied GET /containers/x/checkpoints
denied GET /v1.41/swarm
denied POST '/v1.41/build?version=2'
works '' d ps -aq
works - d run -d --name k2 --init busybox sleep 3000
refused d exec --privileged k2 true
works - d rm -f k2
# nothing of it was made in the engine
works '' d ps -aq
