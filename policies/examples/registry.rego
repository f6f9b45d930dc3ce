# Containers only from images of our own registry, or of the official ones that are listed here.
package dockgate

allow := true

registry := "registry.example.com/"

official := {"alpine", "busybox", "debian", "postgres", "redis"}

deny contains msg if {
	input.operation == "ContainerCreate"
	not ours(input.Body.Image)
	msg := sprintf("image %v is not from %v", [object.get(input.Body, "Image", "(none)"), registry])
}

# What is pulled, tagged or not.
deny contains msg if {
	input.operation == "ImageCreate"
	not ours(input.Query.fromImage[0])
	msg := sprintf("images are pulled from %v only", [registry])
}

ours(image) if startswith(image, registry)

ours(image) if {
	# Docker Hub's official images have names without a slash. Cuts off digest and tag.
	name := split(split(image, "@")[0], ":")[0]
	official[name]
}
