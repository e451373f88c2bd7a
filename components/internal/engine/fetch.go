package engine

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/opencontainers/go-digest"

	"github.com/dragonfly-kube/dragonfly/components/api"
	"github.com/dragonfly-kube/dragonfly/components/internal/localapi"
	"github.com/dragonfly-kube/dragonfly/components/internal/origin"
	"github.com/dragonfly-kube/dragonfly/components/internal/piece"
	"github.com/dragonfly-kube/dragonfly/components/internal/transfer"
)

// Fetch implements localapi.Fetcher: it opens content by URL.
func (e *Engine) Fetch(ctx context.Context, req api.FetchRequest) (*localapi.Content, error) {
	spec, err := specFor(req)
	if err != nil {
		return nil, &api.Error{Code: api.CodeBadRequest, Message: err.Error()}
	}
	h, err := e.Transfers.Open(ctx, spec)
	if err != nil {
		return nil, wireError(err)
	}
	meta, err := h.Meta(ctx)
	if err != nil {
		h.Close()
		return nil, wireError(err)
	}
	if meta.Length >= 0 && req.Offset > meta.Length {
		h.Close()
		return nil, &api.Error{Code: api.CodeBadRequest, Message: fmt.Sprintf("offset %d lies behind the content's %d bytes", req.Offset, meta.Length)}
	}
	r := h.Reader(req.Offset, -1)
	return &localapi.Content{
		Task: spec.ID, Length: meta.Length, Header: meta.Header,
		Body: &fetched{ReadCloser: r, handle: h, ctx: ctx, stop: context.AfterFunc(ctx, h.Interrupt)},
		Shares: func() api.Shares {
			st := h.Stats()
			return api.Shares{FromSeed: st.FromSeed, FromPeers: st.FromPeers, FromOrigin: st.FromOrigin}
		},
	}, nil
}

// specFor says which task a request means. Content named by its digest is one task, wherever it lies.
func specFor(req api.FetchRequest) (transfer.Spec, error) {
	s := transfer.Spec{URL: req.URL, Header: req.Header, Digest: digest.Digest(req.Digest), NoOrigin: req.NoOrigin}
	if req.Offset < 0 {
		return s, fmt.Errorf("offset %d is negative", req.Offset)
	}
	switch req.Pattern {
	case "", api.PatternP2P:
	case api.PatternCDN:
		s.Pattern = transfer.CDN
	case api.PatternSource:
		s.Pattern = transfer.Source
	default:
		return s, fmt.Errorf("pattern %q is none of %s, %s, %s", req.Pattern, api.PatternP2P, api.PatternCDN, api.PatternSource)
	}
	// The URL is checked in either case.
	id, err := piece.URLID(req.URL, req.Filters, req.Tag, req.Digest)
	if err == nil && req.Digest != "" && req.Tag == "" {
		id, err = piece.BlobID(s.Digest)
	}
	s.ID = id
	return s, err
}

// fetched closes reader and handle together.
type fetched struct {
	io.ReadCloser
	handle *transfer.Handle
	ctx    context.Context
	stop   func() bool
}

// WriteTo implements io.WriterTo, so that the bytes may go by sendfile.
func (f *fetched) WriteTo(w io.Writer) (int64, error) {
	n, err := f.ReadCloser.(io.WriterTo).WriteTo(w)
	return n, f.explain(err)
}

func (f *fetched) Read(p []byte) (int, error) {
	n, err := f.ReadCloser.Read(p)
	if errors.Is(err, io.EOF) {
		return n, err
	}
	return n, f.explain(err)
}

// explain gives an error its wire form.
func (f *fetched) explain(err error) error {
	switch {
	case err == nil:
		return nil
	case f.ctx.Err() != nil:
		return f.ctx.Err()
	}
	return wireError(err)
}

// Close ends the use of the content.
func (f *fetched) Close() error {
	f.stop()
	err := f.ReadCloser.Close()
	f.handle.Close()
	return err
}

// wireError says who failed.
func wireError(err error) error {
	e := &api.Error{Code: api.CodeInternal, Message: err.Error()}
	var refused *origin.StatusError
	switch {
	case errors.As(err, &refused):
		e.Code, e.Status = api.CodeOrigin, refused.Code
	case errors.Is(err, transfer.ErrDigest):
		e.Code = api.CodeInvalid
	case errors.Is(err, transfer.ErrBusy):
		e.Code = api.CodeOverloaded
	case errors.Is(err, transfer.ErrNoOrigin), errors.Is(err, origin.ErrChanged):
		e.Code = api.CodeOrigin
	}
	return fmt.Errorf("%w", e)
}
