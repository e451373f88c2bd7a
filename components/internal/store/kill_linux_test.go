package store_test

import (
	"bufio"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"testing"

	"github.com/dragonfly-kube/dragonfly/components/internal/store"
	"github.com/dragonfly-kube/dragonfly/components/internal/store/storetest"
)

type killed struct{ task, piece int }

// A process that is killed at any moment has lost no piece that it said was held, over several lives on one directory.
func TestKill(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	held := make(map[killed]bool)
	for life := range 6 {
		killAfter(t, dir, 1+rand.IntN(40), held)
		if len(held) == 0 {
			t.Fatal("the child was killed before it told anything")
		}
		checkSurvivors(t, dir, life, held)
	}
}

// killAfter runs writeForever, kills it once it told lines lines, and notes all that it told until it was dead.
func killAfter(t *testing.T, dir string, lines int, held map[killed]bool) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], dir)
	cmd.Env = append(os.Environ(), childEnv+"=write")
	cmd.Stderr = t.Output()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	in := bufio.NewScanner(out)
	for n := 1; in.Scan(); n++ {
		var what string
		var k killed
		if _, err := fmt.Sscanf(in.Text(), "%s %d %d", &what, &k.task, &k.piece); err != nil {
			t.Fatalf("the child told %q: %v", in.Text(), err)
		}
		if what == "held" {
			held[k] = true
		} else {
			delete(held, k)
		}
		if n == lines {
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := cmd.Wait(); err == nil || cmd.ProcessState.ExitCode() >= 0 {
		t.Fatalf("the child ended by itself: %v", err)
	}
}

// checkSurvivors opens the store and finds all held pieces and their bytes. In every other life it stops uncleanly again.
func checkSurvivors(t *testing.T, dir string, life int, held map[killed]bool) {
	t.Helper()
	d := openDisk(t, dir, store.DiskConfig{})
	tasks := make([]store.Task, len(killTasks))
	for n, k := range killTasks {
		if task, err := d.Get(k.id); err == nil {
			t.Cleanup(task.Release)
			tasks[n] = task
		}
	}
	for k := range maps.Keys(held) {
		if tasks[k.task] == nil || !tasks[k.task].Has(k.piece) {
			t.Errorf("life %d: piece %d of task %d was told held and is not", life, k.piece, k.task)
		}
	}
	for n, task := range tasks {
		if task == nil {
			continue
		}
		for i := range task.Have().EachSet() { // those that were not told in time as well
			storetest.Check(t, task, killContents()[n], int(i)*size, len(storetest.Piece(killContents()[n], int(i))))
		}
	}
	if life%2 == 0 {
		closeDisk(t, d)
	} else {
		crash(t, d, dir)
	}
}
