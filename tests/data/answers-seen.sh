#!/usr/bin/env bash
# Makes one of everything in an engine that has nothing, and keeps what it answers.
#
#   answers-seen.sh SOCKET FOLDER API_VERSION        # then answers-seen.py
#
# The engine is one for this alone: everything in it is pruned. No registry is asked; the image is busybox's.
set -u
S=$1 O=$2 V=$3; mkdir -p "$O"
T=$(mktemp -d)
export DOCKER_HOST=unix://$S
g() { curl -s --unix-socket $S "http://d/v$V$2" ${3:+-X $3} ${4:+-H content-type:application/json -d "$4"} > $O/$1.json; }
mkdir -p $T/rootfs/bin; cp /bin/busybox $T/rootfs/bin/; for a in sh sleep true; do ln -sf busybox $T/rootfs/bin/$a; done
SINCE=$(date +%s)
tar -C $T/rootfs -c . > $T/r.tar
curl -s --unix-socket $S -X POST "http://d/v$V/images/create?fromSrc=-&repo=dgbox&tag=one" --data-binary @$T/r.tar -H content-type:application/x-tar > $O/import.json
g network-create /networks/create POST '{"Name":"nfront"}'
docker network create nshadow --config-only >/dev/null 2>&1; docker network create ncfgd --config-from nshadow >/dev/null 2>&1
g volume-create /volumes/create POST '{"Name":"vdata"}'
docker run -d --name cdb --ipc shareable dgbox:one sleep 1000 >/dev/null
g container-create "/containers/create?name=cweb" POST '{"Image":"dgbox:one","Cmd":["sleep","1000"],"HostConfig":{"NetworkMode":"nfront","Binds":["vdata:/d:ro","/tmp:/h"],"VolumesFrom":["cdb:ro"],"PidMode":"container:cdb","IpcMode":"container:cdb","Mounts":[{"Type":"volume","Source":"vdata","Target":"/e"}]},"NetworkingConfig":{"EndpointsConfig":{"nfront":{"Aliases":["www"]}}}}'
docker start cweb >/dev/null
g container-create-link "/containers/create?name=clinked" POST '{"Image":"dgbox:one","Cmd":["sleep","1000"],"HostConfig":{"Links":["cdb:theirs"]}}'
docker start clinked >/dev/null
docker run -d --name cshares --network container:cdb dgbox:one sleep 1000 >/dev/null
docker run -d --name cmnt --mount type=image,source=dgbox:one,target=/x dgbox:one sleep 1000 >/dev/null 2>&1
docker exec cweb true
EX=$(curl -s --unix-socket $S -X POST -H content-type:application/json -d '{"Cmd":["sleep","100"]}' http://d/v$V/containers/cweb/exec | tee $O/exec-create.json | sed 's/.*"Id":"\([0-9a-f]*\)".*/\1/'); curl -s --unix-socket $S -X POST -H content-type:application/json -d '{"Detach":true}' http://d/v$V/exec/$EX/start
g exec-inspect /exec/$EX/json
g containers "/containers/json?all=1"
for c in cweb clinked cshares cdb cmnt; do g container-$c /containers/$c/json; done
g stats "/containers/cweb/stats?stream=0&one-shot=1"
g networks /networks; g network /networks/nfront?verbose=1; g network-ncfgd /networks/ncfgd
g volumes /volumes; g volume /volumes/vdata
g images "/images/json?manifests=1"; g image "/images/dgbox:one/json?manifests=1"; g history /images/dgbox:one/history
g commit "/commit?container=cweb&repo=dgbox&tag=two" POST '{}'
g df /system/df; g info /info
printf 'FROM dgbox:one\nRUN true\nLABEL a=b\n' > $T/Dockerfile; tar -C $T -cf $T/c.tar Dockerfile
curl -s --unix-socket $S -X POST "http://d/v$V/build?t=dgbox:three&rm=1" --data-binary @$T/c.tar -H content-type:application/x-tar > $O/build.json
docker save dgbox:three > $T/s.tar; curl -s --unix-socket $S -X POST "http://d/v$V/images/load" --data-binary @$T/s.tar -H content-type:application/x-tar > $O/load.json
timeout 20 curl -s --unix-socket $S -X POST -H 'X-Registry-Auth: e30=' "http://d/v$V/images/127.0.0.1:1%2Fdgbox/push?tag=one" > $O/push0.json
docker tag dgbox:one 127.0.0.1:1/dgbox:one; timeout 20 curl -s --unix-socket $S -X POST -H 'X-Registry-Auth: e30=' "http://d/v$V/images/127.0.0.1:1/dgbox/push?tag=one" > $O/push.json
docker rename cshares cshared
docker rm -f cweb clinked cshared cdb cmnt >/dev/null 2>&1
g image-delete "/images/dgbox:three" DELETE
docker create --name cdead dgbox:one true >/dev/null
g containers-prune /containers/prune POST; g networks-prune /networks/prune POST; g volumes-prune '/volumes/prune?filters=%7B%22all%22%3A%5B%22true%22%5D%7D' POST; g images-prune '/images/prune?filters=%7B%22dangling%22%3A%5B%22false%22%5D%7D' POST
curl -s --unix-socket $S "http://d/v$V/events?since=$SINCE&until=$(date +%s)" > $O/events.json
g swarm-init /swarm/init POST '{"ListenAddr":"127.0.0.1:2377","AdvertiseAddr":"127.0.0.1"}'
g secret-create /secrets/create POST '{"Name":"ssec","Data":"YWJj"}'; g config-create /configs/create POST '{"Name":"sconf","Data":"YWJj"}'
docker network create -d overlay nover >/dev/null
curl -s --unix-socket $S -X POST "http://d/v$V/images/create?fromSrc=-&repo=dgbox&tag=one" --data-binary @$T/r.tar -H content-type:application/x-tar >/dev/null
docker service create --name ssvc --detach --no-resolve-image --network nover --secret ssec --config sconf --mount type=volume,source=vsv,target=/x dgbox:one sleep 1000 >/dev/null
sleep 5; docker service update --detach --no-resolve-image --env-add a=b ssvc >/dev/null; sleep 8
for p in nodes services tasks secrets configs swarm info; do g swarm-$p /$p; done; g network-over "/networks/nover?verbose=1"
docker swarm leave --force >/dev/null
