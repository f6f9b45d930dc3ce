# e2e: cross=all
# export and import: raw tars.
. "$E2E_LIB/case.sh"
q d run --name c1 busybox sh -c 'echo kept > /kept'
d export c1 > c.tar; echo "status $?"
tar -xOf c.tar kept
t d import -m imported -c 'CMD ["cat", "/kept"]' c.tar i1:x
t d run --rm i1:x
d export c1 | d import - i2 | cut -c1-7; echo "${PIPESTATUS[*]}"
t d run --rm i2 cat /kept
t d export nosuch
echo bad | t d import - i3
t d history --format '{{.Comment}}' i1:x
q d rm c1
