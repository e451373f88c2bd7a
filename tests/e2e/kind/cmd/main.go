// Command kind brings the end-to-end cluster up and down, for `make e2e-up` and `make e2e-down`.
package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/dragonfly-kube/dragonfly/tests/e2e/kind/cache"
	"github.com/dragonfly-kube/dragonfly/tests/e2e/kind/engine"
	"github.com/dragonfly-kube/dragonfly/tests/e2e/kind/nodeimage"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	if err := image(ctx, log); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func image(ctx context.Context, log *slog.Logger) error {
	c, err := cache.Open("", log)
	if err != nil {
		return err
	}
	root, _ := os.Getwd()
	e, err := engine.Start(ctx, engine.Config{Dir: c.Path(""), Root: root, Log: log})
	if err != nil {
		return err
	}
	b := &nodeimage.Builder{Root: root, Cache: c, Engine: e}
	name, err := b.Build(ctx, nodeimage.Containerd1)
	fmt.Println(name)
	return err
}
