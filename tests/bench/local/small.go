package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dragonfly-kube/dragonfly/tests/bench/lab"
	"github.com/dragonfly-kube/dragonfly/tests/bench/origin"
	"github.com/dragonfly-kube/dragonfly/tests/e2e/kind/scrape"
)

// client keeps its connections, as container runtimes do.
func client() *http.Client {
	return &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64, DisableCompression: true}}
}

// fetch reads url and returns the time to its first byte.
func fetch(ctx context.Context, c *http.Client, url string, size int64) (time.Duration, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, err
	}
	start := time.Now()
	resp, err := c.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	var one [1]byte
	if _, err := io.ReadFull(resp.Body, one[:]); err != nil {
		return 0, fmt.Errorf("get %s: %s: %w", url, resp.Status, err)
	}
	first := time.Since(start)
	n, err := io.Copy(io.Discard, resp.Body)
	if err != nil || n+1 != size || resp.StatusCode != http.StatusOK {
		return 0, fmt.Errorf("get %s: %s, %d of %d bytes: %w", url, resp.Status, n+1, size, errors.Join(err))
	}
	return first, nil
}

// firstByte compares the time to the first byte of a blob that nobody has yet with the origin's own.
func (f *field) firstByte(ctx context.Context) ([]Finding, error) {
	const samples, size = 101, 1 << 20
	return f.compareFirst(ctx, "first byte of a cold blob of 1 MiB, p50", samples, size)
}

func (f *field) compareFirst(ctx context.Context, what string, samples int, size int64) ([]Finding, error) {
	ours, theirs := make([]time.Duration, samples), make([]time.Duration, samples)
	us, them := client(), client()
	defer us.CloseIdleConnections()
	defer them.CloseIdleConnections()
	for i := range samples {
		b, err := f.add(size)
		if err != nil {
			return nil, err
		}
		if theirs[i], err = fetch(ctx, them, f.origin.URL()+b.Path(), size); err != nil {
			return nil, err
		}
		if ours[i], err = fetch(ctx, us, f.mirror()+b.Path(), size); err != nil {
			return nil, err
		}
	}
	o, t := lab.Median(ours), lab.Median(theirs)
	return []Finding{{What: what, Ours: ms(o), Theirs: ms(t), Value: float64(o-t) / float64(time.Millisecond), AtMost: 10, Unit: " ms more"}}, nil
}

func ms(d time.Duration) string { return fmt.Sprintf("%.2f ms", float64(d)/float64(time.Millisecond)) }

const smallSize = 4 << 10

// smallWarm asks for small blobs that the dfdaemon has, as fast as a few clients can. The clients run on the same machine.
func (f *field) smallWarm(ctx context.Context) ([]Finding, error) {
	const blobs = 100
	var small []origin.Blob
	c := client()
	defer c.CloseIdleConnections()
	for range blobs {
		b, err := f.add(smallSize)
		if err != nil {
			return nil, err
		}
		if _, err := fetch(ctx, c, f.mirror()+b.Path(), smallSize); err != nil {
			return nil, err
		}
		small = append(small, b)
	}
	var ours, theirs []float64
	for range f.Times {
		o, err := rate(ctx, f.mirror(), small)
		if err != nil {
			return nil, err
		}
		t, err := rate(ctx, f.origin.URL(), small)
		if err != nil {
			return nil, err
		}
		ours, theirs = append(ours, o), append(theirs, t)
	}
	o, t := lab.Median(ours), lab.Median(theirs)
	return []Finding{{
		What: "warm blobs of 4 KiB", Ours: fmt.Sprintf("%.0f/s", o), Theirs: fmt.Sprintf("%.0f/s", t), Value: o, AtLeast: 3000, Unit: "/s",
	}}, nil
}

// rate is how many requests a second are answered.
func rate(ctx context.Context, base string, blobs []origin.Blob) (float64, error) {
	const clients, period = 8, 3 * time.Second
	c := client()
	defer c.CloseIdleConnections()
	var done atomic.Int64
	errs := make([]error, clients)
	start := time.Now()
	var wg sync.WaitGroup
	for k := range clients {
		wg.Go(func() {
			for i := k; time.Since(start) < period && errs[k] == nil; i++ {
				_, errs[k] = fetch(ctx, c, base+blobs[i%len(blobs)].Path(), smallSize)
				done.Add(1)
			}
		})
	}
	wg.Wait()
	return float64(done.Load()) / time.Since(start).Seconds(), errors.Join(errs...)
}

// smallCold counts what the supernode is asked for one small blob that nobody has yet. A pull waits for its registration; the rest comes
// beside it or afterwards.
func (f *field) smallCold(ctx context.Context) ([]Finding, error) {
	const samples = 101
	before, err := f.calls(ctx)
	if err != nil {
		return nil, err
	}
	found, err := f.compareFirst(ctx, "first byte of a cold blob of 4 KiB, p50", samples, smallSize)
	if err != nil {
		return nil, err
	}
	after, err := f.calls(ctx)
	if err != nil {
		return nil, err
	}
	each := func(route string) float64 { return (after[route] - before[route]) / samples }
	return append(found, Finding{
		What:  "registrations at the supernode for a cold blob of 4 KiB",
		Ours:  fmt.Sprintf("%.2f, then %.2f event streams, %.2f reports", each("/peers"), each("/events"), each("/reports")),
		Value: each("/peers"), AtMost: 1, Unit: " calls",
	}), nil
}

// calls are the requests for tasks that the supernode has answered so far, by the last part of their route.
func (f *field) calls(ctx context.Context) (map[string]float64, error) {
	m, err := scrape.Get(ctx, f.plan.Supernode.Admin)
	if err != nil {
		return nil, err
	}
	calls := map[string]float64{}
	for _, metric := range m["dragonfly_supernode_requests_total"].GetMetric() {
		for _, l := range metric.GetLabel() {
			if l.GetName() == "route" {
				calls["/"+path.Base(l.GetValue())] += metric.GetCounter().GetValue()
			}
		}
	}
	return calls, nil
}
