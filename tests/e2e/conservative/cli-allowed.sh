# Everyday work goes through `--policy conservative`.
. "$E2E_LIB/assert.sh"
export DOCKER_BUILDKIT=0
works hello d run --rm busybox echo hello
works 'abc
tail' d run -i --rm busybox sh -c 'cat; echo; echo tail' < <(printf abc)
works - d run -d --name k1 -e A=1 -w /tmp --memory 64m --init -v vol:/data --label a=b busybox sh -c 'echo logged; exec sleep 3000'
works 1 d exec k1 sh -c 'echo $A'
works typed d exec -i k1 cat < <(printf typed)
eventually sh -c "'$DOCKER' logs k1 | grep -q logged"
works logged d logs k1
works k1 d ps --format '{{.Names}}'
works - d inspect k1
echo copied > f
works - d cp f k1:/tmp/f
works copied d exec k1 cat /tmp/f
works - d cp k1:/tmp/f back
works copied cat back
works k1 d stop -t 1 k1
works k1 d rm k1
mkdir ctx
printf 'FROM busybox\nRUN echo built > /b\nCOPY f /f\nCMD cat /b /f\n' > ctx/Dockerfile
cp f ctx/f
works - d build -t built ctx
works 'built
copied' d run --rm built
works - d network create net
works - d run --rm --network net busybox true
works net d network rm net
works vol d volume rm vol
works - d tag busybox other:1
works - d rmi other:1
works - d save -o image.tar built
works - d load -i image.tar
works - d version
works - d info
works - d system df
