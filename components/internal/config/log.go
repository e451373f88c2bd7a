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
	Dir    string // of the log file; "" for none
}

// Flags defines the options. The defaults are what l holds.
func (l *Log) Flags(flags *pflag.FlagSet) {
	flags.StringVar(&l.Level, "log-level", l.Level, "least level that is logged: debug, info, warn or error")
	flags.StringVar(&l.Format, "log-format", l.Format, "text or json")
}

// DirFlag defines the option for a log file, which only programs that run for long have.
func (l *Log) DirFlag(flags *pflag.FlagSet, program string) {
	flags.StringVar(&l.Dir, "log-dir", l.Dir, fmt.Sprintf("`DIR` for a log file too, %s.log, beside standard error; at %d MiB it is "+
		"put aside, and %d such files are kept", program, logFileSize, logFilesKept))
}

// New returns the logger of a program. It writes to w and, with Dir, to a file, which the caller closes at the end.
func (l Log) New(w io.Writer, program string) (*slog.Logger, io.Closer, error) {
	talk, err := l.to(w)
	if err != nil || l.Dir == "" {
		return talk, io.NopCloser(nil), err
	}
	file, err := openLogFile(l.Dir, program)
	if err != nil {
		return nil, nil, err
	}
	log, err := l.to(&both{main: w, file: file, talk: talk})
	return log, file, err
}

// to returns a logger that writes to w.
func (l Log) to(w io.Writer) (*slog.Logger, error) {
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
