# What a Dockerfile and buildx can say of a build, on the engine's own BuildKit.
# e2e: clis=28 engines=26,28,28-containerd plain=no conservative=26,28,28-containerd
. "$E2E_LIB/case.sh"
. "$E2E_LIB/build-servers.sh"
. "$E2E_LIB/build.sh"
trap end_servers EXIT
build_servers || exit 1
mkdir ctx other
echo data > ctx/data
echo other > other/o
echo hidden > secret
cat > ctx/Dockerfile <<'D'
FROM busybox AS base
ARG WHO=nobody
RUN echo "hello $WHO" > /hello
FROM busybox AS last
COPY --from=base /hello /hello
COPY data /data/
RUN --mount=type=cache,target=/c echo cached > /c/f
RUN --mount=type=bind,target=/b cat /b/data > /bound
RUN --mount=type=tmpfs,target=/t echo t > /t/t
RUN --mount=type=bind,from=base,target=/b cat /b/hello > /stage
RUN <<E
echo one > /heredoc
echo two >> /heredoc
E
COPY <<E /file
inline
E
CMD ["cat", "/hello", "/heredoc", "/file", "/bound", "/stage"]
D
echo '# Dockerfiles'
built -t m1 --build-arg WHO=me ctx
t d run --rm m1
built -t m1 --build-arg WHO=me ctx
built --target base -t m2 ctx
printf 'FROM busybox\nRUN --mount=type=secret,id=s cat /run/secrets/s > /got\n' > d.secret
built --no-cache -f d.secret --secret id=s,src=secret -t m3 other
t d run --rm m3 cat /got
SECRET='in the environment' built --no-cache -f d.secret --secret id=s,env=SECRET -t m3 other
t d run --rm m3 cat /got
printf 'FROM busybox\nRUN --mount=type=ssh test -S $SSH_AUTH_SOCK && echo an agent > /got\n' > d.ssh
ssh-keygen -q -t ed25519 -N '' -f key
built --no-cache -f d.ssh --ssh default=key -t m4 other
t d run --rm m4 cat /got
printf 'FROM busybox\nCOPY --from=folder o /o\nFROM image\nCOPY --from=0 /o /copied\n' > d.named
built --no-cache -f d.named --build-context folder=other --build-context image=docker-image://busybox -t m5 ctx
t d run --rm m5 cat /copied
printf 'FROM busybox\nRUN echo to-stdout; exit 7\n' > d.fails
built -f d.fails ctx
built -f nowhere ctx
printf 'FROM busybox\nRUN nonsense\nFROM busybox\nMAINTAINER x\n' > d.odd
built --check -f d.odd ctx
d build --call=outline --target base ctx 2> log || cat log
d build --call=targets ctx 2> log || cat log

echo '# options'
built --platform linux/amd64 --label a=b --annotation c=d --network none --add-host h:10.0.0.9 --shm-size 32m --ulimit nofile=1024 --no-cache-filter base -t m6 ctx
t d inspect -f '{{index .Config.Labels "a"}}' m6
q d build --target base --iidfile id --build-arg SOURCE_DATE_EPOCH=1 ctx
q d inspect "$(cat id)"
built --metadata-file metadata -t m7 ctx
grep -oE '"(image.name|buildType|containerimage[a-z.]*|uri)"' metadata | sort -u

echo '# contexts'
printf 'FROM busybox\nRUN echo from stdin > /f\n' | built --no-cache -
tar -C ctx -cf - . | built -t m8 -
built -f - ctx < ctx/Dockerfile
built --no-cache -t m9 'http://127.0.0.1:5080/r.git#main'
t d run --rm m9 cat /g
printf 'FROM busybox\nADD http://127.0.0.1:5080/file /f\n' | built --no-cache -t m10 -
t d run --rm m10 cat /f

echo '# where it goes'
built --output type=local,dest=folder --target base ctx
t cat folder/hello
built --output type=tar,dest=file.tar --target base ctx
tar -xOf file.tar hello
built --output type=cacheonly --target base ctx
built --push -t 127.0.0.1:5000/m:1 ctx
q d rmi 127.0.0.1:5000/m:1
printf 'FROM 127.0.0.1:5000/m:1\nRUN cat /hello > /again\n' | built --pull --no-cache -t m11 -
t d run --rm m11 cat /again
built --cache-to type=inline --push -t 127.0.0.1:5000/m:2 ctx
built --cache-from type=registry,ref=127.0.0.1:5000/m:2 ctx
built --build-arg BUILDKIT_INLINE_CACHE=1 -t m12 ctx

echo '# several at once'
cat > docker-bake.hcl <<'D'
group "default" { targets = ["one", "two", "three"] }
target "one" {
  context = "ctx"
  target = "base"
  tags = ["bake1"]
}
target "two" {
  context = "other"
  contexts = { from = "target:one" }
  dockerfile-inline = "FROM from\nCOPY o /o\n"
  tags = ["bake2"]
}
target "three" {
  context = "ctx"
  tags = ["bake3"]
}
D
q d buildx bake
t d run --rm bake2 cat /hello /o
t d run --rm bake3
printf 'services:\n  one: {build: ctx, image: c1}\n  two: {build: {context: ctx, target: base}, image: c2, command: cat /hello}\n' > compose.yaml
q d compose -p matrix build
d compose -p matrix up --build > log 2>&1 || cat log
grep -E '^(one|two)-1 +\| ' log | sort
q d compose -p matrix down

echo '# given up in the middle'
printf 'FROM busybox\nRUN echo begun; %s\n' "$SLEEP" > d.long
# (as a terminal does it: the CLI and its plugin both get the signal, once: at the third the CLI drops everything)
setsid env --default-signal=INT setpriv --pdeathsig KILL "$DOCKER" build --no-cache -f d.long ctx > log 2>&1 &
building=$!
until_ok runs
kill -INT -- "-$building"
wait "$building"
echo "status $?"
until_ok ended

echo '# afterwards'
d buildx inspect | grep -E '^(Name|Driver|Status|Endpoint):'
