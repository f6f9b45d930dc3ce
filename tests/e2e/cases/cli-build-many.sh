# Fifty builds at once, and a context of 1 GiB.
# e2e: clis=28 engines=28 tier=all conservative=28 timeout=1800
. "$E2E_LIB/case.sh"
export BUILDKIT_PROGRESS=plain
mkdir ctx big
echo data > ctx/data
printf 'FROM busybox\nARG N\nCOPY data /data\nRUN echo "number $N" > /n\nCMD cat /n\n' > ctx/Dockerfile
builds=()
for n in {1..50}; do
    (T=600 d build -q -t "many$n" --build-arg "N=$n" ctx > "log$n" 2>&1 || cat "log$n") &
    builds+=($!)
done
wait "${builds[@]}"
for n in 1 25 50; do t d run --rm "many$n"; done
t d images -q 'many*' | grep -c .
printf 'FROM busybox\nRUN --mount=type=bind,target=/c sha256sum /c/f | cut -c1-40 > /sum\nCMD cat /sum\n' > big/Dockerfile
head -c 64M /dev/urandom > part
for _ in {1..16}; do cat part; done > big/f
T=600 q d build -t big big
d run --rm big | cmp - <(sum < big/f) && echo 'the same 1 GiB'
