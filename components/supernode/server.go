package supernode

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"golang.org/x/sync/errgroup"

	"github.com/dragonfly-kube/dragonfly/components/internal/origin"
	"github.com/dragonfly-kube/dragonfly/components/internal/secret"
	"github.com/dragonfly-kube/dragonfly/components/internal/seed"
	"github.com/dragonfly-kube/dragonfly/components/internal/store"
	"github.com/dragonfly-kube/dragonfly/components/internal/swarm"
	"github.com/dragonfly-kube/dragonfly/components/internal/upload"
)

const (
	// headerTimeout bounds how long a client may take to send a request's header: ours send it in one packet.
	headerTimeout = 5 * time.Second
	// idleTimeout closes kept-alive connections that nobody uses; longer than a heartbeat interval, so that hosts keep theirs.
	idleTimeout = 90 * time.Second
	// maxHeader bounds a request's header, in bytes: a token and a few short fields.
	maxHeader = 16 << 10
)

// Server is a supernode. New opens what it needs, Run serves until its context ends.
type Server struct {
	cfg      Config
	log      *slog.Logger
	registry *prometheus.Registry
	metrics  *metrics
	keys     *secret.Keyring
	store    *store.Disk
	origin   *origin.Client
	swarm    *swarm.Swarm
	feeds    feeds
	pieces   http.Handler
	probe    prober
	register net.Listener
	download net.Listener
	tls      *tls.Config // nil for plain HTTP
	serving  atomic.Bool // Run has begun and not begun to stop
}

// New opens store and listeners. The caller calls Run, which closes all again.
func New(cfg Config, log *slog.Logger) (_ *Server, err error) {
	if err := cfg.Validate(log); err != nil {
		return nil, err
	}
	s := &Server{cfg: cfg, log: log, registry: prometheus.NewRegistry()}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	s.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	s.metrics = newMetrics(s.registry)
	if s.keys, err = secret.Load(cfg.SecretFile, log); err != nil {
		return nil, err
	}
	if cfg.TLSCert != "" {
		cert, err := loadCertificate(cfg.TLSCert, cfg.TLSKey, log)
		if err != nil {
			return nil, err
		}
		s.tls = cert.config()
	}
	if s.store, err = store.OpenDisk(cfg.DataDir, store.DiskConfig{Quota: cfg.DiskQuota, MinFree: cfg.DiskMinFree}, log, s.registry); err != nil {
		return nil, err
	}
	outward, err := cfg.guarded()
	if err != nil {
		return nil, err
	}
	if s.origin, err = origin.New(outward, log, s.registry); err != nil {
		return nil, err
	}
	s.probe.check = func() error { return probeWritable(cfg.DataDir) }
	s.swarm = swarm.New(cfg.Swarm, swarm.Deps{
		Seed: seed.New(seed.Deps{
			Store: s.store, Origin: originReader{s.origin}, Log: log, Registerer: s.registry,
		}),
		Manifests: newManifests(), Keys: s.keys, Log: log, Registerer: s.registry,
	})
	s.pieces = upload.New(upload.Config{Rate: cfg.UploadRate, Slots: cfg.UploadSlots}, upload.Deps{
		Store: s.store, Picker: picker{s.swarm}, Prover: s.swarm, Tickets: s.keys, Log: log, Registerer: s.registry,
	})
	if s.register, err = net.Listen("tcp", cfg.RegisterAddr); err != nil {
		return nil, fmt.Errorf("listen for the control plane: %w", err)
	}
	if s.download, err = net.Listen("tcp", cfg.DownloadAddr); err != nil {
		return nil, fmt.Errorf("listen for downloads: %w", err)
	}
	return s, nil
}

// RegisterAddr is where the control plane listens.
func (s *Server) RegisterAddr() net.Addr { return s.register.Addr() }

// DownloadAddr is where pieces are served.
func (s *Server) DownloadAddr() net.Addr { return s.download.Addr() }

// Run serves until ctx ends, then stops: it turns unready, ends the event streams, lets requests end for ShutdownTimeout, and closes
// the store.
func (s *Server) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	servers := s.servers(ctx)
	s.serving.Store(true)
	s.log.Info("supernode serves", "register", s.RegisterAddr().String(), "download", s.DownloadAddr().String(),
		"tls", s.tls != nil, "secret", s.keys != nil, "version", s.cfg.Version)
	var group errgroup.Group
	for _, srv := range servers {
		group.Go(func() error {
			defer cancel()
			if err := srv.serve(); !errors.Is(err, http.ErrServerClosed) {
				return fmt.Errorf("serve %s: %w", srv.listener.Addr(), err)
			}
			return nil
		})
	}
	group.Go(func() error {
		s.store.Watch(ctx)
		return nil
	})
	if s.keys != nil {
		group.Go(func() error {
			s.keys.Watch(ctx)
			return nil
		})
	}
	<-ctx.Done()
	s.log.Info("supernode stops")
	s.serving.Store(false)
	s.swarm.Close()
	stop, done := context.WithTimeout(context.WithoutCancel(ctx), s.cfg.ShutdownTimeout)
	defer done()
	for _, srv := range servers {
		group.Go(func() error {
			if srv.Shutdown(stop) != nil {
				return srv.Close()
			}
			return nil
		})
	}
	group.Go(func() error {
		s.feeds.shutdown(stop)
		return nil
	})
	return errors.Join(group.Wait(), s.close())
}

// close closes what New opened. Run's servers have closed the listeners before.
func (s *Server) close() error {
	var errs []error
	if s.swarm != nil {
		s.swarm.Close()
	}
	for _, l := range []net.Listener{s.register, s.download} {
		if l == nil {
			continue
		}
		if err := l.Close(); !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
		}
	}
	if s.origin != nil {
		s.origin.Close()
	}
	if s.store != nil {
		errs = append(errs, s.store.Close())
	}
	return errors.Join(errs...)
}

// server is an http.Server with its listener.
type server struct {
	*http.Server
	listener net.Listener
}

func (s *server) serve() error {
	if s.TLSConfig != nil {
		return s.ServeTLS(s.listener, "", "")
	}
	return s.Serve(s.listener)
}

// servers makes both. Each serves everything, so that a client that knows one port only works; with TLS, the plain one serves only
// what needs no secrecy.
func (s *Server) servers(ctx context.Context) []*server {
	all := s.routes()
	plain := all
	if s.tls != nil {
		plain = s.plainRoutes()
	}
	return []*server{s.newServer(ctx, s.register, all, s.tls), s.newServer(ctx, s.download, plain, nil)}
}

// newServer sets no ReadTimeout and no WriteTimeout: they would end event streams and long downloads. Handlers set deadlines of
// their own. The end of ctx ends what waits in a handler, not bytes on their way.
func (s *Server) newServer(ctx context.Context, l net.Listener, h *gin.Engine, t *tls.Config) *server {
	srv := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: headerTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		ConnContext:       upload.TuneConn,
		BaseContext:       func(net.Listener) context.Context { return ctx },
		TLSConfig:         t,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	// The wire is HTTP/1.1: an event stream is a connection, which is what the kernel's own time-outs watch.
	srv.Protocols = new(http.Protocols)
	srv.Protocols.SetHTTP1(true)
	return &server{srv, l}
}
