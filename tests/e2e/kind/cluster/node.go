package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	"sigs.k8s.io/kind/pkg/log"

	"github.com/dragonfly-kube/dragonfly/tests/e2e/kind/command"
)

// Exec runs a program on a node and returns its standard output.
func (c *Cluster) Exec(ctx context.Context, node string, args ...string) (string, error) {
	return c.Engine.Docker(ctx, command.Command{Args: append([]string{"exec", node}, args...)})
}

// WriteFile writes a file on a node, and its folders.
func (c *Cluster) WriteFile(ctx context.Context, node, path, content string) error {
	_, err := c.Engine.Docker(ctx, command.Command{
		Args:  []string{"exec", "--interactive", node, "sh", "-c", `mkdir -p "$(dirname "$0")" && cat >"$0"`, path},
		Stdin: strings.NewReader(content),
	})
	return err
}

// Load puts the images of an archive, as docker save writes it, into the stores of nodes.
func (c *Cluster) Load(ctx context.Context, archive string, nodes ...string) error {
	group, ctx := errgroup.WithContext(ctx)
	for _, node := range nodes {
		group.Go(func() error {
			f, err := os.Open(archive)
			if err != nil {
				return fmt.Errorf("load images: %w", err)
			}
			defer f.Close()
			_, err = c.Engine.Docker(ctx, command.Command{
				Args: []string{
					"exec", "--interactive", node, "ctr", "--namespace=k8s.io", "images", "import", "--all-platforms", "--digests",
					"--snapshotter=overlayfs", "-",
				},
				Stdin: f,
			})
			return err
		})
	}
	return group.Wait()
}

// Gateway is this machine's address in the nodes' network.
func (c *Cluster) Gateway(ctx context.Context) (string, error) {
	const network = "kind"
	out, err := c.Engine.Docker(ctx, command.New("", "network", "inspect", "--format", "{{range .IPAM.Config}}{{.Gateway}} {{end}}", network))
	if err != nil {
		return "", err
	}
	for gateway := range strings.FieldsSeq(out) {
		if strings.Contains(gateway, ".") {
			return gateway, nil
		}
	}
	return "", fmt.Errorf("the Docker network %s has no IPv4 gateway: %q", network, out)
}

// CollectLogs writes what nodes and pods say, and what the API server knows, into a folder.
func (c *Cluster) CollectLogs(ctx context.Context, dir string) error {
	err := c.provider.CollectLogs(c.Name, dir)
	for file, args := range map[string][]string{
		"objects.txt": {"get", "nodes,all,endpointslices", "--all-namespaces", "--output=wide"},
		"events.txt":  {"get", "events", "--all-namespaces", "--sort-by=.lastTimestamp"},
		"pods.txt":    {"describe", "pods", "--all-namespaces"},
	} {
		out, kubectlErr := c.Kubectl(ctx, args...)
		err = errors.Join(err, kubectlErr, os.WriteFile(dir+"/"+file, []byte(out), 0o600))
	}
	return err
}

// Kubectl runs the kubectl of the control plane.
func (c *Cluster) Kubectl(ctx context.Context, args ...string) (string, error) {
	return c.Engine.Docker(ctx, command.Command{
		Args:  append([]string{"exec", c.Name + "-control-plane", "kubectl", "--kubeconfig=/etc/kubernetes/admin.conf"}, args...),
		Limit: time.Minute,
	})
}

// logger hands kind's talk to slog.
type logger struct{ log *slog.Logger }

// Warn logs a warning.
func (l logger) Warn(message string) { l.log.Warn("kind warns", "of", strings.TrimSpace(message)) }

// Warnf logs a warning.
func (l logger) Warnf(f string, args ...any) { l.Warn(fmt.Sprintf(f, args...)) }

// Error logs an error.
func (l logger) Error(message string) { l.log.Error("kind fails", "by", strings.TrimSpace(message)) }

// Errorf logs an error.
func (l logger) Errorf(f string, args ...any) { l.Error(fmt.Sprintf(f, args...)) }

// V is the logger for a level; higher ones than 0 are for people who debug kind.
func (l logger) V(level log.Level) log.InfoLogger { return infoLogger{l.log, level <= 0} }

type infoLogger struct {
	log     *slog.Logger
	enabled bool
}

// Info logs when the level is enabled.
func (l infoLogger) Info(message string) {
	if l.enabled {
		l.log.Info("kind", "does", strings.TrimSpace(message))
	}
}

// Infof logs when the level is enabled.
func (l infoLogger) Infof(f string, args ...any) { l.Info(fmt.Sprintf(f, args...)) }

// Enabled reports whether Info says anything.
func (l infoLogger) Enabled() bool { return l.enabled }
