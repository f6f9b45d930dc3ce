# What is sent as an id is shown as it was written; what was written in the meantime means what was judged.
. "$E2E_LIB/assert.sh"
export DOCKER_BUILDKIT=0
show() { d inspect -f '{{.HostConfig.NetworkMode}} {{.HostConfig.VolumesFrom}} {{.HostConfig.Links}} {{.HostConfig.ContainerIDFile}} {{range $n, $s := .NetworkSettings.Networks}}{{$n}}{{$s.Links}}{{end}}' "$1"; }
works - d run -d --name web -v data:/data busybox sleep 3000
works - d network create net
works - d network create other
works - d run -d --name aa --network net --link web:db --volumes-from web:ro busybox sleep 3000
works 'net [web:ro] []  net[web:db]' show aa
works - d network connect net web
works - d exec aa ping -c 1 -W 5 db
works - d run -d --name bb --link web:db busybox sleep 3000
works '[/web:/bb/db]' d inspect -f '{{.HostConfig.Links}}' bb
works - d network connect --link web:x other aa
works 'net [web:ro] []  net[web:db]other[web:x]' show aa
id=$(d inspect -f '{{.Id}}' web)
works - d create --name cc --network "container:web" busybox true
works "container:$id" d inspect -f '{{.HostConfig.NetworkMode}}' cc
works - d create --name con busybox true
works - d create --name ee --pid container:con busybox true
works "container:$(d inspect -f '{{.Id}}' con)" d inspect -f '{{.HostConfig.PidMode}}' ee
# the network of a container that has not started yet goes, and another one has its name
works - d network create late
works - d create --name ff --network late busybox true
works late d network rm late
works - d network create late
fails 'network [0-9a-f]{64} not found' d start ff
works ff d rm ff
# what shares the network of one that is gone can be removed
works con d rm con
works ee d rm ee
works nosuch d volume rm -f nosuch
fails 'No such container: nosuch' d start nosuch
fails 'network nosuch not found|No such network: nosuch' d network rm nosuch
fails 'network nosuch not found \(rule container.network-host\)' d run --rm --network nosuch busybox true
