# Mounts by where they lead, privileges by name.
package docker.authz

default allow := false

allow if {
	not escalates
	not mounts_badly
}

escalates if input.Body.HostConfig.Privileged == true

escalates if input.Body.HostConfig.PidMode == "host"

escalates if count(input.Body.HostConfig.Devices) > 0

escalates if {
	some capability in input.Body.HostConfig.CapAdd
	not capability in ["NET_BIND_SERVICE"]
}

writable := {"/data"}

readable := {"/usr/share/zoneinfo"} | writable

mounts_badly if {
	some mount in input.BindMounts
	not mount.ReadOnly
	not under(writable, mount.Resolved)
}

mounts_badly if {
	some mount in input.BindMounts
	not under(readable, mount.Resolved)
}

under(folders, path) if {
	some folder in folders
	startswith(sprintf("%s/", [path]), sprintf("%s/", [folder]))
}
