# What the CLI shows of an engine and of a container that has not run.
. "$E2E_LIB/case.sh"
t d version
t d info | sed '/Runtimes:/d' # in random order
t d ps -a
t d images
q d create --name c1 --label a=b -e X=1 -p 8080 -v /data --memory 64m --workdir /tmp busybox echo hi
t d ps -a
t d inspect c1
t d inspect --size -f '{{.State.Status}} {{.SizeRootFs}}' c1
t d image inspect busybox
t d history busybox
t d port c1
t d diff c1
t d rm c1
