package cluster

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/dragonfly-kube/dragonfly/tests/process"
)

// Config of a cluster.
type Config struct {
	Plan
	// Bin is the folder of the programs.
	Bin string
	// Dir is for the shared files: the cluster secret and an empty configuration.
	Dir string
	// Logs is the folder for the programs' logs, one file for each.
	Logs string
	// Registry is the URL that the dfdaemons mirror.
	Registry string
}

// Cluster is one supernode and some dfdaemons, each a process.
type Cluster struct {
	Config
	// Processes has the supernode first, then the dfdaemons in the order of the plan.
	Processes []*process.Process
	specs     []process.Spec // of Processes
}

// Start starts everything and waits until it is ready. When that fails, all that was started is stopped.
func Start(ctx context.Context, cfg Config) (*Cluster, error) {
	c := &Cluster{Config: cfg}
	if err := c.start(ctx); err != nil {
		c.Stop()
		return nil, err
	}
	return c, nil
}

func (c *Cluster) start(ctx context.Context) error {
	common, err := c.commonArgs()
	if err != nil {
		return err
	}
	err = c.run(c.Supernode, "supernode", slices.Concat(common, []string{
		"--data-dir", c.Supernode.Dir,
		"--register-addr", c.Supernode.Admin, "--download-addr", c.Supernode.Pieces, "--advertise-addr", c.Supernode.Host,
	}, c.Supernode.Args))
	if err != nil {
		return err
	}
	if err := c.Processes[0].Ready(ctx, "http://"+c.Supernode.Admin+"/readyz"); err != nil {
		return err
	}
	for _, n := range c.Nodes {
		_, port, _ := net.SplitHostPort(n.Mirror)
		args := []string{
			"--data-dir", n.Dir, "--registry", c.Registry, "--supernode", c.Supernode.Admin,
			"--bind", n.Host, "--port", port, "--peer-addr", n.Peer, "--admin-addr", n.Admin, "--advertise-addr", n.Host,
			"--socket", filepath.Join(n.Dir, "dfdaemon.sock"),
		}
		if err := c.run(n, "dfdaemon", slices.Concat(common, args, n.Args)); err != nil {
			return err
		}
	}
	for i, n := range c.Nodes {
		if err := c.Processes[i+1].Ready(ctx, "http://"+n.Admin+"/readyz"); err != nil {
			return err
		}
	}
	return nil
}

// commonArgs makes the files that all programs share and returns the arguments that name them.
func (c *Cluster) commonArgs() ([]string, error) {
	secret, empty := filepath.Join(c.Dir, "secret"), filepath.Join(c.Dir, "empty.yaml")
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails
	if err := os.WriteFile(secret, []byte(hex.EncodeToString(key)), 0o600); err != nil {
		return nil, fmt.Errorf("write the cluster secret: %w", err)
	}
	if err := os.WriteFile(empty, nil, 0o600); err != nil { // keeps this machine's own configuration out
		return nil, fmt.Errorf("write an empty configuration: %w", err)
	}
	return []string{"--config", empty, "--secret-file", secret}, nil
}

func (c *Cluster) run(n Node, program string, args []string) error {
	if err := os.MkdirAll(n.Dir, 0o755); err != nil {
		return fmt.Errorf("start %s: %w", n.Name, err)
	}
	spec := process.Spec{
		Name: n.Name, Program: filepath.Join(c.Bin, program), Args: args, Log: filepath.Join(c.Logs, filepath.Base(n.Dir)+".log"), Unset: []string{"DRAGONFLY_"},
	}
	if len(n.Via) > 0 {
		spec.Program, spec.Args = n.Via[0], slices.Concat(n.Via[1:], []string{spec.Program}, args)
	}
	p, err := process.Start(spec)
	if err != nil {
		return err
	}
	c.Processes, c.specs = append(c.Processes, p), append(c.specs, spec)
	return nil
}

// Restart starts the i-th dfdaemon again, whose process has ended, and waits until it is ready.
func (c *Cluster) Restart(ctx context.Context, i int) error {
	p, err := process.Start(c.specs[i+1])
	if err != nil {
		return err
	}
	c.Processes[i+1] = p
	return p.Ready(ctx, "http://"+c.Nodes[i].Admin+"/readyz")
}

// Watch cancels with the reason when a process ends by itself before ctx does.
func (c *Cluster) Watch(ctx context.Context, cancel context.CancelCauseFunc) {
	for _, p := range c.Processes {
		go func() {
			select {
			case <-ctx.Done():
			case <-p.Ended():
				if ctx.Err() == nil {
					cancel(p.Died())
				}
			}
		}()
	}
}

// Stop ends all processes: the dfdaemons at once, then the supernode.
func (c *Cluster) Stop() {
	if len(c.Processes) == 0 {
		return
	}
	var wg sync.WaitGroup
	for _, p := range c.Processes[1:] {
		wg.Go(p.Stop)
	}
	wg.Wait()
	c.Processes[0].Stop()
}
