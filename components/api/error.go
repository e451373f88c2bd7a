package api

import "fmt"

// Error is the one shape of an error on the control plane: {"error":{"code":…,"message":…}}. Message is for people and holds no
// path of the machine and no secret.
type Error struct {
	Code    string `json:"code"`
	Message string `json:"message"`
	// Status is the origin's HTTP status where the error stems from the origin, else 0.
	Status int `json:"status,omitempty"`
}

// Error codes.
const (
	CodeBadRequest   = "BAD_REQUEST"
	CodeUnauthorized = "UNAUTHORIZED"
	CodeNotFound     = "NOT_FOUND"
	CodeUnknownPeer  = "UNKNOWN_PEER" // register again
	CodeOverloaded   = "OVERLOADED"
	CodeOrigin       = "ORIGIN"  // the origin refused or failed
	CodeInvalid      = "INVALID" // the content does not match its digest
	CodeInternal     = "INTERNAL"
)

func (e *Error) Error() string { return fmt.Sprintf("%s: %s", e.Code, e.Message) }

// ErrorBody wraps an Error for the wire.
type ErrorBody struct {
	Error Error `json:"error"`
}
