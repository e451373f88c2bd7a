package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"

	"github.com/opencontainers/go-digest"

	"github.com/dragonfly-kube/dragonfly/components/api"
	"github.com/dragonfly-kube/dragonfly/components/internal/localapi"
	"github.com/dragonfly-kube/dragonfly/components/internal/origin"
	"github.com/dragonfly-kube/dragonfly/components/internal/piece"
	"github.com/dragonfly-kube/dragonfly/components/internal/store"
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
	if err == nil && (!meta.Public || len(req.Filters) > 0) {
		err = e.prove(ctx, spec)
	}
	if err == nil && meta.Length >= 0 && req.Offset > meta.Length {
		err = &api.Error{Code: api.CodeBadRequest, Message: fmt.Sprintf("offset %d lies behind the content's %d bytes", req.Offset, meta.Length)}
	}
	if err != nil {
		h.Close()
		return nil, explain(ctx, err)
	}
	body := &fetched{Reader: h.Reader(req.Offset, -1).(transfer.Reader), handle: h, ctx: ctx, stop: context.AfterFunc(ctx, h.Interrupt)}
	content := &localapi.Content{
		Task: spec.ID, Length: meta.Length, Header: meta.Header, Body: body,
		Shares: func() api.Shares {
			st := h.Stats()
			return api.Shares{FromSeed: st.FromSeed, FromPeers: st.FromPeers, FromOrigin: st.FromOrigin}
		},
	}
	if e.once {
		content.File = &file{fetched: body, engine: e, task: spec.ID}
	}
	return content, nil
}

// prove asks the origin for one byte: content that it did not give to just anybody is given only to whom it gives it now. That goes,
// too, for URLs with parameters that don't count, since a signature may be among them.
func (e *Engine) prove(ctx context.Context, spec transfer.Spec) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, spec.URL, nil)
	if err != nil {
		return fmt.Errorf("ask the origin for access: %w", err)
	}
	req.Header = spec.Header.Clone()
	req.Header.Set("Range", "bytes=0-0")
	resp, err := e.Origin.Do(ctx, req)
	if err != nil {
		return fmt.Errorf("ask the origin for access: %w", err)
	}
	resp.Body.Close()
	if resp.StatusCode/100 != 2 && resp.StatusCode != http.StatusRequestedRangeNotSatisfiable { // that is empty content
		return &api.Error{
			Code: api.CodeOrigin, Status: resp.StatusCode, Message: "the origin answered " + resp.Status + " when asked for access",
		}
	}
	return nil
}

// specFor says which task a request means. A digest does not make it the task of a registry's blob of that digest: whoever names a URL
// has shown nothing of what some registry would let them read.
func specFor(req api.FetchRequest) (transfer.Spec, error) {
	s := transfer.Spec{URL: req.URL, Header: http.Header{}, NoOrigin: req.NoOrigin}
	for name, values := range req.Header {
		for _, v := range values {
			s.Header.Add(name, v) // in its canonical form
		}
	}
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
	// One of an algorithm that is not verified here, MD5 say, still tells contents apart.
	if d := digest.Digest(req.Digest); d.Validate() == nil {
		s.Digest = d
	}
	var err error
	if s.ID, err = piece.URLID(req.URL, req.Filters, req.Tag, req.Digest); err != nil {
		return s, err
	}
	s.URL, err = takeUser(req.URL, s.Header)
	return s, err
}

// takeUser moves user and password of a URL into the header, where everybody knows them for credentials.
func takeUser(raw string, h http.Header) (string, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return "", errors.New("the URL can't be read") // it is not repeated, as it may hold a password
	}
	if u.User == nil {
		return raw, nil
	}
	if h.Get("Authorization") == "" {
		password, _ := u.User.Password()
		auth := &http.Request{Header: h}
		auth.SetBasicAuth(u.User.Username(), password)
	}
	u.User = nil
	return u.String(), nil
}

// fetched closes reader and handle together.
type fetched struct {
	transfer.Reader
	handle *transfer.Handle
	ctx    context.Context
	stop   func() bool
}

// WriteTo implements io.WriterTo, for large writes. Errors of w come back as they are.
func (f *fetched) WriteTo(w io.Writer) (int64, error) {
	out := &writer{Writer: w}
	n, err := f.Reader.WriteTo(out)
	if err != nil && out.err == nil {
		err = explain(f.ctx, err)
	}
	return n, err
}

// Read implements io.Reader.
func (f *fetched) Read(p []byte) (int, error) {
	n, err := f.Reader.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = explain(f.ctx, err)
	}
	return n, err
}

// Skip implements localapi.File.
func (f *fetched) Skip() (int64, error) {
	n, err := f.Reader.Skip()
	if err != nil && !errors.Is(err, io.EOF) {
		err = explain(f.ctx, err)
	}
	return n, err
}

// Close ends the use of the content.
func (f *fetched) Close() error {
	f.stop()
	err := f.Reader.Close()
	f.handle.Close()
	return err
}

// file lets the content out of the store of an engine that is there for nothing else.
type file struct {
	*fetched
	engine *Engine
	task   string
}

// Move implements localapi.File. Peers get no more pieces before it has its name, since whoever finds it there may write to it.
func (f *file) Move(path string, perm os.FileMode) error {
	if err := f.handle.Wait(f.ctx); err != nil {
		return explain(f.ctx, err)
	}
	f.engine.server.Close()
	err := f.engine.disk.Move(f.task, path, perm)
	if errors.Is(err, store.ErrNotHeld) { // a piece was damaged on disk, and Body has it from another download
		return fmt.Errorf("%w: %w", errors.ErrUnsupported, err)
	}
	return err
}

// writer remembers its error.
type writer struct {
	io.Writer
	err error
}

// Write implements io.Writer.
func (w *writer) Write(p []byte) (int, error) {
	n, err := w.Writer.Write(p)
	w.err = err
	return n, err
}

// explain gives an error its wire form, unless the end of ctx is the reason.
func explain(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return wireError(err)
}

// wireError says who failed. What nobody else is to blame for is the way to the origin.
func wireError(err error) error {
	if _, ok := errors.AsType[*api.Error](err); ok {
		return err
	}
	e := &api.Error{Code: api.CodeOrigin, Message: err.Error()}
	var refused *origin.StatusError
	switch {
	case errors.As(err, &refused):
		e.Status = refused.Code
	case errors.Is(err, transfer.ErrDigest):
		e.Code = api.CodeInvalid
	case errors.Is(err, transfer.ErrNoOrigin):
		e.Code = api.CodeNotFound
	case errors.Is(err, transfer.ErrBusy), errors.Is(err, transfer.ErrClosed):
		e.Code = api.CodeOverloaded
	case errors.Is(err, store.ErrNoSpace), errors.Is(err, os.ErrClosed):
		e.Code = api.CodeInternal
	}
	return e
}
