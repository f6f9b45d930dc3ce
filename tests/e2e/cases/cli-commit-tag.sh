# e2e: cross=all namespace=20.10,28
# commit, tag, rmi, image list and prune.
. "$E2E_LIB/case.sh"
q d run --name c1 busybox sh -c 'echo new > /new'
t d commit -m message -a author -c 'CMD ["cat", "/new"]' -c 'ENV Z=26' c1 m1:v1
t d run --rm m1:v1
t d inspect -f '{{.Comment}} {{.Author}} {{.Config.Env}} {{.Config.Cmd}}' m1:v1
t d tag m1:v1 host.example/team/app:2
t d images --format '{{.Repository}}:{{.Tag}}' | sort
t d images --filter reference='host*/*/*' --format '{{.Repository}}:{{.Tag}}'
t d rmi m1:v1
t d rmi host.example/team/app:2
t d rmi nosuch:v9
t d tag nosuch x
t d tag busybox 'BAD NAME'
t d commit nosuch
q d tag busybox used
q d create --name c2 used true
t d rmi used
q d rm c1 c2
t d image prune -f
