package stack

import (
	"context"
	"os"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"sigs.k8s.io/kind/pkg/apis/config/defaults"

	"github.com/dragonfly-kube/dragonfly/tests/e2e/kind/command"
	"github.com/dragonfly-kube/dragonfly/tests/e2e/kind/nodeimage"
)

const (
	// imageVariable names the node image to use.
	imageVariable = "KIND_NODE_IMAGE"
	// askLimit is for the question whether kind's own image can be had.
	askLimit  = 10 * time.Second
	pullLimit = 10 * time.Minute
)

// image is the one of KIND_NODE_IMAGE, else kind's own where that can be pulled, else one that is built here. kind's own has containerd 2.
func (s *Stack) image(ctx context.Context) (string, error) {
	if image := os.Getenv(imageVariable); image != "" {
		return image, nil
	}
	if s.options.Flavour == nodeimage.Containerd2 && pullable(ctx, defaults.Image) {
		_, err := s.Engine.Docker(ctx, command.Command{Args: []string{"pull", "--quiet", defaults.Image}, Limit: pullLimit})
		if err == nil {
			return defaults.Image, nil
		}
		s.options.Log.Warn("kind's node image cannot be pulled; building one", "error", err)
	}
	b := &nodeimage.Builder{Root: s.options.Root, Cache: s.cache, Engine: s.Engine}
	return b.Build(ctx, s.options.Flavour)
}

func pullable(ctx context.Context, image string) bool {
	ctx, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()
	ref, err := name.ParseReference(image)
	if err != nil {
		return false
	}
	_, err = remote.Head(ref, remote.WithContext(ctx), remote.WithRetryStatusCodes())
	return err == nil
}
