// Package cli is what dfctl's commands share: streams, exit codes, output formats, and options from the environment.
package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/template"
	"unicode"

	"github.com/spf13/pflag"
)

// Exit codes.
const (
	ExitOther    = 1 // anything else
	ExitUsage    = 2 // wrong options
	ExitNothing  = 3 // nothing answers
	ExitDegraded = 4 // some of what was asked does not answer, or is not ready
)

// Streams are the program's standard streams: Out is for data, Err for talk.
type Streams struct{ Out, Err io.Writer }

// Error is an error with an exit code.
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

// Usagef is an error in how the program was called.
func Usagef(format string, args ...any) error {
	return &Error{ExitUsage, fmt.Errorf(format, args...)}
}

// Output is the option that chooses between text for people and JSON for scripts.
type Output string

// Flag defines the option.
func (o *Output) Flag(flags *pflag.FlagSet) {
	*o = "text"
	flags.VarP(o, "output", "o", "`FORMAT` text or json")
}

// Set implements pflag.Value.
func (o *Output) Set(text string) error {
	if text != "text" && text != "json" {
		return fmt.Errorf("%q is neither text nor json", text)
	}
	*o = Output(text)
	return nil
}

// String implements pflag.Value.
func (o *Output) String() string { return string(*o) }

// Type implements pflag.Value.
func (*Output) Type() string { return "format" }

// Write writes v to w: as JSON, or by the template for text.
func (o Output) Write(w io.Writer, v any, text *template.Template) error {
	if o == "json" {
		enc := json.NewEncoder(w)
		enc.SetIndent("", "  ")
		if err := enc.Encode(v); err != nil {
			return fmt.Errorf("write: %w", err)
		}
		return nil
	}
	if err := text.Execute(w, v); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	return nil
}

// Plain makes a text from the network fit for a terminal: what could move the cursor or change colours becomes "?".
func Plain(text string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, text)
}

// EnvName is the environment variable of an option.
func EnvName(option string) string {
	return "DRAGONFLY_" + strings.ToUpper(strings.ReplaceAll(option, "-", "_"))
}

// FromEnviron gives the named options that the command line does not set the value of their variable, if it has one. Lists are
// joined by commas.
func FromEnviron(flags *pflag.FlagSet, environ []string, options ...string) error {
	for _, name := range options {
		f := flags.Lookup(name)
		i := slices.IndexFunc(environ, func(line string) bool { return strings.HasPrefix(line, EnvName(name)+"=") })
		if f == nil || f.Changed || i < 0 {
			continue
		}
		_, value, _ := strings.Cut(environ[i], "=")
		if value == "" {
			continue
		}
		if err := f.Value.Set(value); err != nil {
			return Usagef("environment variable %s: %w", EnvName(name), err)
		}
	}
	return nil
}
