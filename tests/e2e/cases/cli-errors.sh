# e2e: tls=yes
# What a client shows when the engine says no.
. "$E2E_LIB/case.sh"
t d inspect nosuch
t d container inspect nosuch
t d image inspect nosuch
t d volume inspect nosuch
t d network inspect nosuch
t d run --rm --pull never nosuch:1
t d run --rm busybox nosuchcommand
t d run --rm busybox /etc
t d run --rm -w relative busybox true
t d run --rm --memory 1 busybox true
t d run --rm -v relative:/x:badmode busybox true
t d run --rm --network nosuch busybox true
t d run --rm --name 'bad name' busybox true
t d run --rm --user nosuch busybox true
t d run --rm --ip 10.0.0.1 busybox true
t d create --name twice busybox
t d create --name twice busybox
t d start nosuch
t d logs nosuch
t d wait nosuch
t d ps --filter nosuch=1
t d images --filter nosuch=1
t d events --since 0 --until 1 --filter nosuch=1
t d swarm leave
t d node ls
t d service ls
t d stack ps nosuch
t d rm nosuch twice
