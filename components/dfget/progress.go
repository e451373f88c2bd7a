package dfget

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/schollz/progressbar/v3"

	"github.com/dragonfly-kube/dragonfly/components/api"
)

// progress shows how far a download is. Its methods are called by one goroutine.
type progress interface {
	// begin is told when the content's length is known (or -1) and how many bytes are there already. It may come again.
	begin(length, have int64)
	// at is told of all bytes that are there, often. shares may cost a call.
	at(have int64, shares func() api.Shares)
	// end ends the display.
	end()
}

// bar is a progress bar on a terminal.
type bar struct {
	w     io.Writer
	bar   *progressbar.ProgressBar
	asked time.Time
}

// askEvery is how often the shares are asked for.
const askEvery = time.Second

func (b *bar) begin(length, have int64) {
	if b.bar == nil {
		b.bar = progressbar.NewOptions64(length,
			progressbar.OptionSetWriter(b.w),
			progressbar.OptionShowBytes(true),
			progressbar.OptionUseIECUnits(true),
			progressbar.OptionSetWidth(30),
			progressbar.OptionThrottle(100*time.Millisecond),
			progressbar.OptionSetSpinnerChangeInterval(0), // it would take a goroutine
			progressbar.OptionClearOnFinish(),
			progressbar.OptionSetDescription("starting"),
		)
	}
	_ = b.bar.Set64(have)
	b.asked = time.Now()
}

func (b *bar) at(have int64, shares func() api.Shares) {
	if now := time.Now(); now.Sub(b.asked) >= askEvery {
		b.asked = now
		b.bar.Describe(describe(shares()))
	}
	_ = b.bar.Set64(have)
}

func (b *bar) end() {
	if b.bar != nil {
		_ = b.bar.Clear()
	}
}

// lines is progress for a log: a line for every tenth.
type lines struct {
	w       io.Writer
	length  int64
	started time.Time
	first   int64 // bytes that were there before
	next    int64 // bytes at which to say something
}

// lineEvery is the distance of lines where the length is not known, in bytes.
const lineEvery = 256 << 20

func (l *lines) begin(length, have int64) {
	l.length, l.started, l.first = length, time.Now(), have
	l.next = have + lineEvery
	size := "unknown size"
	if length >= 0 {
		size = humanize.IBytes(uint64(length))
		l.next = l.tenth(have)
	}
	from := ""
	if have > 0 {
		from = ", from " + humanize.IBytes(uint64(have)) + " on"
	}
	fmt.Fprintf(l.w, "downloading %s%s\n", size, from)
}

// tenth is the next tenth of the length behind have.
func (l *lines) tenth(have int64) int64 {
	step := max(1, l.length/10)
	return (have/step + 1) * step
}

func (l *lines) at(have int64, shares func() api.Shares) {
	if have < l.next || have == l.length { // the end has a line of its own
		return
	}
	what := humanize.IBytes(uint64(have))
	l.next = have + lineEvery
	if l.length > 0 {
		what = fmt.Sprintf("%d %%", have*100/l.length)
		l.next = l.tenth(have)
	}
	fmt.Fprintf(l.w, "%s, %s, %s\n", what, perSecond(have-l.first, time.Since(l.started)), describe(shares()))
}

func (*lines) end() {}

// describe says where bytes came from.
func describe(s api.Shares) string {
	total := s.Total()
	if total == 0 {
		return "from this host"
	}
	var parts []string
	for _, p := range []struct {
		n    int64
		name string
	}{{s.FromPeers, "peers"}, {s.FromSeed, "seed"}, {s.FromOrigin, "origin"}} {
		if p.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %% from %s", (p.n*100+total/2)/total, p.name))
		}
	}
	return strings.Join(parts, ", ")
}

func perSecond(n int64, d time.Duration) string {
	if d <= 0 {
		return "? B/s"
	}
	return humanize.IBytes(uint64(float64(n)/d.Seconds())) + "/s"
}

// summary is the last line.
func summary(c *Config, n int64, d time.Duration, s api.Shares) string {
	where := c.Output
	if where == "-" {
		where = "standard output"
	}
	return fmt.Sprintf("%s: %s in %s (%s), %s", where, humanize.IBytes(uint64(n)), d.Round(time.Millisecond), perSecond(n, d), describe(s))
}
