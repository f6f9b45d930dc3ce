# Directories of the host only below /srv/shared, and only to be read. Where a path really leads counts,
# not how it is written. Of mounts that `conservative` refuses this says nothing: put it behind this one.
package dockgate

allow := true

deny contains msg if {
	some bind in input.BindMounts
	not below(bind.Resolved, "/srv/shared")
	msg := sprintf("%v is not below /srv/shared", [bind.Source])
}

deny contains msg if {
	some bind in input.BindMounts
	not bind.ReadOnly
	msg := sprintf("%v must be mounted read-only", [bind.Source])
}

below(path, folder) if path == folder

below(path, folder) if startswith(path, concat("", [folder, "/"]))
