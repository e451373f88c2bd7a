package cluster

import (
	"context"
	"fmt"
	"regexp"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/dragonfly-kube/dragonfly/tests/e2e/kind/command"
)

// Files by which kind configures a node.
const (
	joinFile       = "/kind/kubeadm.conf"
	containerdFile = "/etc/containerd/config.toml"
)

// Join adds a worker that is like another one: of the same image, and run and configured as kind does it. Prepare is called when the node
// runs and is no part of the cluster yet. Delete removes it, too.
func (c *Cluster) Join(ctx context.Context, name, like string, prepare func() error) error {
	steps := []func() error{
		func() error { return c.runNode(ctx, name, like) },
		func() error { return c.configureLike(ctx, name, like) },
		prepare,
		func() error {
			_, err := c.Exec(ctx, name, "kubeadm", "join", "--config", joinFile)
			return err
		},
		func() error { return c.known(ctx, name) }, // kubeadm does not wait for that
		func() error { return c.connect(ctx) },
		func() error { return c.NodeReady(ctx, name) },
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return fmt.Errorf("add node %s: %w", name, err)
		}
	}
	return nil
}

// runNode runs the container with the arguments that kind uses, see its pkg/cluster/internal/providers/docker/provision.go.
func (c *Cluster) runNode(ctx context.Context, name, like string) error {
	image, err := c.inspect(ctx, like, "{{.Config.Image}}")
	if err != nil {
		return err
	}
	network, err := c.inspect(ctx, like, "{{range $name, $_ := .NetworkSettings.Networks}}{{$name}}{{end}}")
	if err != nil {
		return err
	}
	_, err = c.Engine.Docker(ctx, command.New("", "run", "--detach", "--tty", "--name", name, "--hostname", name, "--net", network,
		"--label", "io.x-k8s.kind.cluster="+c.Name, "--label", "io.x-k8s.kind.role=worker", "--restart=on-failure:1", "--init=false",
		"--cgroupns=private", "--privileged", "--security-opt", "seccomp=unconfined", "--security-opt", "apparmor=unconfined",
		"--tmpfs", "/tmp", "--tmpfs", "/run", "--volume", "/var", "--volume", "/lib/modules:/lib/modules:ro", image))
	if err != nil {
		return err
	}
	return c.RuntimeAnswers(ctx, name)
}

// RuntimeAnswers waits for a node's containerd.
func (c *Cluster) RuntimeAnswers(ctx context.Context, node string) error {
	return c.Until(ctx, "containerd of "+node+" answers", func(ctx context.Context) string {
		if _, err := c.Exec(ctx, node, "ctr", "version"); err != nil {
			return err.Error()
		}
		return ""
	})
}

func (c *Cluster) inspect(ctx context.Context, node, format string) (string, error) {
	return c.Engine.Docker(ctx, command.New("", "inspect", "--format", format, node))
}

// configureLike gives the node the files that kind gave the other one, with an address, a name and a token of its own.
func (c *Cluster) configureLike(ctx context.Context, name, like string) error {
	toml, err := c.Exec(ctx, like, "cat", containerdFile)
	if err != nil {
		return err
	}
	conf, err := c.Exec(ctx, like, "cat", joinFile)
	if err != nil {
		return err
	}
	ip, err := c.inspect(ctx, name, "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}")
	if err != nil {
		return err
	}
	token, err := c.Exec(ctx, c.Name+"-control-plane", "kubeadm", "token", "create", "--ttl=10m")
	if err != nil {
		return err
	}
	if err := c.WriteFile(ctx, name, joinFile, joinLike(conf, like, name, ip, strings.TrimSpace(token))); err != nil {
		return err
	}
	if err := c.WriteFile(ctx, name, containerdFile, toml+"\n"); err != nil {
		return err
	}
	if _, err := c.Exec(ctx, name, "systemctl", "restart", "containerd"); err != nil {
		return err
	}
	return c.RuntimeAnswers(ctx, name)
}

var (
	addressLine = regexp.MustCompile(`(?m)^(\s*(?:node-ip|advertiseAddress): ).*$`)
	tokenLine   = regexp.MustCompile(`(?m)^([\s-]*token: ).*$`)
)

// joinLike turns kubeadm's configuration of one node into that of another.
func joinLike(conf, like, name, ip, token string) string {
	conf = addressLine.ReplaceAllString(conf, "${1}"+ip)
	conf = tokenLine.ReplaceAllString(conf, "${1}"+token)
	provider := regexp.MustCompile(`(?m)^(\s*provider-id: .*/)` + regexp.QuoteMeta(like) + `$`)
	return provider.ReplaceAllString(conf, "${1}"+name) + "\n"
}

// known waits until the API server knows the node.
func (c *Cluster) known(ctx context.Context, name string) error {
	return c.Until(ctx, "node "+name+" is known", func(ctx context.Context) string {
		if _, err := c.Client.CoreV1().Nodes().Get(ctx, name, metav1.GetOptions{}); err != nil {
			return err.Error()
		}
		return ""
	})
}

// NodeReady waits until the node says so.
func (c *Cluster) NodeReady(ctx context.Context, name string) error {
	return c.Until(ctx, "node "+name+" is ready", func(ctx context.Context) string {
		n, err := c.Client.CoreV1().Nodes().Get(ctx, name, metav1.GetOptions{})
		switch {
		case err != nil:
			return err.Error()
		case !nodeReady(n):
			return "it is not"
		}
		return ""
	})
}

// Leave removes a node that Join has added.
func (c *Cluster) Leave(ctx context.Context, name string) error {
	if _, err := c.Kubectl(ctx, "delete", "node", name, "--ignore-not-found"); err != nil {
		return fmt.Errorf("remove node %s: %w", name, err)
	}
	if _, err := c.Engine.Docker(ctx, command.New("", "rm", "--force", "--volumes", name)); err != nil {
		return fmt.Errorf("remove node %s: %w", name, err)
	}
	return nil
}

// Restart is a reboot of the node, as far as a container can do it. The node's address must stay the same, as it does on real ones.
func (c *Cluster) Restart(ctx context.Context, node string) error {
	const address = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
	before, err := c.inspect(ctx, node, address)
	if err != nil {
		return err
	}
	if _, err := c.Engine.Docker(ctx, command.New("", "restart", "--time=30", node)); err != nil {
		return fmt.Errorf("restart node %s: %w", node, err)
	}
	after, err := c.inspect(ctx, node, address)
	if err != nil {
		return err
	}
	if after != before {
		return fmt.Errorf("restart node %s: it had the address %s and has %s", node, before, after)
	}
	return c.RuntimeAnswers(ctx, node)
}
