package dfget

import (
	"context"
	"errors"
	"fmt"

	"github.com/dragonfly-kube/dragonfly/components/api"
	"github.com/dragonfly-kube/dragonfly/components/internal/config"
)

// Exit codes of the program. A wrong call is config.UsageError's 2.
const (
	ExitOther       = 1   // anything else
	ExitUsage       = 2   // wrong options
	ExitRefused     = 3   // the origin answered 4xx
	ExitUnreachable = 4   // the origin did not answer, or answered 5xx, and the swarm does not have the file
	ExitDigest      = 5   // the content does not have its digest
	ExitOutput      = 6   // the output could not be written
	ExitTimeout     = 7   // the time of --timeout is over
	ExitInterrupted = 130 // SIGINT or SIGTERM
)

// exitHelp is part of --help.
const exitHelp = `Exit codes:
  0    the file is complete and verified
  1    any other error
  2    wrong options
  3    the origin refused: it answered 4xx
  4    the origin did not answer or answered 5xx, and the swarm does not have the file
  5    the content does not have its digest; nothing is left at the output
  6    the output could not be written
  7    the time of --timeout is over; the same call resumes
  130  interrupted; the same call resumes
`

// Error is why a download failed, with the exit code for it.
type Error struct {
	Code int
	Err  error
}

// Error implements error.
func (e *Error) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// ExitCode is one of the Exit constants.
func (e *Error) ExitCode() int { return e.Code }

var (
	errTimeout = errors.New("timed out")
	errOutput  = errors.New("cannot write the output")
	errChanged = errors.New("the content changed meanwhile")
)

// explain gives err its exit code and says what to do. resumable tells that the next call goes on where this one stopped.
func explain(ctx context.Context, err error, c *Config, resumable bool) error {
	resume := ""
	if resumable {
		resume = "; the same call goes on from here"
	}
	if cause := context.Cause(ctx); cause != nil && !errors.Is(err, errOutput) {
		if errors.Is(cause, errTimeout) {
			return &Error{ExitTimeout, fmt.Errorf("%w after %v%s", cause, c.Timeout, resume)}
		}
		return &Error{ExitInterrupted, fmt.Errorf("interrupted%s", resume)}
	}
	switch {
	case errors.Is(err, errOutput):
		return &Error{ExitOutput, err}
	case errors.Is(err, errDigest):
		return &Error{ExitDigest, fmt.Errorf("%w; nothing was saved: compare the digest with its source, then the URL", err)}
	}
	e, ok := errors.AsType[*api.Error](err)
	if !ok {
		return &Error{ExitOther, err}
	}
	switch {
	case e.Code == api.CodeBadRequest:
		return &config.UsageError{Err: errors.New(e.Message)}
	case e.Code == api.CodeInvalid:
		return &Error{ExitDigest, fmt.Errorf("%s; nothing was saved: compare the digest with its source, then the URL", e.Message)}
	case e.Code == api.CodeOrigin && e.Status/100 == 4:
		return &Error{ExitRefused, fmt.Errorf("the origin refused: %s%s", e.Message, advice(e.Status))}
	case e.Code == api.CodeOrigin || e.Code == api.CodeNotFound:
		return &Error{ExitUnreachable, fmt.Errorf("cannot get the content: %s%s", e.Message, resume)}
	}
	return &Error{ExitOther, e}
}

// advice is what may help against a refusal.
func advice(status int) string {
	switch status {
	case 401, 403:
		return ` (credentials go by --header "Authorization: ...")`
	case 404, 410:
		return " (look at the URL)"
	case 429:
		return " (try again later)"
	}
	return ""
}
