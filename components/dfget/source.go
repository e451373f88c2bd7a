package dfget

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/dragonfly-kube/dragonfly/components/api"
	"github.com/dragonfly-kube/dragonfly/components/internal/engine"
	"github.com/dragonfly-kube/dragonfly/components/internal/localapi"
	"github.com/dragonfly-kube/dragonfly/components/internal/origin"
	"github.com/dragonfly-kube/dragonfly/components/internal/secret"
	"github.com/dragonfly-kube/dragonfly/components/internal/store"
)

// daemonSource is the host's dfdaemon.
func daemonSource(c *Config) source {
	return source{name: "dfdaemon", open: func(ctx context.Context) (localapi.Fetcher, func(bool), error) {
		if c.Socket == "" {
			return nil, nil, localapi.ErrNoDaemon
		}
		client := localapi.NewClient(c.Socket)
		if _, err := client.Status(ctx); err != nil {
			client.Close()
			return nil, nil, err
		}
		return client, func(bool) { client.Close() }, nil
	}}
}

// storeSuffix names the directory beside the output that holds the pieces while dfget is a peer of its own.
const storeSuffix = ".dfget-store"

// minFree is what the pieces leave free on the output's file system, in bytes.
const minFree = 256 << 20

// engineSource is a peer inside this process.
func engineSource(c *Config, log *slog.Logger) source {
	return source{name: "engine", open: func(ctx context.Context) (_ localapi.Fetcher, _ func(bool), err error) {
		dir, durable := c.Output+storeSuffix, true
		if info, errStat := os.Stat(c.Output); c.Output == "-" || errStat == nil && !info.Mode().IsRegular() {
			durable = false
			if dir, err = os.MkdirTemp("", "dfget-"); err != nil {
				return nil, nil, fmt.Errorf("%w: %w", errOutput, err)
			}
		}
		cfg, err := c.engine(dir, log)
		if err != nil {
			return nil, nil, err
		}
		e, err := engine.New(cfg, log, prometheus.NewRegistry())
		if err != nil {
			return nil, nil, err
		}
		ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
		var wg sync.WaitGroup
		wg.Go(func() {
			if err := e.Run(ctx); err != nil {
				log.Warn("pieces are not served to other peers", "err", err)
			}
		})
		return e, func(keep bool) {
			cancel()
			wg.Wait()
			if err := e.Close(); err != nil {
				log.Warn("closing the store failed", "err", err)
			}
			if !keep || !durable {
				os.RemoveAll(dir)
			}
		}, nil
	}}
}

// originSource is the origin itself, without a place for pieces.
func originSource(c *Config, log *slog.Logger) source {
	return source{name: "origin", after: noPlace, open: func(context.Context) (localapi.Fetcher, func(bool), error) {
		cfg := origin.Config{RateLimit: c.limit()}
		if err := c.Hosts.Apply(&cfg); err != nil {
			return nil, nil, err
		}
		client, err := origin.New(cfg, log, prometheus.NewRegistry())
		if err != nil {
			return nil, nil, err
		}
		return engine.Direct{Origin: client}, func(bool) { client.Close() }, nil
	}}
}

// noPlace reports whether a source failed for what it keeps, and not for what it reads.
func noPlace(err error) bool {
	e, ok := errors.AsType[*api.Error](err)
	return ok && e.Code == api.CodeInternal
}

// engine is the part of c for a peer inside this process.
func (c *Config) engine(dir string, log *slog.Logger) (engine.Config, error) {
	keys, err := secret.Load(c.SecretFile, log)
	if err != nil {
		return engine.Config{}, err
	}
	e := engine.Config{
		Supernodes: c.Supernodes, SupernodeCA: c.SupernodeCA, Keys: keys,
		PeerAddr: "127.0.0.1:0", DataDir: dir, Disk: store.DiskConfig{MinFree: minFree}, Once: true,
		Origin: origin.Config{RateLimit: c.limit()}, DownloadRate: c.limit(),
	}
	if keys != nil || c.Insecure {
		e.PeerAddr = ":0"
	}
	return e, c.Hosts.Apply(&e.Origin)
}
