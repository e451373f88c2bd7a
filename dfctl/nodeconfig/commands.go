package nodeconfig

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/dragonfly-kube/dragonfly/dfctl/cli"
)

func (h host) print(ctx context.Context, c *config) error {
	j, err := h.prepare(ctx, c)
	if err != nil {
		return err
	}
	defer j.close()
	if err := c.output.Write(h.streams.Out, h.report(j, contents), printed()); err != nil {
		return err
	}
	h.talk(j.plan.Notes)
	return j.obstacles()
}

func (h host) diff(ctx context.Context, c *config) error {
	j, err := h.prepare(ctx, c)
	if err != nil {
		return err
	}
	defer j.close()
	return h.showDiff(c, j)
}

func (h host) showDiff(c *config, j *job) error {
	if err := c.output.Write(h.streams.Out, h.report(j, diffs), diffed()); err != nil {
		return err
	}
	h.talk(j.plan.Notes)
	return j.obstacles()
}

func (h host) apply(ctx context.Context, c *config) error {
	j, err := h.prepare(ctx, c)
	if err != nil {
		return err
	}
	defer j.close()
	if c.dryRun {
		return h.showDiff(c, j)
	}
	return h.change(ctx, c, j)
}

func (h host) rollback(ctx context.Context, c *config) error {
	j, err := h.open(ctx, c)
	if err != nil {
		return err
	}
	defer j.close()
	if err := j.makeWrites(); err != nil {
		return err
	}
	if c.dryRun {
		return h.showDiff(c, j)
	}
	return h.change(ctx, c, j)
}

// change makes the writes, and what runtimes need after them.
func (h host) change(ctx context.Context, c *config, j *job) error {
	pending := j.ledger.Pending()
	if err := j.ledger.Commit(j.writes); err != nil {
		return err
	}
	for _, w := range j.writes {
		for _, command := range w.Needs {
			if w.Changed() && !slices.Contains(pending, command) {
				pending = append(pending, command)
			}
		}
	}
	r := h.report(j, nothing)
	r.Needs = order(pending)
	r.Restarted = c.restart && len(pending) > 0
	if err := c.output.Write(h.streams.Out, r, changed()); err != nil {
		return err
	}
	h.talk(j.plan.Notes)
	if err := h.restart(ctx, c, j, r.Needs); err != nil {
		return errors.Join(err, j.obstacles())
	}
	return j.obstacles()
}

// restart runs the commands, if that is wanted. They are taken off the record first: one that kills this program, by restarting the
// runtime that it runs in, is not run again and again.
func (h host) restart(ctx context.Context, c *config, j *job, commands []string) error {
	if len(commands) == 0 {
		return nil
	}
	if !c.restart {
		h.talk([]string{"the runtime uses this after: " + strings.Join(commands, " && ") + " (--restart does it)"})
		return nil
	}
	if err := j.ledger.SetPending(nil); err != nil {
		return err
	}
	for i, command := range commands {
		if err := h.run(ctx, c.hostRoot, command); err != nil {
			return errors.Join(fmt.Errorf("run %s on the host: %w", command, err), j.ledger.SetPending(commands[i:]))
		}
	}
	return nil
}

// order puts what others rely on first, and leaves out a reload of what is restarted.
func order(commands []string) []string {
	const reload, restart = "systemctl daemon-reload", "systemctl restart "
	out := slices.DeleteFunc(slices.Clone(commands), func(c string) bool {
		name, ok := strings.CutPrefix(c, "systemctl reload ")
		return c == reload || ok && slices.Contains(commands, restart+name)
	})
	if slices.Contains(commands, reload) {
		out = append([]string{reload}, out...)
	}
	return out
}

func (h host) verify(ctx context.Context, c *config) error {
	j, err := h.prepare(ctx, c)
	if err != nil {
		return err
	}
	defer j.close()
	r := h.report(j, nothing)
	r.Needs = order(j.ledger.Pending())
	if err := c.output.Write(h.streams.Out, r, verified()); err != nil {
		return err
	}
	h.talk(j.plan.Notes)
	if len(r.Needs) > 0 {
		h.talk([]string{"apply has not run: " + strings.Join(r.Needs, " && ")})
	}
	if err := j.obstacles(); err != nil {
		return err
	}
	for _, w := range j.writes {
		if w.Changed() {
			return &cli.Error{Code: cli.ExitDegraded, Err: errors.New("the node is not configured as asked: dfctl node-config diff shows what is missing")}
		}
	}
	return nil
}

// talk writes notes for people.
func (h host) talk(notes []string) {
	for _, note := range notes {
		fmt.Fprintf(h.streams.Err, "note: %s\n", cli.Plain(note))
	}
}
