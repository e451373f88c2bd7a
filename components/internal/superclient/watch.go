package superclient

import (
	"context"
	"errors"
	"time"
)

// errSilent ends a call whose supernode shows no sign of life.
var errSilent = errors.New("no sign of life")

// watchTick is the grain of silence.
const watchTick = 50 * time.Millisecond

// watched runs f and ends it with errSilent once the supernode has shown no sign of life, on this call or any other, for the time
// silence. It counts ticks that this process was awake for: on a host that is starved of CPU everybody is slow, and to call a living
// supernode dead then would send all its peers to the origin.
func (n *node) watched(ctx context.Context, silence time.Duration, f func(context.Context) error) error {
	return n.watchedFor(ctx, func() time.Duration { return silence }, f)
}

// watchedFor is watched where the silence that is allowed changes while f runs.
func (n *node) watchedFor(ctx context.Context, silence func() time.Duration, f func(context.Context) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(watchTick)
		defer tick.Stop()
		last, quiet := n.signs.Load(), time.Duration(0)
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			quiet += watchTick
			if signs := n.signs.Load(); signs != last {
				last, quiet = signs, 0
			}
			if quiet >= silence() {
				cancel(errSilent)
				return
			}
		}
	}()
	err := f(ctx)
	if cause := context.Cause(ctx); errors.Is(cause, errSilent) {
		err = cause
	}
	cancel(nil)
	<-done
	return err
}
