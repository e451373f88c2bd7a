//go:build !node

package app

import (
	"github.com/spf13/cobra"

	"github.com/dragonfly-kube/dragonfly/dfctl/cli"
	"github.com/dragonfly-kube/dragonfly/dfctl/render"
)

// forClusters are the commands that the program in the images does without: they link Helm and kustomize.
func forClusters(streams cli.Streams) []*cobra.Command {
	return []*cobra.Command{render.NewCommand(streams)}
}
