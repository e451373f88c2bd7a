package config

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/pflag"
)

// Size defines an option whose value is a number of bytes: "512MiB", "1.5GiB", "4096". The default is what *p holds.
func Size(flags *pflag.FlagSet, p *int64, name, usage string) {
	flags.Var((*size)(p), name, usage)
}

// Rate defines an option whose value is a number of bytes per second: "20MiB/s", "20MiB". The default is what *p holds.
func Rate(flags *pflag.FlagSet, p *int64, name, short, usage string) {
	flags.VarP((*rate)(p), name, short, usage)
}

// Duration defines an option whose value is a time in Go's syntax, "1m30s", or a number of seconds. The default is what *p holds.
func Duration(flags *pflag.FlagSet, p *time.Duration, name, short, usage string) {
	flags.VarP((*duration)(p), name, short, usage)
}

type size int64

func (s *size) Set(text string) error {
	n, err := ParseSize(text)
	if err == nil {
		*s = size(n)
	}
	return err
}
func (s *size) String() string { return FormatSize(int64(*s)) }
func (*size) Type() string     { return "size" }

type rate int64

func (r *rate) Set(text string) error {
	n, err := ParseSize(strings.TrimSuffix(strings.TrimSpace(text), "/s"))
	if err != nil {
		return fmt.Errorf("%q is no rate, want for example 20MiB/s", text)
	}
	*r = rate(n)
	return nil
}

func (r *rate) String() string {
	if *r == 0 {
		return "0"
	}
	return FormatSize(int64(*r)) + "/s"
}
func (*rate) Type() string { return "rate" }

type duration time.Duration

func (d *duration) Set(text string) error {
	text = strings.TrimSpace(text)
	parsed, err := time.ParseDuration(text)
	if seconds, errInt := strconv.ParseInt(text, 10, 32); errInt == nil {
		parsed, err = time.Duration(seconds)*time.Second, nil
	}
	if err != nil || parsed < 0 {
		return fmt.Errorf("%q is no duration, want for example 30s or 5m", text)
	}
	*d = duration(parsed)
	return nil
}

func (d *duration) String() string {
	if *d == 0 {
		return "0" // as for a size, and so that --help leaves it out
	}
	return time.Duration(*d).String()
}
func (*duration) Type() string { return "duration" }

// sizeText has no comma, unlike humanize's: "1,5GiB" would be 15 GiB.
var sizeText = regexp.MustCompile(`^([0-9]{1,19}(?:\.[0-9]{1,9})?) ?([KkMmGgTtPpEe]?)(i?[Bb])?$`)

// ParseSize reads a number of bytes. KiB, MiB, GiB, TiB, and the letters K, M, G, T alone, are powers of 1,024; KB, MB, GB, TB are
// powers of 1,000.
func ParseSize(text string) (int64, error) {
	m := sizeText.FindStringSubmatch(strings.TrimSpace(text))
	if m == nil {
		return 0, fmt.Errorf("%q is no size, want for example 512MiB or 100GiB", text)
	}
	unit := m[2] + m[3]
	if len(unit) == 1 && m[3] == "" {
		unit += "iB" // what a letter alone has always meant to dfget
	}
	n, err := humanize.ParseBytes(m[1] + unit)
	if err != nil || n > math.MaxInt64 {
		return 0, fmt.Errorf("%q is no size, want for example 512MiB or 100GiB", text)
	}
	return int64(n), nil
}

// FormatSize writes n exactly, in the largest unit that allows it. ParseSize reads it back.
func FormatSize(n int64) string {
	unit := ""
	for _, next := range []string{"KiB", "MiB", "GiB", "TiB"} {
		if n == 0 || n%1024 != 0 {
			break
		}
		n, unit = n/1024, next
	}
	return strconv.FormatInt(n, 10) + unit
}
