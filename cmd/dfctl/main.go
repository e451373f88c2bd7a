// Command dfctl looks after a Dragonfly cluster.
package main

import (
	"os"

	"github.com/dragonfly-kube/dragonfly/cmd/internal/program"
	"github.com/dragonfly-kube/dragonfly/dfctl/app"
)

func main() { os.Exit(program.Main(app.NewCommand(os.Stdout, os.Stderr))) }
