// Package images builds Dragonfly's own images for the nodes of a cluster.
package images

import (
	"context"
	"fmt"
	"path/filepath"
	"runtime"
	"time"

	"github.com/dragonfly-kube/dragonfly/tests/e2e/kind/command"
)

// limit for compiling all programs on two busy cores.
const limit = 20 * time.Minute

// Build builds the images from the sources in root, named as the chart names them, and returns their archives.
func Build(ctx context.Context, root, dir, tag string) ([]string, error) {
	platform := "linux-" + runtime.GOARCH
	build := command.New("go", "run", "./components/images", "-version", tag, "-tag", tag, "-platforms", "linux/"+runtime.GOARCH, "-out", dir)
	build.Dir, build.Limit, build.Env = root, limit, []string{"SOURCE_DATE_EPOCH=0"}
	if _, err := build.Run(ctx); err != nil {
		return nil, fmt.Errorf("build our images: %w", err)
	}
	return []string{filepath.Join(dir, "supernode-"+platform+".tar"), filepath.Join(dir, "dfdaemon-"+platform+".tar")}, nil
}
