# docker events: a closed window, and live.
. "$E2E_LIB/case.sh"
before=$(date +%s.%N)
q d run --rm --name c1 --label k=v busybox true
q d volume create v1
q d volume rm v1
q d network create n1
q d network rm n1
sleep 0.1
after=$(date +%s.%N)
t d events --since "$before" --until "$after" --filter label=k=v --format '{{.Type}} {{.Action}} {{.Actor.Attributes.name}}' | sed "s/$before/T/; s/$after/T/"
t d events --since "$before" --until "$after" --filter type=volume --filter type=network --format '{{.Type}} {{.Action}}' | sed "s/$before/T/; s/$after/T/"
# live: what happens is seen while the stream is open
timeout 30 "$DOCKER" events --filter type=volume --format '{{.Type}} {{.Action}} {{.Actor.ID}}' > live &
e=$!
for _ in $(seq 1 50); do
    q d volume create live
    q d volume rm live
    grep -q destroy live && break
done
grep -qE '^volume (create|destroy) live$' live && echo 'arrived while streaming'
kill "$e"
wait "$e" 2> /dev/null
echo ended
