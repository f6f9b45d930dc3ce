# e2e: cross=all
# save and load: tars out of and into the engine, one and several images, over stdin/stdout and files.
. "$E2E_LIB/case.sh"
q d tag busybox s1:x
printf 'FROM busybox\nRUN head -c 20000000 /dev/urandom > /r\n' | DOCKER_BUILDKIT=0 d build -q -t s2 - > /dev/null 2>&1 || echo failed
id=$(d inspect -f '{{.Id}}' s2)
d save s1:x s2 > both.tar; echo "status $?"
tar -tf both.tar | grep -c . > count
d save -o one.tar s2
q d rmi s1:x s2
t d load -i both.tar | sort
[ "$(d inspect -f '{{.Id}}' s2)" = "$id" ] && echo 'same id'
q d rmi s2
d load < one.tar; echo "status $?"
[ "$(d inspect -f '{{.Id}}' s2)" = "$id" ] && echo 'same id'
q d rmi s2
q d load -q -i one.tar
d save s2 | d load; echo "status $?"
gzip -1 < one.tar > one.tar.gz
t d load -q -i one.tar.gz
t d save nosuch
echo 'not a tar' > bad
t d load -i bad
head -c 65536 one.tar > cut.tar
d load -i cut.tar > log 2>&1 || echo 'a cut tar is an error'
