# `limits` behind `conservative`: what inspect shows, what an update may, and what a build gets.
. "$E2E_LIB/gate.sh"
gate g < <(cat << X
[[listener]]
name = "ci"
url = "unix://$PWD/ci.sock"
policies = ["conservative", "sizes"]
auth = ["peer"]
[auth.peer]
kind = "unix-peer"
users = { root = "captain" }
[policy.sizes]
kind    = "limits"
force   = { labels = { "io.dockgate.listener" = "{listener}", by = "{user}" }, cgroup_parent = "/dockgate-e2e", env = { WHO = "{user}" } }
default = { memory = "64m", pids = 100 }
max     = { memory = "256m", swap = 0, cpus = 64, shm = "32m", tmpfs = "1m", ulimits = { nofile = 512 }, restart = ["on-failure:2"], log = { max-size = "1m", max-file = 2 } }
[policy.sizes.users.captain]
max     = { pids = 200 }
X
)
export DOCKER_HOST=unix://$PWD/ci.sock
shown() { DOCKER_HOST=unix://$E2E_SOCK d inspect -f "$2" "$1"; } # as the engine has it
SIZES='{{.HostConfig.Memory}} {{.HostConfig.MemorySwap}} {{.HostConfig.PidsLimit}} {{.HostConfig.CpuQuota}} {{.HostConfig.CpuPeriod}} {{.HostConfig.ShmSize}}'

works - d run -d --name plain --init --tmpfs /t busybox sleep 3000
works '67108864 67108864 100 6400000 100000 33554432' shown plain "$SIZES"
works '/dockgate-e2e ci captain' shown plain '{{.HostConfig.CgroupParent}} {{index .Config.Labels "io.dockgate.listener"}} {{.Config.Labels.by}}'
works 'map[max-file:2 max-size:1m]' shown plain '{{.HostConfig.LogConfig.Config}}'
works 'map[/t:size=1048576]' shown plain '{{.HostConfig.Tmpfs}}'
# conservative must take the gate's own marks for nobody's wish
works '512 512 captain 1024' d exec -e WHO=nobody plain sh -c 'echo $(ulimit -Hn) $(ulimit -Sn) $WHO $(df -k /t | tail -n 1 | tr -s " " | cut -d " " -f 2)'

# asked for, within
works - d run -d --name own --init --memory 128m --cpus 1 --pids-limit 150 --label by=eve busybox sleep 3000
works '134217728 134217728 150 0 0 33554432 1000000000 captain' shown own "$SIZES {{.HostConfig.NanoCpus}} {{.Config.Labels.by}}"

# asked for, beyond
fails 'dockgate: HostConfig.Memory: must be at most 256m, asked 512m \(rule limits.memory\)' d create --memory 512m busybox
fails 'dockgate: HostConfig.MemorySwap: .*rule limits.swap' d create --memory 64m --memory-swap -1 busybox
fails 'dockgate: HostConfig.PidsLimit: must be at most 200, asked no limit' d create --pids-limit -1 busybox
fails 'dockgate: .*rule limits.cpus' d create --cpu-quota 6400001 busybox
fails 'dockgate: .*rule limits.shm' d create --shm-size 64m busybox
fails 'dockgate: .*rule limits.tmpfs' d create --tmpfs /t:size=2m busybox
fails 'dockgate: .*rule limits.tmpfs' d create --mount type=tmpfs,dst=/t,tmpfs-size=2m busybox
fails 'dockgate: .*rule limits.ulimits' d create --ulimit nofile=513 busybox
fails 'dockgate: .*rule (limits|container).restart' d create --restart always busybox
fails 'dockgate: .*rule limits.log' d create --log-opt max-size=2m busybox

# updates
works plain d update --memory 256m plain
works '268435456 268435456 100 6400000 100000 33554432' shown plain "$SIZES"
works plain d update --cpus 1.5 plain
works '268435456 268435456 100 150000 100000 33554432' shown plain "$SIZES"
works own d update --cpus 1.5 own
works 1500000000 shown own '{{.HostConfig.NanoCpus}}'
fails 'dockgate: Memory: must be at most 256m, asked 512m' d update --memory 512m plain
fails 'dockgate: MemorySwap: must come with `Memory`' d update --memory-swap -1 plain
fails 'dockgate: .*rule limits.pids' d update --pids-limit -1 plain
fails 'dockgate: .*rule limits.cpus' d update --cpu-quota -1 plain
fails 'dockgate: .*rule (limits|container).restart' d update --restart always plain
works '268435456 268435456 100 150000 100000 33554432' shown plain "$SIZES"

# a build: its RUN sees its limits
mkdir ctx
cat > ctx/Dockerfile << 'X'
FROM busybox
RUN ulimit -Hn > /limits; df -k /dev/shm | tail -n 1 | tr -s " " | cut -d " " -f 2 >> /limits; cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/memory/memory.limit_in_bytes 2> /dev/null >> /limits; true
X
export DOCKER_BUILDKIT=0
works - d build -t limited ctx
works $'512\n32768\n67108864' d run --rm limited cat /limits
works captain shown limited '{{.Config.Labels.by}}'
fails 'dockgate: .*rule limits.memory' d build --memory 512m ctx
fails 'dockgate: .*rule limits.shm' d build --shm-size 64m ctx
works - d rm -f plain own
works - d rmi -f limited
works '' d ps -aq
