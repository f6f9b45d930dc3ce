# Today's language: images by their source, paths by glob.
package docker.authz

import rego.v1

default allow := false

sources := ["ghcr.io/ours/", "docker.io/library/"]

making if {
	input.Method == "POST"
	glob.match("/**/containers/create", ["/"], input.PathPlain)
}

pulling if {
	input.Method == "POST"
	input.PathArr[2] == "images"
	input.PathArr[3] == "create"
}

allow if not writing

allow if {
	making
	strings.any_prefix_match(input.Body.Image, sources)
}

allow if {
	pulling
	some image in input.Query.fromImage
	strings.any_prefix_match(image, sources)
}

writing if input.Method in {"POST", "PUT", "DELETE"}
