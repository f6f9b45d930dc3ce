# e2e: cross=all namespace=28
# Networks: create, connect, aliases and DNS between containers, disconnect, remove.
. "$E2E_LIB/case.sh"
t d network create --subnet 10.99.0.0/24 --gateway 10.99.0.1 --label a=b n1
t d network create --internal n2
t d network ls --format '{{.Name}} {{.Driver}} {{.Scope}}'
t d network inspect n1
q d run -d --name c1 --network n1 --network-alias db --ip 10.99.0.7 busybox sleep 3000
t d run --rm --network n1 busybox sh -c 'ping -c 1 -W 30 db | head -n 1; ping -c 1 -W 30 c1 | grep -c "1 packets received"'
t d network connect --alias other n2 c1
t d network inspect -f '{{len .Containers}}' n1
t d network inspect -f '{{range .Containers}}{{.Name}}{{end}}' n2
t d inspect -f '{{range $k, $v := .NetworkSettings.Networks}}{{$k}} {{end}}' c1
t d network rm n1
t d network disconnect n2 c1
t d network disconnect n2 c1
t d network connect nosuch c1
t d network connect n1 nosuch
t d network create n1
t d network create --subnet bad n3
t d network inspect nosuch
q d rm -f c1
t d network rm n1
t d network prune -f
t d run --rm --network none busybox ip -o link
