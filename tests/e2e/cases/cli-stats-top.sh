# e2e: cross=all
# stats, once and streamed, and top.
. "$E2E_LIB/case.sh"
q d run -d --name c1 --memory 64m busybox sleep 3000
until_ok eval 'd top c1 -o comm | grep -q sleep' # not runc any more
t d stats --no-stream --format '{{.Name}} {{.PIDs}}' c1
"$DOCKER" stats --format '{{.Name}}' c1 > s 2> /dev/null &
s=$!
disown "$s"
until_ok awk '/c1/ {n++} END {exit n < 2}' s && echo 'more than one sample'
kill -KILL "$s" # CLI 28 does not end on TERM here
t d top c1 -o comm
t d top c1 -o pid,nosuch
t d top nosuch
t d stats --no-stream nosuch
q d rm -f c1
