package dfdaemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"golang.org/x/sync/errgroup"

	"github.com/dragonfly-kube/dragonfly/components/internal/engine"
	"github.com/dragonfly-kube/dragonfly/components/internal/localapi"
	"github.com/dragonfly-kube/dragonfly/components/internal/registry"
	"github.com/dragonfly-kube/dragonfly/components/internal/registry/egress"
	"github.com/dragonfly-kube/dragonfly/components/internal/registry/upstream"
	"github.com/dragonfly-kube/dragonfly/components/internal/secret"
)

// Server is a dfdaemon that listens. Run serves, and ends it.
type Server struct {
	log     *slog.Logger
	engine  *engine.Engine
	servers []served
	metrics *prometheus.Registry
	started time.Time
	quota   int64 // of the store, in bytes
}

// served is one of the ports.
type served struct {
	name     string
	listener net.Listener
	http     *http.Server
}

// New opens the data directory and listens on every port. Nothing is served before Run.
func New(cfg Config, log *slog.Logger) (*Server, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	var keys *secret.Keyring
	if cfg.SecretFile != "" {
		var err error
		if keys, err = secret.Load(cfg.SecretFile, log); err != nil {
			return nil, err
		}
	}
	ecfg, err := cfg.engine(keys, log)
	if err != nil {
		return nil, err
	}
	mcfg, err := cfg.mirror()
	if err != nil {
		return nil, err
	}
	guard, err := newGuard(mcfg.Upstreams)
	if err != nil {
		return nil, err
	}
	ecfg.Origin.CheckAddr = guard.CheckAddr
	reg := prometheus.NewRegistry()
	reg.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	s := &Server{log: log, metrics: reg, started: time.Now(), quota: cfg.DiskQuota}
	if s.engine, err = engine.New(ecfg, log, reg); err != nil {
		return nil, err
	}
	mirror, err := registry.New(mcfg, registry.Deps{
		Transfers: transfers{s.engine.Transfers}, Origin: source{s.engine.Origin}, Guard: guard, Log: log, Registerer: reg,
	})
	if err == nil {
		err = s.listen(cfg, mirror)
	}
	if err != nil {
		return nil, errors.Join(err, s.closeAll())
	}
	return s, nil
}

func newGuard(u upstream.Config) (*egress.Guard, error) {
	policy, err := upstream.New(u)
	if err != nil {
		return nil, err
	}
	return egress.New(egress.Config{Trusted: policy.AnyAddress})
}

// listen opens mirror, admin port and socket.
func (s *Server) listen(cfg Config, mirror http.Handler) error {
	if err := s.add("mirror", "tcp", net.JoinHostPort(cfg.Bind, strconv.Itoa(cfg.Port)), mirror); err != nil {
		return err
	}
	if err := s.add("admin", "tcp", cfg.AdminAddr, s.admin()); err != nil {
		return err
	}
	if cfg.Socket == "" {
		return nil
	}
	if err := freeSocket(cfg.Socket); err != nil {
		return err
	}
	if err := s.add("socket", "unix", cfg.Socket, localapi.Handler(s.engine, s.describe, s.log)); err != nil {
		return err
	}
	// It lets its user pull with this node's rights: root, and the group that the operator gives it to.
	return os.Chmod(cfg.Socket, 0o660) //nolint:gosec // see above
}

func (s *Server) add(name, network, addr string, h http.Handler) error {
	l, err := net.Listen(network, addr)
	if err != nil {
		return fmt.Errorf("listen on the %s port %s: %w", name, addr, err)
	}
	s.servers = append(s.servers, served{name, l, &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 10 * time.Second, // a runtime on the same node
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10, // tokens of some registries are long
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}})
	return nil
}

// addr is where a port listens, "" if there is none of that name.
func (s *Server) addr(name string) string {
	for _, v := range s.servers {
		if v.name == name {
			return v.listener.Addr().String()
		}
	}
	return ""
}

// MirrorAddr is where the registry mirror listens, "host:port".
func (s *Server) MirrorAddr() string { return s.addr("mirror") }

// AdminAddr is where health and metrics are served, "host:port".
func (s *Server) AdminAddr() string { return s.addr("admin") }

// PeerAddr is where other peers reach this one, "host:port".
func (s *Server) PeerAddr() string { return s.engine.Host.Addrs[0] }

// Run serves until ctx ends, then lets requests end, for a while, and returns nil; or returns why serving failed.
func (s *Server) Run(ctx context.Context) error {
	s.log.Info("dfdaemon serves", "mirror", s.MirrorAddr(), "peers", s.PeerAddr(), "admin", s.AdminAddr())
	g, gctx := errgroup.WithContext(ctx)
	// The engine outlives the mirror's requests.
	ectx, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	g.Go(func() error { return s.engine.Run(ectx) })
	for _, v := range s.servers {
		g.Go(func() error {
			if err := v.http.Serve(v.listener); !errors.Is(err, http.ErrServerClosed) {
				return fmt.Errorf("serve the %s port: %w", v.name, err)
			}
			return nil
		})
	}
	g.Go(func() error {
		<-gctx.Done()
		defer stop()
		return s.shutdown()
	})
	return errors.Join(g.Wait(), s.closeAll())
}

// shutdown ends the ports, after requests under way, within shutdownTime.
func (s *Server) shutdown() error {
	ctx, cancel := context.WithTimeout(context.Background(), shutdownTime)
	defer cancel()
	var g errgroup.Group
	for _, v := range s.servers {
		g.Go(func() error {
			if err := v.http.Shutdown(ctx); err != nil {
				s.log.Warn("requests were cut off", "port", v.name, "err", err)
				return v.http.Close()
			}
			return nil
		})
	}
	return g.Wait()
}

func (s *Server) closeAll() error {
	for _, v := range s.servers {
		v.listener.Close()
	}
	return s.engine.Close()
}
