# Every option that does no harm, and every command.
. "$E2E_LIB/assert.sh"
export DOCKER_BUILDKIT=0
run() { d run --rm "$@"; }
works - d network create net
works - d run -d --name own --init --network net --network-alias web -v vol:/data busybox sleep 3000
works - run -v vol:/data:ro busybox true
works - run --mount type=volume,src=vol,dst=/v busybox true
works - run --mount type=tmpfs,dst=/t,tmpfs-size=1m busybox true
works - run --tmpfs /t:rw,size=1m,noexec busybox true
works - run --volumes-from own busybox test -d /data
works - run --network container:own busybox true
works - run --network net busybox ping -c 1 -W 5 web
works - run --network none busybox true
works - run --pid container:own busybox true
works - run -p 80 busybox true
works - run -P --expose 80 busybox true
works - run --cap-drop ALL --cap-add CHOWN --security-opt no-new-privileges busybox true
works - run --init --shm-size 8m --ulimit nofile=512:1024 --memory 64m --memory-swap 64m --cpus 0.5 --pids-limit 50 busybox true
works 0 run --sysctl net.ipv4.ip_unprivileged_port_start=0 busybox cat /proc/sys/net/ipv4/ip_unprivileged_port_start
works - run --add-host h:host-gateway --add-host g:192.0.2.1 --dns 192.0.2.53 --dns-search example.com busybox grep 192.0.2.1 /etc/hosts
works 65534 run --user 65534:65534 --group-add 7 busybox id -u
works - run --hostname h --domainname d --workdir /tmp --env A=1 --label a=b --stop-signal INT --stop-timeout 2 --read-only busybox true
works - run --log-driver json-file --log-opt max-size=1m --oom-score-adj 100 --entrypoint true busybox
works - run --log-driver none busybox true
works - run --ipc private busybox true
works - run --cgroupns private busybox true
works - run --platform "$(d version -f '{{.Server.Os}}/{{.Server.Arch}}')" busybox true
works - d run -d --name again --restart on-failure:3 --health-cmd true --health-interval 2s --health-retries 2 busybox sleep 3000
works - d update --memory 64m --memory-swap 64m again
works - d update --restart no again
works - d rename again once
works - d pause once
works - d unpause once
works - d stats --no-stream once
works - d top own
works - d diff own
works - d port own
works - d restart -t 0 once
works - d kill once
works 137 d wait once
works - d commit -m m --change 'CMD ["true"]' once committed
works - run committed
works - d export -o fs.tar once
works - d import fs.tar imported
works - d history committed
works - d network connect --alias second net once
works - d network disconnect net once
works - d rm -f once
works - d network inspect net
works - d volume create --label a=b made
works - d volume inspect made
works - d volume prune -f --filter label=a=b
works - d container prune -f --filter label=a=b
works - d network prune -f --filter label=a=b
works - d image prune -f --filter label=a=b
works - d events --since 1 --until 2
works - d system df -v
works - d rm -f own
works - d network rm net
