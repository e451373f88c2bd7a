package access

import (
	"encoding/json"
	"strings"

	"github.com/opencontainers/go-digest"
)

// maxReferences bounds what one manifest puts into a Book, so that none can push out everybody else's proofs. Images have at most 127
// layers, indexes a few dozen manifests.
const maxReferences = 512

type descriptor struct {
	MediaType string        `json:"mediaType"`
	Digest    digest.Digest `json:"digest"`
	URLs      []string      `json:"urls"`
}

type manifest struct {
	MediaType string       `json:"mediaType"`
	Config    *descriptor  `json:"config"`
	Layers    []descriptor `json:"layers"`
	Manifests []descriptor `json:"manifests"`
	FSLayers  []struct {
		BlobSum digest.Digest `json:"blobSum"`
	} `json:"fsLayers"` // Docker schema 1
}

// References lists the blobs whose presence in the repository a registry checks before it takes the manifest: whoever may read the
// manifest may read these. Left out is what need not exist, since anybody could name any digest there: a subject, foreign layers, whose
// bytes are elsewhere, and the manifests of an index, which may be sparse.
func References(body []byte) []digest.Digest {
	var m manifest
	if json.Unmarshal(body, &m) != nil {
		return nil
	}
	all := m.Layers
	if m.Config != nil {
		all = append(all, *m.Config)
	}
	for _, l := range m.FSLayers {
		all = append(all, descriptor{Digest: l.BlobSum})
	}
	var out []digest.Digest
	for _, d := range all {
		foreign := len(d.URLs) > 0 || strings.Contains(d.MediaType, "foreign") || strings.Contains(d.MediaType, "nondistributable")
		if foreign || d.Digest.Validate() != nil {
			continue
		}
		if out = append(out, d.Digest); len(out) == maxReferences {
			break
		}
	}
	return out
}

// MediaType tells what a manifest says it is, or what it must be from its fields; "" if it is none.
func MediaType(body []byte) string {
	var m manifest
	if json.Unmarshal(body, &m) != nil {
		return ""
	}
	switch {
	case m.MediaType != "":
		return m.MediaType
	case m.Manifests != nil:
		return "application/vnd.oci.image.index.v1+json"
	case m.Config != nil:
		return "application/vnd.oci.image.manifest.v1+json"
	case m.FSLayers != nil:
		return "application/vnd.docker.distribution.manifest.v1+prettyjws"
	}
	return ""
}
