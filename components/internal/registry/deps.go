package registry

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/dragonfly-kube/dragonfly/components/api"
)

// Spec names a task and where its content comes from.
type Spec struct {
	ID, URL string
	// Header is for the origin, credentials included.
	Header http.Header
	// Digest of the whole content.
	Digest digest.Digest
	// Private asks that nobody but this host uses Header.
	Private bool
}

// Transfers has the one download of each task on this host.
type Transfers interface {
	// Open joins or starts the task's download. ctx ends this use of it, not the download of others. The caller closes the handle.
	Open(ctx context.Context, spec Spec) (Handle, error)
	// Known tells of content that is complete on this host.
	Known(id string) (api.Meta, bool)
}

// Handle is one use of a download. Safe for concurrent use.
type Handle interface {
	// Meta waits until the representation headers are known, and the length, which is -1 if the origin tells none.
	Meta(ctx context.Context) (api.Meta, error)
	// Reader gives n bytes from off on in order, as they come; a negative n means to the end. It may implement io.WriterTo, whose
	// result then counts what was written before an error. Close may come while a read waits, and ends it.
	Reader(off, n int64) io.ReadCloser
	// Source is "cache", "swarm" or "origin".
	Source() string
	Close()
}

// Origin reaches the upstream registries, each with its own transport, certificates and time-outs.
type Origin interface {
	// Do sends req and returns the answer, whatever its status. Redirects of GET and HEAD are followed, without the credentials where
	// they lead elsewhere.
	Do(ctx context.Context, req *http.Request) (*http.Response, error)
	// Stream reads n bytes of immutable content from off on, to the end for a negative n, mending what breaks on the way. total is the
	// length of the whole content, -1 if the origin does not tell.
	Stream(ctx context.Context, url string, header http.Header, off, n int64) (total int64, body io.ReadCloser, err error)
}

// Guard says which addresses the mirror may reach; package egress has it.
type Guard interface {
	// CheckHost returns an error that may be shown to the client where host[:port] must not be reached.
	CheckHost(ctx context.Context, host string) error
}

// Deps is what a Mirror works with. All but Registerer and Now are needed.
type Deps struct {
	Transfers  Transfers
	Origin     Origin
	Guard      Guard
	Log        *slog.Logger
	Registerer prometheus.Registerer
	Now        func() time.Time // default time.Now
}
