package local

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"

	"github.com/dragonfly-kube/dragonfly/tests/bench/lab"
	"github.com/dragonfly-kube/dragonfly/tests/bench/origin"
	"github.com/dragonfly-kube/dragonfly/tests/bench/proc"
)

// move is what it took to bring a file from one program to another.
type move struct {
	time           time.Duration
	sender, client time.Duration // of processors
}

// run runs a client to its end and notes its time and that of a sender.
func run(ctx context.Context, sender int, program string, args ...string) (m move, err error) {
	before, err := proc.CPU(sender)
	if err != nil {
		return m, err
	}
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=/nonexistent"}
	start := time.Now()
	out, err := cmd.CombinedOutput()
	m.time = time.Since(start)
	if err != nil {
		return m, fmt.Errorf("%s: %w: %s", filepath.Base(program), err, out[max(0, len(out)-1000):])
	}
	after, err := proc.CPU(sender)
	m.sender, m.client = after-before, cmd.ProcessState.UserTime()+cmd.ProcessState.SystemTime()
	return m, err
}

// moves are several of them.
type moves []move

func (ms moves) median(of func(move) time.Duration) time.Duration {
	var all []time.Duration
	for _, m := range ms {
		all = append(all, of(m))
	}
	return lab.Median(all)
}

func (ms moves) time() time.Duration {
	return ms.median(func(m move) time.Duration { return m.time })
}

func (ms moves) sender() time.Duration {
	return ms.median(func(m move) time.Duration { return m.sender })
}

func (ms moves) client() time.Duration {
	return ms.median(func(m move) time.Duration { return m.client })
}

const gb = 1e9

func speed(size int64, t time.Duration) string {
	return fmt.Sprintf("%.0f MB/s", float64(size)/1e6/t.Seconds())
}

func perGB(size int64, cpu time.Duration) string {
	return fmt.Sprintf("%.2f CPU s/GB", cpu.Seconds()*gb/float64(size))
}

func over(a, b time.Duration) float64 { return a.Seconds() / max(b, time.Millisecond).Seconds() }

// oneToOne moves a large file from the supernode, which has it, to a dfget, and from nginx to a curl; both write a file.
func (f *field) oneToOne(ctx context.Context) ([]Finding, error) {
	b, err := f.add(f.Large)
	if err != nil {
		return nil, err
	}
	out := filepath.Join(f.Dir, "local", "out")
	url := f.origin.URL() + b.Path()
	supernode, dfget := f.cluster.Processes[0].PID(), filepath.Join(f.Bin, "dfget")
	get := []string{
		"--config", filepath.Join(f.Dir, "local", "empty.yaml"), "--socket", "", "--supernode", f.plan.Supernode.Admin,
		"--secret-file", filepath.Join(f.Dir, "local", "secret"), "--notbs", "-u", url, "-o", out,
	}
	var ours, theirs moves
	for k := range f.Times + 1 {
		o, err := run(ctx, supernode, dfget, get...)
		if err = errors.Join(err, os.Remove(out)); err != nil {
			return nil, err
		}
		t, err := run(ctx, f.origin.PID(), "curl", "-sSf", "-o", out, url)
		if err = errors.Join(err, os.Remove(out)); err != nil {
			return nil, err
		}
		fmt.Fprintf(f.Talk, "one to one, run %d of %d: %s, CPU of sender and receiver %.2f and %.2f s; nginx and curl %s, %.2f and %.2f s\n", k, f.Times,
			speed(f.Large, o.time), o.sender.Seconds(), o.client.Seconds(), speed(f.Large, t.time), t.sender.Seconds(), t.client.Seconds())
		if k > 0 { // the first run brings the file to the supernode
			ours, theirs = append(ours, o), append(theirs, t)
		}
	}
	if f.Profile {
		ours, err1 := f.profile(ctx, f.Large, "supernode", supernode, dfget, get...)
		theirs, err2 := f.profile(ctx, f.Large, "nginx", f.origin.PID(), "curl", "-sSf", url, "-o", out)
		if err := errors.Join(err1, err2); err != nil {
			return nil, err
		}
		f.costs = slices.Concat(ours, theirs)
	}
	name := fmt.Sprintf("one to one, %.1f GB", float64(f.Large)/gb)
	return []Finding{
		{
			What: name + ": supernode to dfget, nginx to curl", Ours: speed(f.Large, ours.time()), Theirs: speed(f.Large, theirs.time()),
			Value: over(theirs.time(), ours.time()), AtLeast: 0.8, Unit: " ×",
		},
		{
			What: name + ": CPU of the sender", Ours: perGB(f.Large, ours.sender()), Theirs: perGB(f.Large, theirs.sender()),
			Value: over(ours.sender(), theirs.sender()), AtMost: 1.2, Unit: " ×",
		},
		{
			What: name + ": CPU of the receiver", Ours: perGB(f.Large, ours.client()), Theirs: perGB(f.Large, theirs.client()),
			Value: over(ours.client(), theirs.client()), AtMost: 2.5, Unit: " ×",
		},
	}, nil
}

// warm has curl read a blob that the dfdaemon has, and the same from nginx; nothing is written.
func (f *field) warm(ctx context.Context) ([]Finding, error) {
	b, err := f.add(min(f.Large, 1<<30))
	if err != nil {
		return nil, err
	}
	var ours, theirs moves
	for k := range f.Times + 1 {
		o, err := f.read(ctx, f.cluster.Processes[1].PID(), f.mirror(), b)
		if err != nil {
			return nil, err
		}
		t, err := f.read(ctx, f.origin.PID(), f.origin.URL(), b)
		if err != nil {
			return nil, err
		}
		if k > 0 { // the first run brings the blob to the dfdaemon
			ours, theirs = append(ours, o), append(theirs, t)
		}
	}
	name := fmt.Sprintf("warm blob, %.1f GB", float64(b.Size)/gb)
	return []Finding{
		{
			What: name + ": dfdaemon to curl, nginx to curl", Ours: speed(b.Size, ours.time()), Theirs: speed(b.Size, theirs.time()),
			Value: over(theirs.time(), ours.time()), AtLeast: 0.9, Unit: " ×",
		},
		{What: name + ": CPU of the sender", Ours: perGB(b.Size, ours.sender()), Theirs: perGB(b.Size, theirs.sender()), Value: over(ours.sender(), theirs.sender()), Unit: " ×"},
	}, nil
}

func (f *field) read(ctx context.Context, sender int, base string, b origin.Blob) (move, error) {
	m, err := run(ctx, sender, "curl", "-sSf", "-o", os.DevNull, base+b.Path())
	if err == nil {
		fmt.Fprintf(f.Talk, "warm, %s: %s\n", base, speed(b.Size, m.time))
	}
	return m, err
}
