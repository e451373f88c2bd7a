// Package cluster makes a cluster of kind: one control plane and workers, whose images are loaded and never pulled from the internet.
package cluster

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	kind "sigs.k8s.io/kind/pkg/cluster"

	"github.com/dragonfly-kube/dragonfly/tests/e2e/kind/command"
)

// Engine is the Docker engine that runs the nodes.
type Engine interface {
	// Docker runs the docker command against the engine, with c's arguments.
	Docker(ctx context.Context, c command.Command) (string, error)
}

// Config of a cluster.
type Config struct {
	Name string
	// Images of the nodes, the control plane's first. Only Create needs them.
	Images []string
	// NoHostsDirectory leaves containerd's config_path as the image has it.
	NoHostsDirectory bool
	// Kubeconfig is the file to write.
	Kubeconfig string
	Engine     Engine
	// Host is the engine's DOCKER_HOST, "" for the default. kind reads it from the environment, where New puts it.
	Host string
	Log  *slog.Logger
}

// Cluster is a running cluster.
type Cluster struct {
	Config
	Client kubernetes.Interface
	REST   *rest.Config

	provider *kind.Provider
}

// proxies are variables that kind would hand to the nodes, which have no need of them: their images are loaded.
func proxies() []string {
	return []string{"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"}
}

// provider of kind. It runs the docker command with this process's environment, and with nothing else that could be set.
func (c Config) newProvider() (*kind.Provider, error) {
	if c.Host != "" {
		if err := os.Setenv("DOCKER_HOST", c.Host); err != nil {
			return nil, err
		}
	}
	for _, name := range proxies() {
		if err := os.Unsetenv(name); err != nil {
			return nil, err
		}
	}
	return kind.NewProvider(kind.ProviderWithDocker(), kind.ProviderWithLogger(logger{c.Log})), nil
}

// Exists reports whether a cluster of that name is there.
func Exists(c Config) (bool, error) {
	p, err := c.newProvider()
	if err != nil {
		return false, err
	}
	names, err := p.List()
	if err != nil {
		return false, fmt.Errorf("list clusters: %w", err)
	}
	return slices.Contains(names, c.Name), nil
}

// Create makes the cluster and returns when its nodes and its DNS are ready. When that fails, what there is of it stays, for its logs.
func Create(ctx context.Context, c Config) (*Cluster, error) {
	p, err := c.newProvider()
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Dir(c.Kubeconfig), 0o755); err != nil {
		return nil, fmt.Errorf("create cluster %s: %w", c.Name, err)
	}
	err = p.Create(c.Name, kind.CreateWithV1Alpha4Config(c.kindConfig()), kind.CreateWithKubeconfigPath(c.Kubeconfig), kind.CreateWithRetain(true),
		kind.CreateWithDisplayUsage(false), kind.CreateWithDisplaySalutation(false))
	if err != nil {
		return nil, fmt.Errorf("create cluster %s: %w", c.Name, err)
	}
	cl, err := Connect(c)
	if err != nil {
		return nil, err
	}
	if err := cl.connect(ctx); err != nil {
		return nil, err
	}
	return cl, cl.ready(ctx)
}

// Connect returns a cluster that Create has made, in this process or another.
func Connect(c Config) (*Cluster, error) {
	p, err := c.newProvider()
	if err != nil {
		return nil, err
	}
	cfg, err := clientcmd.BuildConfigFromFlags("", c.Kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", c.Kubeconfig, err)
	}
	cfg.Proxy = nil
	cfg.QPS, cfg.Burst = 50, 100 // many pods are waited for at once
	client, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		return nil, fmt.Errorf("connect to cluster %s: %w", c.Name, err)
	}
	return &Cluster{Config: c, Client: client, REST: cfg, provider: p}, nil
}

// Delete removes the cluster of that name, if there is one.
func Delete(c Config) error {
	p, err := c.newProvider()
	if err != nil {
		return err
	}
	if err := p.Delete(c.Name, c.Kubeconfig); err != nil {
		return fmt.Errorf("delete cluster %s: %w", c.Name, err)
	}
	return nil
}

// ready waits for nodes and DNS.
func (c *Cluster) ready(ctx context.Context) error {
	err := c.Until(ctx, "nodes are ready", func(ctx context.Context) string {
		list, err := c.Client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
		if err != nil {
			return err.Error()
		}
		for i := range list.Items {
			if !nodeReady(&list.Items[i]) {
				return list.Items[i].Name + " is not"
			}
		}
		return ""
	})
	if err != nil {
		return err
	}
	return c.DeploymentReady(ctx, metav1.NamespaceSystem, "coredns")
}

// Waiting limits of Until: one step of a cluster on a machine with two busy cores.
const (
	stepLimit = 5 * time.Minute
	interval  = 250 * time.Millisecond
)

// Until asks again and again until missing returns "". What was missing last is in the error when the time is over.
func (c *Cluster) Until(ctx context.Context, what string, missing func(context.Context) string) error {
	ctx, cancel := context.WithTimeoutCause(ctx, stepLimit, fmt.Errorf("not so after %v", stepLimit))
	defer cancel()
	tick := time.NewTicker(interval)
	defer tick.Stop()
	last := ""
	for {
		m := missing(ctx)
		if m == "" {
			return nil
		}
		if ctx.Err() == nil { // else it is only that the time is over
			last = m
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait until %s: %w: %s", what, context.Cause(ctx), last)
		case <-tick.C:
		}
	}
}

func nodeReady(n *corev1.Node) bool {
	return slices.ContainsFunc(n.Status.Conditions, func(c corev1.NodeCondition) bool {
		return c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue
	})
}

func internalIP(n *corev1.Node) string {
	for _, a := range n.Status.Addresses {
		if a.Type == corev1.NodeInternalIP {
			return a.Address
		}
	}
	return ""
}
