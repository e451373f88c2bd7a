// Command dfdaemon is the node's part of a Dragonfly cluster.
package main

import (
	"os"

	"github.com/dragonfly-kube/dragonfly/cmd/internal/program"
	"github.com/dragonfly-kube/dragonfly/components/dfdaemon"
)

func main() { os.Exit(program.Main(dfdaemon.NewCommand())) }
