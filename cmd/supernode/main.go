// Command supernode is the middle of a Dragonfly cluster.
package main

import (
	"os"

	"github.com/dragonfly-kube/dragonfly/cmd/internal/program"
	"github.com/dragonfly-kube/dragonfly/components/supernode"
)

func main() { os.Exit(program.Main(supernode.NewCommand())) }
