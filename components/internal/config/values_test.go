package config

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"
)

func TestParseSize(t *testing.T) {
	t.Parallel()
	const bad = -1
	for text, want := range map[string]int64{
		"0": 0, "4096": 4096, "512MiB": 512 << 20, "100GiB": 100 << 30, "1.5GiB": 3 << 29, "2 TiB": 2 << 40, " 1KiB ": 1024,
		"1kib": 1024, "7B": 7, "20M": 20 << 20, "20m": 20 << 20, "20g": 20 << 30, "3k": 3072, "1T": 1 << 40,
		"1KB": 1000, "20MB": 20_000_000, "1GB": 1_000_000_000,
		"9223372036854775807": math.MaxInt64, "7.9EiB": 9108079886394091520,

		"": bad, " ": bad, "B": bad, "MiB": bad, "-1": bad, "-1GiB": bad, "+1": bad, "1e3": bad, "0x10": bad, "1,5GiB": bad, "1 000": bad,
		"NaN": bad, "Inf": bad, "1.": bad, ".5GiB": bad, "1.5.5": bad, "10 MiB/s": bad, "1ib": bad, "1iB": bad, "1Mi": bad, "1GiBB": bad,
		"9223372036854775808": bad, "99999999999999999999": bad, "8EiB": bad, "16EiB": bad, "9999999EiB": bad, "1GiB\n2": bad, "１GiB": bad,
		strings.Repeat("9", 1<<16): bad,
	} {
		got, err := ParseSize(text)
		if want == bad {
			if err == nil {
				t.Errorf("ParseSize(%.40q): got %d, want an error", text, got)
			}
			continue
		}
		if err != nil || got != want {
			t.Errorf("ParseSize(%q): got %d, %v, want %d", text, got, err, want)
		}
	}
}

func TestFormatSize(t *testing.T) {
	t.Parallel()
	for n, want := range map[int64]string{
		0: "0", 1: "1", 1023: "1023", 1024: "1KiB", 1025: "1025", 100 << 30: "100GiB", 1536 << 20: "1536MiB", 1 << 50: "1024TiB",
		math.MaxInt64: "9223372036854775807",
	} {
		if got := FormatSize(n); got != want {
			t.Errorf("FormatSize(%d): got %q, want %q", n, got, want)
		}
	}
}

func FuzzSize(f *testing.F) {
	for _, s := range []string{"1GiB", "0.000000001E", "9223372036854775807", "1.5 kB", "-"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		n, err := ParseSize(text)
		if err != nil {
			return
		}
		if n < 0 {
			t.Fatalf("ParseSize(%q): negative %d", text, n)
		}
		if again, err := ParseSize(FormatSize(n)); err != nil || again != n {
			t.Errorf("ParseSize(%q) = %d, written %q, read back %d, %v", text, n, FormatSize(n), again, err)
		}
	})
}

func TestRateAndDuration(t *testing.T) {
	t.Parallel()
	const bad = -1
	var limit int64
	var wait time.Duration
	flags := pflag.NewFlagSet("x", pflag.ContinueOnError)
	Rate(flags, &limit, "limit", "s", "")
	Duration(flags, &wait, "wait", "e", "")
	for text, want := range map[string]int64{
		"20M": 20 << 20, "20MiB/s": 20 << 20, "1 KiB/s": 1024, "0": 0, "5": 5,
		"": bad, "/s": bad, "20M/m": bad, "-1": bad, "20M/s/s": bad,
	} {
		limit = bad
		if err := flags.Set("limit", text); (err != nil) != (want == bad) || limit != want {
			t.Errorf("rate %q: got %d, %v, want %d", text, limit, err, want)
		}
	}
	for text, want := range map[string]time.Duration{
		"30s": 30 * time.Second, "90": 90 * time.Second, "1h2m": 62 * time.Minute, "0": 0,
		"": bad, "-1s": bad, "-5": bad, "1 day": bad, "99999999999999999999": bad, "1.5": bad,
	} {
		wait = bad
		if err := flags.Set("wait", text); (err != nil) != (want == bad) || wait != want {
			t.Errorf("duration %q: got %v, %v, want %v", text, wait, err, want)
		}
	}
	for n, want := range map[int64]string{0: "0", 20 << 20: "20MiB/s", 5: "5/s"} {
		if limit = n; flags.Lookup("limit").Value.String() != want {
			t.Errorf("rate %d: written %q, want %q", n, flags.Lookup("limit").Value, want)
		}
	}
}
