# e2e: cross=all
# system df and prune.
. "$E2E_LIB/case.sh"
q d create --name c1 busybox
q d volume create v1
t d system df | tr -s ' '
t d system df -v | tr -s ' '
t d system prune -f --volumes
t d builder prune -f
t d search --limit 1 --filter nosuch=1 x
t d logout
t d context ls --format '{{.Name}}'
