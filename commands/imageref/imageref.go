// Package imageref writes image references as listings show them.
package imageref

import "github.com/distribution/reference"

// Short gives an image's familiar name and tag without the digest. What has no
// tag or does not parse is left as it is.
func Short(image string) string {
	ref, err := reference.ParseNormalizedNamed(image)
	if err != nil {
		return image
	}
	tagged, ok := ref.(reference.NamedTagged)
	if !ok {
		return image
	}
	short, err := reference.WithTag(reference.TrimNamed(tagged), tagged.Tag())
	if err != nil {
		return image
	}
	return reference.FamiliarString(short)
}
