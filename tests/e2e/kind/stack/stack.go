// Package stack puts engine, node image, cluster and registry together, for the tests and for `make e2e-up`. All of it outlives the
// process, and is found again by the next.
package stack

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/dragonfly-kube/dragonfly/tests/e2e/kind/cache"
	"github.com/dragonfly-kube/dragonfly/tests/e2e/kind/cluster"
	"github.com/dragonfly-kube/dragonfly/tests/e2e/kind/command"
	"github.com/dragonfly-kube/dragonfly/tests/e2e/kind/engine"
	"github.com/dragonfly-kube/dragonfly/tests/e2e/kind/nodeimage"
)

// Options of Up. The zero value is what `make e2e` uses.
type Options struct {
	// Root is the folder of this repository.
	Root string
	// Flavour of the nodes: one of nodeimage's, or Mixed; E2E_FLAVOUR or Mixed when empty.
	Flavour nodeimage.Flavour
	// Workers is how many; 3 when zero.
	Workers int
	Log     *slog.Logger
}

const (
	// Mixed is half of the nodes with containerd 1, the control plane among them, and the other half with containerd 2.
	Mixed nodeimage.Flavour = "mixed"

	clusterName    = "dragonfly-e2e"
	defaultWorkers = 3
)

// Stack is a cluster with all that it needs.
type Stack struct {
	Cluster *cluster.Cluster
	Engine  *engine.Engine
	Registries
	// Found says that the cluster was there before.
	Found bool

	parts
}

// parts is what Up and Down have in common.
type parts struct {
	options Options
	cache   *cache.Cache
}

func open(o Options) (parts, error) {
	if o.Flavour == "" {
		o.Flavour = nodeimage.Flavour(os.Getenv("E2E_FLAVOUR"))
	}
	switch o.Flavour {
	case "":
		o.Flavour = Mixed
	case Mixed, nodeimage.Containerd1, nodeimage.Containerd2:
	default:
		return parts{}, fmt.Errorf("E2E_FLAVOUR is %q, want %s, %s or %s", o.Flavour, Mixed, nodeimage.Containerd1, nodeimage.Containerd2)
	}
	if o.Workers == 0 {
		o.Workers = defaultWorkers
	}
	c, err := cache.Open("", o.Log)
	return parts{options: o, cache: c}, err
}

func (p parts) engineConfig() engine.Config {
	return engine.Config{Dir: p.cache.Path(""), Root: p.options.Root, Log: p.options.Log}
}

func (p parts) clusterConfig(e *engine.Engine) cluster.Config {
	return cluster.Config{
		Name: clusterName, Kubeconfig: p.cache.Path(filepath.Join("cluster", "kubeconfig")), Engine: e, Host: e.Host, Log: p.options.Log,
	}
}

// Up brings everything up, or finds it up. On an error after the engine's start the stack is not nil: for CollectLogs and Down.
func Up(ctx context.Context, o Options) (*Stack, error) {
	p, err := open(o)
	if err != nil {
		return nil, err
	}
	unlock, err := p.cache.Lock(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	s := &Stack{parts: p}
	if s.Engine, err = engine.Start(ctx, p.engineConfig()); err != nil {
		return nil, err
	}
	if err := s.cluster(ctx); err != nil {
		return s, err
	}
	gateway, err := s.Cluster.Gateway(ctx)
	if err != nil {
		return s, err
	}
	if s.Registries, err = newRegistries(p.cache.Path("cluster"), gateway); err != nil {
		return s, err
	}
	if err := s.start(ctx); err != nil {
		return s, err
	}
	return s, s.prepare(ctx)
}

// cluster finds or creates it.
func (s *Stack) cluster(ctx context.Context) error {
	cfg := s.clusterConfig(s.Engine)
	exists, err := cluster.Exists(cfg)
	if err != nil {
		return err
	}
	if exists {
		s.Found = true
		s.Cluster, err = cluster.Connect(cfg)
		return err
	}
	if cfg.Images, err = s.images(ctx); err != nil {
		return err
	}
	s.options.Log.Info("creating a cluster", "images", cfg.Images)
	s.Cluster, err = cluster.Create(ctx, cfg)
	return err
}

// Down removes everything but the cache: cluster, registry, and the engine if Up has started it.
func Down(ctx context.Context, o Options) error {
	p, err := open(o)
	if err != nil {
		return err
	}
	unlock, err := p.cache.Lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	e, err := engine.Find(ctx, p.engineConfig())
	if err != nil {
		return err
	}
	if e != nil {
		err = cluster.Delete(p.clusterConfig(e))
	}
	registries, registriesErr := newRegistries(p.cache.Path("cluster"), "")
	err = errors.Join(err, registriesErr, registries.remove())
	if e != nil && e.Own() {
		// Its bridge would outlive the engine.
		_, rmErr := e.Docker(ctx, command.New("", "network", "prune", "--force"))
		err = errors.Join(err, rmErr, e.Stop())
	}
	return errors.Join(err, os.RemoveAll(p.cache.Path("cluster")))
}

// CollectLogs puts the logs of pods, nodes, registry and engine into a folder, and writes the access log's name first.
func (s *Stack) CollectLogs(ctx context.Context, dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("collect logs: %w", err)
	}
	files := s.Engine.Logs()
	for _, o := range s.all() {
		files = append(files, o.Logs()...)
	}
	var err error
	for _, file := range files {
		err = errors.Join(err, copyFile(file, filepath.Join(dir, filepath.Base(file))))
	}
	if s.Cluster != nil {
		err = errors.Join(err, s.Cluster.CollectLogs(ctx, dir))
	}
	return err
}

func copyFile(from, to string) error {
	src, err := os.Open(from)
	if err != nil {
		return err
	}
	defer src.Close()
	dst, err := os.Create(to)
	if err != nil {
		return err
	}
	_, err = io.Copy(dst, src)
	return errors.Join(err, dst.Close())
}
