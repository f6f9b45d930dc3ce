# Ten rules, none of which refuses what the benchmark asks for.
package dockgate

default allow := false

allow if count(deny) == 0

making if {
	input.Method == "POST"
	input.PathArr[2] == "containers"
	input.PathArr[3] == "create"
}

deny contains "privileged containers are not allowed" if {
	making
	input.Body.HostConfig.Privileged == true
}

deny contains "the network of the host is not allowed" if {
	making
	input.Body.HostConfig.NetworkMode == "host"
}

deny contains "processes of the host are not allowed" if {
	making
	input.Body.HostConfig.PidMode == "host"
}

deny contains "memory of the host is not allowed" if {
	making
	input.Body.HostConfig.IpcMode == "host"
}

deny contains msg if {
	making
	some capability in input.Body.HostConfig.CapAdd
	not capability in {"NET_BIND_SERVICE", "CHOWN"}
	msg := sprintf("capability %v is not allowed", [capability])
}

deny contains msg if {
	making
	some bind in input.BindMounts
	not bind.ReadOnly
	msg := sprintf("%v must be read-only", [bind.Source])
}

deny contains msg if {
	making
	some prefix in ["evil.example/", "registry.invalid/"]
	startswith(input.Body.Image, prefix)
	msg := sprintf("image %v is not allowed", [input.Body.Image])
}

deny contains "seccomp must stay on" if {
	making
	some option in input.Body.HostConfig.SecurityOpt
	startswith(option, "seccomp")
}

deny contains "devices are not allowed" if {
	making
	count(input.Body.HostConfig.Devices) > 0
}

deny contains "an owner must be named" if {
	making
	input.User == "mallory"
	not input.Body.Labels.owner
}
