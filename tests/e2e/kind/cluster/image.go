package cluster

import (
	"context"
	"fmt"
	"strings"
)

// ForgetImage removes an image from the store of a node, under all its names. What Dragonfly holds of it stays.
func (c *Cluster) ForgetImage(ctx context.Context, node, digest string) error {
	const namespace = "--namespace=k8s.io"
	list, err := c.Exec(ctx, node, "ctr", namespace, "images", "list")
	if err != nil {
		return fmt.Errorf("forget image %s: %w", digest, err)
	}
	args := []string{"ctr", namespace, "images", "remove", "--sync"}
	found := len(args)
	for line := range strings.Lines(list) {
		if fields := strings.Fields(line); len(fields) > 2 && fields[2] == digest {
			args = append(args, fields[0])
		}
	}
	if len(args) == found {
		return fmt.Errorf("forget image %s: node %s does not have it", digest, node)
	}
	_, err = c.Exec(ctx, node, args...)
	return err
}

// TagImage gives an image that a node has another name.
func (c *Cluster) TagImage(ctx context.Context, node, name, other string) error {
	_, err := c.Exec(ctx, node, "ctr", "--namespace=k8s.io", "images", "tag", "--force", name, other)
	return err
}
