package peer

import (
	"context"
	"time"
)

const (
	// fastRate is what one connection brings where receiving, hashing and writing keep a processor busy, in bytes a second; links of
	// 1 Gbit/s stay below it.
	fastRate = 200e6
	// fastFrom is the least answer that tells a rate, in bytes: less of it may have been waiting in the kernel.
	fastFrom = 1 << 20
)

// pair is the connections for one kind of request. Everything that one connection brings is received, hashed and written by one goroutine.
// Where that, and not the link, is what the next answer waits for, a second connection brings half of them.
type pair [2]lane

func (p *pair) init(ctx context.Context, l *Link) {
	for i := range p {
		p[i] = lane{link: l, ctx: ctx}
	}
}

func (p *pair) send(r Request) {
	first, second := &p[0], &p[1]
	if waiting, fast := first.state(); fast {
		if others, _ := second.state(); others < waiting {
			second.send(r)
			return
		}
	}
	first.send(r)
}

func (p *pair) cut(id uint64) {
	for i := range p {
		p[i].cut(id)
	}
}

func (p *pair) close() {
	for i := range p {
		p[i].close()
	}
}

// state tells how many requests are out, and whether the last large answer came fast.
func (l *lane) state() (waiting int, fast bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.queue), l.fast
}

// note keeps whether an answer of n bytes that took so long came fast. Callers hold mu.
func (l *lane) note(n int64, took time.Duration) {
	if n >= fastFrom {
		l.fast = float64(n) >= fastRate*took.Seconds()
	}
}
