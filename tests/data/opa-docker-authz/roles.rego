# As people write them for opa-docker-authz, in its older language: who may write, by a header.
package docker.authz

default allow = false

allow {
	not forbidden
	permitted
}

permitted {
	input.Method == "GET"
	account
}

permitted {
	input.Method != "GET"
	account.writes == true
}

account = accounts[input.Headers["Authz-User"]]

accounts = {
	"ann": {"writes": true},
	"ben": {"writes": false},
}

forbidden {
	regex.match("^/v[0-9.]+/containers/create", input.Path)
	input.Body.HostConfig.SecurityOpt[_] == "seccomp=unconfined"
}

forbidden {
	regex.match("^/v[0-9.]+/containers/create", input.Path)
	input.Body.Labels["tier"] == "prod"
	input.Body.HostConfig.NetworkMode != "prod"
}
