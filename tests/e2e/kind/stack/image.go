package stack

import (
	"context"
	"os"
	"slices"
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

// images of the nodes, the control plane's first.
func (s *Stack) images(ctx context.Context) ([]string, error) {
	var images []string
	of := map[nodeimage.Flavour]string{}
	for _, f := range flavours(s.options) {
		if of[f] == "" {
			image, err := s.image(ctx, f)
			if err != nil {
				return nil, err
			}
			of[f] = image
		}
		images = append(images, of[f])
	}
	return images, nil
}

// flavours of the nodes, the control plane's first.
func flavours(o Options) []nodeimage.Flavour {
	nodes := o.Workers + 1
	if o.Flavour != Mixed {
		return slices.Repeat([]nodeimage.Flavour{o.Flavour}, nodes)
	}
	ones := slices.Repeat([]nodeimage.Flavour{nodeimage.Containerd1}, (nodes+1)/2)
	return append(ones, slices.Repeat([]nodeimage.Flavour{nodeimage.Containerd2}, nodes/2)...)
}

// image is the one of KIND_NODE_IMAGE, else kind's own where that can be pulled, else one that is built here. kind's own has containerd 2.
func (s *Stack) image(ctx context.Context, f nodeimage.Flavour) (string, error) {
	if image := os.Getenv(imageVariable); image != "" {
		return image, nil
	}
	b := &nodeimage.Builder{Root: s.options.Root, Cache: s.cache, Engine: s.Engine}
	if f == nodeimage.Containerd1 {
		return b.Build(ctx, f)
	}
	stock := defaults.Image
	if s.options.Flavour == Mixed {
		// A kubelet must not be newer than the API server that it talks to.
		version, err := b.Version(ctx)
		if err != nil {
			return "", err
		}
		stock = "kindest/node:" + version
	}
	if pullable(ctx, stock) {
		_, err := s.Engine.Docker(ctx, command.Command{Args: []string{"pull", "--quiet", stock}, Limit: pullLimit})
		if err == nil {
			return stock, nil
		}
		s.options.Log.Warn("kind's node image cannot be pulled; building one", "error", err)
	}
	return b.Build(ctx, f)
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
