# Every container carries the office of whoever made it, whatever its maker wrote there. The office is a
# group such as `office-berlin`; who is in none may look, but make no containers.
package dockgate

import rego.v1

default allow := false

allow if input.operation != "ContainerCreate"

allow if office

office := trim_prefix(group, "office-") if {
	some group in input.groups
	startswith(group, "office-")
}

labels := object.get(input.Body, "Labels", {})

patch := [{
	"op": "add",
	"path": "/Labels",
	"value": object.union(labels, {"com.example.office": office}),
}] if input.operation == "ContainerCreate"
