package engine

import (
	"context"
	"errors"
	"io"
	"sync/atomic"

	"github.com/dragonfly-kube/dragonfly/components/api"
	"github.com/dragonfly-kube/dragonfly/components/internal/localapi"
	"github.com/dragonfly-kube/dragonfly/components/internal/origin"
)

// Direct reads content from its origin and keeps nothing: the way that is left where the disk has no room for pieces. It verifies no
// digest.
type Direct struct{ Origin *origin.Client }

// Fetch implements localapi.Fetcher. The content has the id that an Engine would give it.
func (d Direct) Fetch(ctx context.Context, req api.FetchRequest) (*localapi.Content, error) {
	spec, err := specFor(req)
	if err != nil {
		return nil, &api.Error{Code: api.CodeBadRequest, Message: err.Error()}
	}
	info, body, err := d.Origin.Stream(ctx, origin.Request{URL: spec.URL, Header: spec.Header}, req.Offset, -1)
	if err != nil {
		return nil, explain(ctx, err)
	}
	header := map[string]string{}
	for _, k := range []string{"Content-Type", "Etag", "Last-Modified"} {
		if v := info.Header.Get(k); v != "" {
			header[k] = v
		}
	}
	b := &direct{ReadCloser: body, ctx: ctx}
	return &localapi.Content{
		Task: spec.ID, Length: info.Length, Header: header, Body: b,
		Shares: func() api.Shares { return api.Shares{FromOrigin: b.read.Load()} },
	}, nil
}

// direct is the body of a Direct's content.
type direct struct {
	io.ReadCloser
	ctx  context.Context
	read atomic.Int64
}

// Read implements io.Reader.
func (b *direct) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.read.Add(int64(n))
	if err != nil && !errors.Is(err, io.EOF) {
		err = explain(b.ctx, err)
	}
	return n, err
}
