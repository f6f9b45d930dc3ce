# e2e: tls=yes
# 64 MiB there and back through exec -i.
. "$E2E_LIB/case.sh"
q d run -d --name c1 busybox sleep 3000
head -c 67108864 /dev/urandom > in
d exec -i c1 cat < in | cmp - in && echo 'same through exec'
head -c 9000000 in > part
d exec -i c1 sha256sum < part | cut -c1-40 | cmp - <(sum < part) && echo 'same sum inside'
q d rm -f c1
d run -i --rm busybox cat < part | cmp - part && echo 'same through run'
