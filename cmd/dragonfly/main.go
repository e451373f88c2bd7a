// Command dragonfly is dfdaemon, dfget and dfctl in one file, for the image of the nodes: it is the one whose name it is called by.
// Three programs that share most of their code take less than half the space so: make e2e-images RUN=Checkouts prints the sizes.
package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/dragonfly-kube/dragonfly/cmd/internal/program"
	"github.com/dragonfly-kube/dragonfly/components/dfdaemon"
	"github.com/dragonfly-kube/dragonfly/components/dfget"
	"github.com/dragonfly-kube/dragonfly/dfctl/app"
)

func main() {
	cmd := command(filepath.Base(os.Args[0]))
	if cmd == nil {
		fmt.Fprintf(os.Stderr, "%s: call this by a link with the name dfdaemon, dfget or dfctl\n", os.Args[0])
		os.Exit(2)
	}
	os.Exit(program.Main(cmd))
}

// command is the program of that name, or nil.
func command(name string) *cobra.Command {
	switch name {
	case "dfdaemon":
		return dfdaemon.NewCommand()
	case "dfget":
		return dfget.NewCommand()
	case "dfctl":
		return app.NewCommand(os.Stdout, os.Stderr)
	}
	return nil
}
