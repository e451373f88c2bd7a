// Command dfget downloads a file through the swarm.
package main

import (
	"os"

	"github.com/dragonfly-kube/dragonfly/cmd/internal/program"
	"github.com/dragonfly-kube/dragonfly/components/dfget"
)

func main() { os.Exit(program.Main(dfget.NewCommand())) }
