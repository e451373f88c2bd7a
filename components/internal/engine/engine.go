// Package engine puts the parts of a peer together: store, origin, control plane, downloads and the piece server. dfdaemon runs one
// for the host, dfget one of its own where there is no dfdaemon.
package engine

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"

	"github.com/dragonfly-kube/dragonfly/components/api"
	"github.com/dragonfly-kube/dragonfly/components/internal/origin"
	"github.com/dragonfly-kube/dragonfly/components/internal/secret"
	"github.com/dragonfly-kube/dragonfly/components/internal/store"
	"github.com/dragonfly-kube/dragonfly/components/internal/superclient"
	"github.com/dragonfly-kube/dragonfly/components/internal/transfer"
	"github.com/dragonfly-kube/dragonfly/components/internal/upload"
	"github.com/dragonfly-kube/dragonfly/components/version"
)

// Config of an Engine.
type Config struct {
	// Supernodes are HOST or HOST:PORT; none means that everything comes from the origin.
	Supernodes []string
	// SupernodeCA is a PEM file; with it the control plane is spoken over TLS, verified against it.
	SupernodeCA string
	// PeerAddr is where pieces are served, "host:port".
	PeerAddr string
	// Advertise is the IP address at which other peers reach this host; "" means the one that packets to a supernode leave from.
	Advertise string
	// Zone of the host, "" if unknown.
	Zone string
	// HostID is stable over restarts; "" means one kept in DataDir.
	HostID  string
	DataDir string
	Disk    store.DiskConfig
	// Once says that the engine is for one download: whoever fetches may have the file out of the store, which ends the serving of pieces.
	Once   bool
	Keys   *secret.Keyring // nil without a cluster secret
	Origin origin.Config
	// UploadRate and DownloadRate bound the exchange with other peers, in bytes a second. 0 means no limit.
	UploadRate, DownloadRate int64
	Transfer                 transfer.Config // Host, Limiter are filled in
	Upload                   upload.Config   // Rate is filled in
}

// Engine is a running peer. Run serves; Close ends it.
type Engine struct {
	Store     store.Store
	Origin    *origin.Client
	Super     *superclient.Client
	Transfers *transfer.Manager
	Upload    *upload.Server
	Host      api.Host

	disk     *store.Disk
	once     bool
	keys     *secret.Keyring
	log      *slog.Logger
	listener net.Listener
	server   *http.Server
}

// New opens the store, listens on the peer port and wires the rest. Nothing is served before Run.
func New(cfg Config, log *slog.Logger, reg prometheus.Registerer) (_ *Engine, err error) {
	e := &Engine{log: log, keys: cfg.Keys, once: cfg.Once}
	defer func() {
		if err != nil {
			err = errors.Join(err, e.closeParts())
		}
	}()
	if e.disk, err = store.OpenDisk(cfg.DataDir, cfg.Disk, log, reg); err != nil {
		return nil, err
	}
	e.Store = e.disk
	if e.Origin, err = origin.New(cfg.Origin, log, reg); err != nil {
		return nil, err
	}
	if e.Super, err = newSuperclient(cfg, log, reg); err != nil {
		return nil, err
	}
	if e.listener, err = net.Listen("tcp", cfg.PeerAddr); err != nil {
		return nil, fmt.Errorf("listen on the peer port %s: %w", cfg.PeerAddr, err)
	}
	if e.Host, err = describeHost(cfg, e.listener.Addr()); err != nil {
		return nil, err
	}
	cfg.Transfer.Host = e.Host
	if cfg.DownloadRate > 0 {
		cfg.Transfer.Limiter = rate.NewLimiter(rate.Limit(cfg.DownloadRate), int(max(cfg.DownloadRate, 64<<10)))
	}
	e.Transfers = transfer.New(cfg.Transfer, transfer.Deps{
		Store: e.Store, Supernodes: supernodes{e.Super}, Origin: e.Origin, Ticket: ticketMaker(cfg.Keys), Log: log, Registerer: reg,
	})
	cfg.Upload.Rate = cfg.UploadRate
	e.Upload = upload.New(cfg.Upload, upload.Deps{
		Store: e.Store, Downloads: e.Transfers, Tickets: tickets(cfg.Keys), Log: log, Registerer: reg,
	})
	e.server = &http.Server{
		Handler:           e.Upload,
		ConnContext:       upload.TuneConn,
		ReadHeaderTimeout: 10 * time.Second, // a child writes its head in one packet
		IdleTimeout:       5 * time.Minute,  // a parent that is busy elsewhere is asked again
		MaxHeaderBytes:    16 << 10,         // ours are below 1 KiB
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	return e, nil
}

func newSuperclient(cfg Config, log *slog.Logger, reg prometheus.Registerer) (*superclient.Client, error) {
	c := superclient.Config{Addrs: cfg.Supernodes, Token: cfg.Keys.Token, Log: log, Registerer: reg}
	if cfg.SupernodeCA != "" {
		pem, err := os.ReadFile(cfg.SupernodeCA)
		if err != nil {
			return nil, fmt.Errorf("read the supernodes' CA: %w", err)
		}
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("the supernodes' CA %s holds no PEM certificate", cfg.SupernodeCA)
		}
		c.TLS = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	}
	return superclient.New(c)
}

// ticketLife is the life of a ticket that a peer makes itself, when no supernode gave it one.
const ticketLife = 10 * time.Minute

func ticketMaker(k *secret.Keyring) func(string) string {
	if k == nil {
		return nil
	}
	return func(task string) string {
		t, _ := k.Ticket(task, ticketLife)
		return t
	}
}

// tickets avoids an interface that holds a nil pointer.
func tickets(k *secret.Keyring) upload.Tickets {
	if k == nil {
		return nil
	}
	return k
}

// Run serves pieces and tells the supernodes about this host until ctx ends, then ends the downloads. It returns nil when it was
// stopped, or why serving failed.
func (e *Engine) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var wg sync.WaitGroup
	wg.Go(func() { e.Super.Run(ctx, e.Host, version.Get().Version, e.Store) })
	wg.Go(func() { e.disk.Watch(ctx) })
	if e.keys != nil {
		wg.Go(func() { e.keys.Watch(ctx) })
	}
	wg.Go(func() {
		<-ctx.Done()
		e.server.Close() // children find their pieces elsewhere at once
	})
	err := e.server.Serve(e.listener)
	if errors.Is(err, http.ErrServerClosed) {
		err = nil
	}
	cancel()
	wg.Wait()
	return err
}

// Close ends the downloads, keeps what they have, and closes the store. Call it after Run returned.
func (e *Engine) Close() error {
	e.Transfers.Close()
	return e.closeParts()
}

func (e *Engine) closeParts() error {
	if e.listener != nil {
		e.listener.Close()
	}
	if e.Origin != nil {
		e.Origin.Close()
	}
	if e.Store != nil {
		return e.Store.Close()
	}
	return nil
}

// supernodes narrows the client to what transfer needs.
type supernodes struct{ *superclient.Client }

// Register implements transfer.Supernodes.
func (s supernodes) Register(ctx context.Context, task string, req api.RegisterRequest) (transfer.Session, *api.Update, error) {
	session, u, err := s.Client.Register(ctx, task, req)
	if err != nil {
		return nil, nil, err
	}
	return session, u, nil
}
