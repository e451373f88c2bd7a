package system

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"

	"github.com/dragonfly-kube/dragonfly/tests/bench/origin"
	"github.com/dragonfly-kube/dragonfly/tests/process"
)

// cacheConfiguration of docker-registry: https://distribution.github.io/distribution/recipes/mirror/.
const cacheConfiguration = `version: 0.1
log: {level: error, accesslog: {disabled: true}}
storage:
  filesystem: {rootdirectory: %q}
http: {addr: %q}
proxy: {remoteurl: %q}
`

// cache is docker-registry as a pull-through cache on the center; every node asks it.
type cache struct {
	Site
	pullers
	addr string
	proc *process.Process
}

func (c *cache) Start(ctx context.Context, blobs []origin.Blob) error {
	c.pullers = newPullers(c.Site, blobs)
	program, err := exec.LookPath("docker-registry")
	if err != nil {
		return Missing("docker-registry")
	}
	if err := os.MkdirAll(c.Dir, 0o755); err != nil {
		return err
	}
	c.addr = fmt.Sprintf("%s:%d", c.Net.Addr(c.Center), origin.Port)
	config := filepath.Join(c.Dir, "cache.yml")
	text := fmt.Appendf(nil, cacheConfiguration, filepath.Join(c.Dir, "cache"), c.addr, c.Origin.URL())
	if err := os.WriteFile(config, text, 0o600); err != nil {
		return fmt.Errorf("start the cache: %w", err)
	}
	args := append(slices.Clone(c.Net.Via(c.Center)), program, "serve", config)
	c.proc, err = process.Start(process.Spec{
		Name: "the cache", Program: args[0], Args: args[1:], Log: filepath.Join(c.Logs, "cache.log"), Unset: []string{"REGISTRY_", "OTEL_", "http", "HTTP"},
	})
	if err != nil {
		return err
	}
	return c.proc.Ready(ctx, "http://"+c.addr+"/v2/")
}

func (c *cache) Pull(ctx context.Context, i int) error { return c.pull(ctx, i, "http://"+c.addr) }

func (c *cache) Cost(context.Context) (Cost, error) {
	return Cost{Seed: -1, Peers: -1, Wasted: -1, Processes: []int{c.proc.PID()}}, nil
}

func (c *cache) Stop() {
	c.close()
	if c.proc != nil {
		c.proc.Stop()
	}
}

// ErrMissing says that a program that the system needs is not installed.
var ErrMissing = errors.New("not installed")

// Missing is ErrMissing with the Debian package that has the program.
func Missing(pkg string) error { return fmt.Errorf("%w: apt-get install %s", ErrMissing, pkg) }
