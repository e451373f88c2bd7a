package config

import (
	"fmt"
	"io"
	"log/slog"
	"strings"

	"github.com/spf13/pflag"
)

// Log says what is logged and how.
type Log struct {
	Level  string // debug, info, warn or error
	Format string // text or json
}

// Flags defines the options. The defaults are what l holds.
func (l *Log) Flags(flags *pflag.FlagSet) {
	flags.StringVar(&l.Level, "log-level", l.Level, "least level that is logged: debug, info, warn or error")
	flags.StringVar(&l.Format, "log-format", l.Format, "text or json")
}

// New returns a logger that writes to w.
func (l Log) New(w io.Writer) (*slog.Logger, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(strings.TrimSpace(l.Level))); err != nil {
		return nil, fmt.Errorf("option \"log-level\": %q is none of debug, info, warn, error", l.Level)
	}
	options := &slog.HandlerOptions{Level: level}
	switch l.Format {
	case "text":
		return slog.New(slog.NewTextHandler(w, options)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(w, options)), nil
	}
	return nil, fmt.Errorf("option \"log-format\": %q is neither text nor json", l.Format)
}
