//go:build node

package app

import (
	"github.com/spf13/cobra"

	"github.com/dragonfly-kube/dragonfly/dfctl/cli"
)

func forClusters(cli.Streams) []*cobra.Command { return nil }
