package origin

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"net/url"
)

var (
	// ErrChanged says that the content is no longer, or never was, what the caller counts on: its length, ETag or Last-Modified
	// differ from those of the first answer, or it ends before the bytes asked for. No retry mends it.
	ErrChanged = errors.New("content changed")
	// ErrRefused says that Config.CheckAddr refused an address.
	ErrRefused = errors.New("address refused")

	errURL      = errors.New("origin: want http://host/path or https://host/path as URL")
	errStalled  = errors.New("no byte within the stall timeout")
	errLie      = errors.New("answer contradicts itself or the request")
	errRedirect = errors.New("bad redirect")
	errSkips    = errors.New("the origin breaks again and again and can't resume")
)

// StatusError is an answer of the origin that is neither content nor a redirect.
type StatusError struct {
	Code   int
	Header http.Header
	// Body is the beginning of the answer's body, at most 64 KiB.
	Body []byte
	// URL that answered, without user info, query and fragment: they may be secrets.
	URL string
}

// Error names the code and the URL, not the body: that is foreign text.
func (e *StatusError) Error() string {
	return fmt.Sprintf("%s answered %d %s", e.URL, e.Code, http.StatusText(e.Code))
}

// temporary reports whether the same request may succeed later.
func (e *StatusError) temporary() bool {
	return e.Code >= 500 || e.Code == http.StatusTooManyRequests || e.Code == http.StatusRequestTimeout
}

// retryable reports whether another try may help. The caller has looked at its context before.
func retryable(err error) bool {
	if status, ok := errors.AsType[*StatusError](err); ok {
		return status.temporary()
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return false
	}
	for _, final := range []error{ErrChanged, ErrRefused, errRedirect, errSkips, http.ErrSchemeMismatch} {
		if errors.Is(err, final) {
			return false
		}
	}
	return true
}

// redact writes u without what may be secret: user info, and the query, which signs the URLs of object stores.
func redact(u *url.URL) string {
	clean := url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path, RawPath: u.RawPath}
	if u.RawQuery != "" {
		return clean.String() + "?..."
	}
	return clean.String()
}
