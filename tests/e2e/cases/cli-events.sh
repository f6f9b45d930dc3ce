# e2e: namespace=20.10,28
# docker events: a closed window, and live.
. "$E2E_LIB/case.sh"
before=$(date +%s.%N)
q d run --rm --name c1 --label k=v busybox true
q d volume create v1
q d volume rm v1
q d network create n1
q d network rm n1
# the CLI knows that the container is gone a little before the engine says so
until_ok eval 'd events --since "$before" --until "$(date +%s.%N)" --filter event=destroy --format "{{.Type}}" | grep -q container'
after=$(date +%s.%N)
t d events --since "$before" --until "$after" --filter label=k=v --format '{{.Type}} {{.Action}} {{.Actor.Attributes.name}}' > window
sed "s/$before/T/; s/$after/T/" window | grep -v 'container attach'
# (of the attach the engine says when it has answered: the client may have asked for the start by then)
grep 'container attach' window
t d events --since "$before" --until "$after" --filter type=volume --filter type=network --format '{{.Type}} {{.Action}}' | sed "s/$before/T/; s/$after/T/"
# live: what happens is seen while the stream is open
timeout 300 "$DOCKER" events --filter type=volume --format '{{.Type}} {{.Action}} {{.Actor.ID}}' > live &
e=$!
happens() { d volume create live && d volume rm live && grep -q destroy live; }
until_ok happens
grep -qE '^volume (create|destroy) live$' live && echo 'arrived while streaming'
kill "$e"
wait "$e" 2> /dev/null
echo ended
