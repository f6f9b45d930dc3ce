# e2e: tls=yes cross=all namespace=20.10,28
# The classic builder: the context is the body of POST /build.
. "$E2E_LIB/case.sh"
export DOCKER_BUILDKIT=0
mkdir ctx
cat > ctx/Dockerfile <<'X'
FROM busybox AS base
ARG WHO=nobody
RUN echo "hello $WHO" > /hello
FROM busybox
COPY --from=base /hello /hello
COPY data /data/
ENV A=1
LABEL l=v
WORKDIR /data
CMD ["cat", "/hello"]
X
echo content > ctx/data
printf 'ignored\n' > ctx/.dockerignore
head -c 100000 /dev/zero > ctx/ignored
built() { t d build "$@" 2>&1 | sed -E 's/(Sending build context to Docker daemon).*/\1/'; }
built -t b1:x -t b1:y --build-arg WHO=world ctx
t d run --rm b1:x
t d run --rm b1:y sh -c 'cat /data/data; pwd; echo $A; ls /'
t d inspect -f '{{.RepoTags}} {{.Config.Labels}} {{len .RootFS.Layers}}' b1:x
built -q ctx
built --no-cache --target base --label x=y -t b2 ctx
printf 'FROM busybox\nRUN echo from stdin > /f\n' | built -t b3 -
t d run --rm b3 cat /f
tar -C ctx -cf - . | built -t b4 --build-arg WHO=tar -
t d run --rm b4
built --network none --add-host h:10.0.0.9 --memory 64m --shm-size 32m -t b5 -f - ctx <<'X'
FROM busybox
RUN cat /etc/hosts | grep -c 10.0.0.9
X
