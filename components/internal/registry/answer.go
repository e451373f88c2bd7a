package registry

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"

	"github.com/dragonfly-kube/dragonfly/components/internal/registry/upstream"
)

// Error codes of https://github.com/opencontainers/distribution-spec/blob/main/spec.md#error-codes, and UNAVAILABLE of the
// Distribution project.
const (
	codeUnsupported = "UNSUPPORTED"
	codeName        = "NAME_INVALID"
	codeDigest      = "DIGEST_INVALID"
	codeTag         = "TAG_INVALID"
	codeUnknown     = "NAME_UNKNOWN"
	codeDenied      = "DENIED"
	codeTooMany     = "TOOMANYREQUESTS"
	codeUnavailable = "UNAVAILABLE"
	codeRange       = "RANGE_INVALID"
)

type ociError struct {
	Code    string `json:"code"`
	Message string `json:"message"`
	Detail  any    `json:"detail,omitempty"`
}

// fail answers with an error in the OCI shape.
func fail(w http.ResponseWriter, status int, code, message string) {
	body, _ := json.Marshal(struct {
		Errors []ociError `json:"errors"`
	}{[]ociError{{Code: code, Message: message}}}) // strings always encode
	h := w.Header()
	h.Set("Content-Type", "application/json; charset=utf-8")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body) // a client that left is no news
}

// failRoute answers a request that resolve refused.
func failRoute(w http.ResponseWriter, err error) {
	switch {
	case errors.Is(err, upstream.ErrDenied):
		fail(w, http.StatusForbidden, codeDenied, err.Error())
	case errors.Is(err, errUnknownPath):
		fail(w, http.StatusNotFound, codeUnknown, err.Error())
	case errors.Is(err, errDigest):
		fail(w, http.StatusBadRequest, codeDigest, err.Error())
	case errors.Is(err, errTag):
		fail(w, http.StatusBadRequest, codeTag, err.Error())
	default:
		fail(w, http.StatusBadRequest, codeName, err.Error())
	}
}
