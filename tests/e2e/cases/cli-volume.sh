# e2e: cross=all
# Volumes: named, anonymous, shared between containers.
. "$E2E_LIB/case.sh"
t d volume create --label a=b v1
t d volume inspect v1
t d run --rm -v v1:/data busybox sh -c 'echo kept > /data/f'
t d run --rm --mount type=volume,src=v1,dst=/data,readonly busybox sh -c 'cat /data/f; touch /data/g'
q d create --name c1 -v v1:/data -v /anonymous busybox true
t d inspect -f '{{range .Mounts}}{{.Type}} {{.Destination}} {{.RW}}{{println}}{{end}}' c1 | sort
t d volume rm v1
t d volume ls -q --filter dangling=false
t d run --rm --volumes-from c1 busybox cat /data/f
t d rm -v c1
t d volume rm v1
t d volume rm v1
t d volume inspect v1
t d volume create 'bad name'
mkdir shared
echo host > shared/f
t d run --rm -v "$E2E_TMP/shared:/s" busybox sh -c 'cat /s/f; echo back > /s/g'
cat shared/g
t d volume prune -f
