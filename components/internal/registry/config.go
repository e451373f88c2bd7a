package registry

import (
	"errors"
	"fmt"
	"path"
	"time"

	"github.com/dragonfly-kube/dragonfly/components/internal/registry/upstream"
)

// Config of a Mirror. A zero field means its default.
type Config struct {
	// Upstreams says which registries there are.
	Upstreams upstream.Config
	// StaleTags lists, as patterns of path.Match, the tags that may be answered with the last digest seen while the origin cannot be
	// reached. "*" is every tag but latest, which has to be listed by its name. Default none.
	StaleTags []string
	// ForwardCredentials says that every supernode is reached over TLS or loopback, so that a request's credentials may go there.
	// Otherwise a task that needs them is private: a host that has them reads the origin.
	ForwardCredentials bool
	// CheckEveryBlob asks the origin about each blob and credential, instead of taking a manifest that the credential could read in the
	// same repository as proof for what it lists. For registries that take manifests without checking that their blobs exist.
	CheckEveryBlob bool
	// ProofTTL is how long the origin's word about a credential holds. Default 5 minutes.
	ProofTTL time.Duration
	// MaxProofs bounds the proofs remembered, about 200 bytes each. Default 16,384.
	MaxProofs int
	// MaxManifest is the largest manifest that is held in memory, in bytes; larger ones stream through. Default 4 MiB, what
	// registries have to take by the OCI distribution specification.
	MaxManifest int64
	// MaxRequests bounds requests under way; more get 503. Default 512: 64 layers at once, eight ranges each.
	MaxRequests int
}

func (c Config) withDefaults() Config {
	if c.ProofTTL == 0 {
		c.ProofTTL = 5 * time.Minute
	}
	if c.MaxProofs == 0 {
		c.MaxProofs = 16384
	}
	if c.MaxManifest == 0 {
		c.MaxManifest = 4 << 20
	}
	if c.MaxRequests == 0 {
		c.MaxRequests = 512
	}
	return c
}

// Validate says what in c can't work.
func (c Config) Validate() error {
	c = c.withDefaults()
	var errs []error
	if c.ProofTTL < 0 || c.MaxProofs < 0 || c.MaxManifest < 0 || c.MaxRequests < 0 {
		errs = append(errs, fmt.Errorf("mirror: proof TTL %v, proofs %d, manifest bytes %d, requests %d: want all above zero",
			c.ProofTTL, c.MaxProofs, c.MaxManifest, c.MaxRequests))
	}
	for _, pattern := range c.StaleTags {
		if _, err := path.Match(pattern, ""); err != nil {
			errs = append(errs, fmt.Errorf("mirror: stale tags %q: %w", pattern, err))
		}
	}
	if _, err := upstream.New(c.Upstreams); err != nil {
		errs = append(errs, fmt.Errorf("mirror: %w", err))
	}
	return errors.Join(errs...)
}

// mayBeStale reports whether a tag may be answered from memory.
func (c Config) mayBeStale(tag string) bool {
	for _, pattern := range c.StaleTags {
		if pattern == tag {
			return true
		}
		if ok, _ := path.Match(pattern, tag); ok && tag != "latest" {
			return true
		}
	}
	return false
}
