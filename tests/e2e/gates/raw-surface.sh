# e2e: tier=all engines=20.10,28 timeout=900
# Every public method of a client library, directly and on `conservative`: what differs is in surface/expected, with its reason.
. "$E2E_LIB/gate.sh"
surface=$E2E_LIB/../surface
gate surface << X
[[listener]]
name = "surface"
url = "unix://$E2E_TMP/surface.sock"
policies = ["conservative"]
X
for library in dockerode docker-py; do
    case $library in dockerode) run=(node "$surface/dockerode.mjs") ;; *) run=("$E2E_PYTHON" "$surface/docker-py.py") ;; esac
    for way in direct gate; do
        sock=$E2E_SOCK
        [ "$way" = direct ] || sock=$E2E_TMP/surface.sock
        DOCKER_HOST=unix://$sock works - timeout 300 "${run[@]}"
        cp "$E2E_TMP/.out" "$library.$way"
    done
    lines "$library.direct" ' not-called ' 0 || { grep ' not-called ' "$library.direct"; bad "a method of $library is not called"; }
    # NAME of what is refused here and not there in the same way, and by which rule
    diff "$library.direct" "$library.gate" | sed -n 's/^> //p' | sort -u > "$library.differs"
    while read -r name _ rule; do
        grep -qE "^$library[[:space:]]+$name[[:space:]]+$rule[[:space:]]" "$surface/expected" && continue
        grep -qE "^\*[[:space:]]+\*[[:space:]]+$rule[[:space:]]" "$surface/expected" && continue
        grep -F "$name " "$library.direct" "$library.gate"
        bad "$library: $name differs ($rule)"
    done < "$library.differs"
    works - test -s "$library.differs"
done
