# e2e: tls=yes
# docker cp: files, folders, links and tar streams, both ways.
. "$E2E_LIB/case.sh"
q d create --name c1 busybox true
mkdir -p dir/sub
echo one > dir/one
echo two > dir/sub/two
ln -s one dir/link
chmod 640 dir/one
head -c 8000000 /dev/urandom > big
t d cp dir/one c1:/tmp/one
t d cp dir c1:/root/
t d cp dir/. c1:/home
t d cp big c1:/tmp/
q d cp c1:/tmp/big back
cmp big back && echo same
q d cp c1:/root/dir out
find out -printf '%P %y %m %s\n' | sort
q d cp c1:/home/sub/. out2
ls out2
tar -C dir -cf - --owner=0 --group=0 . | d cp - c1:/var; echo "status $?"
d cp c1:/var/sub - | tar -tvf - | awk '{print $1, $2, $6}'
t d cp c1:/nosuch x
t d cp dir/one c1:/no/such/place
t d cp dir/one nosuch:/x
t d cp c1:/tmp/one dir/none/x
q d start c1
q d wait c1
t d diff c1 | sort # in random order
q d rm c1
