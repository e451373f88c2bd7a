package store_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"sync"
	"testing"

	"github.com/dragonfly-kube/dragonfly/components/api"
	"github.com/dragonfly-kube/dragonfly/components/internal/store"
	"github.com/dragonfly-kube/dragonfly/components/internal/store/storetest"
)

// childEnv makes the test binary a process that uses a store in the directory named, so that tests can kill it or shut it into a
// namespace.
const childEnv = "STORE_TEST_CHILD"

func TestMain(m *testing.M) {
	if job := os.Getenv(childEnv); job != "" {
		if err := children[job](os.Args[1]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

var children = map[string]func(dir string) error{"write": writeForever, "fill": fillSmallDisk}

// killTasks are what writeForever writes: of known and unknown length.
var killTasks = []struct {
	id     string
	length int64
}{{storetest.ID("a"), 60*size - 5}, {storetest.ID("b"), -1}}

// killContents are the contents of killTasks.
var killContents = sync.OnceValue(func() [2][]byte {
	return [2][]byte{storetest.Content(60*size - 5), storetest.Content(60*size - 6)}
})

// writeForever commits pieces in random order, from several goroutines, tells each committed one in a line, and drops some, until it is
// killed.
func writeForever(dir string) error {
	d, err := store.OpenDisk(dir, store.DiskConfig{}, discard, nil)
	if err != nil {
		return err
	}
	failed := make(chan error)
	for n, k := range killTasks {
		task, err := d.Create(k.id, api.Meta{Length: k.length, PieceSize: size})
		if err != nil {
			return err
		}
		for half := range 2 { // a piece has one writer, else what is told were not in the order of what is done
			go func() {
				for {
					if err := commitAndTell(task, n, 2*rand.IntN(30)+half); err != nil {
						failed <- err
						return
					}
				}
			}()
		}
	}
	return <-failed
}

// commitAndTell writes piece i unless it is held. It may be dropped first, which is told before, as it may not be there after.
func commitAndTell(task store.Task, n, i int) error {
	if task.Has(i) && rand.IntN(4) == 0 {
		fmt.Fprintf(os.Stdout, "drop %d %d\n", n, i)
		task.Drop(i)
	}
	if task.Has(i) {
		return nil
	}
	w, err := task.Writer(i, nil)
	if err != nil {
		return err
	}
	defer w.Abort()
	b := storetest.Piece(killContents()[n], i)
	for len(b) > 0 {
		m, err := w.Write(b[:min(len(b), 1+rand.IntN(20_000))])
		if err != nil {
			return err
		}
		b = b[m:]
	}
	if _, err := w.Commit(); err != nil {
		return err
	}
	fmt.Fprintf(os.Stdout, "held %d %d\n", n, i)
	return nil
}

// fillSmallDisk writes to a store on a file system of 1 MiB until it is full, and checks what the store makes of that.
func fillSmallDisk(dir string) error {
	if err := mountSmall(dir, 1<<20); err != nil {
		_, err := fmt.Fprintln(os.Stdout, cannotMount)
		return err
	}
	d, err := store.OpenDisk(dir, store.DiskConfig{}, discard, nil)
	if err != nil {
		return err
	}
	content := storetest.Content(20 * size)
	task, err := d.Create(storetest.ID("a"), api.Meta{Length: int64(len(content)), PieceSize: size})
	if err != nil {
		return err
	}
	held, err := fillTask(task, content)
	if !errors.Is(err, store.ErrNoSpace) {
		return fmt.Errorf("writing 20 pieces of 64 KiB to 1 MiB: %w, want ErrNoSpace", err)
	}
	if used, _ := d.Usage(); held < 8 || task.Count() != held || used != int64(held)*size {
		return fmt.Errorf("%d pieces committed, %d held, usage %d", held, task.Count(), used)
	}
	if err := sameBytes(task, content[:held*size]); err != nil {
		return err
	}
	task.Release()

	other, err := d.Create(storetest.ID("b"), api.Meta{Length: int64(len(content)), PieceSize: size})
	if err != nil {
		return fmt.Errorf("create with a full disk and a task to evict: %w", err)
	}
	again, err := fillTask(other, content)
	if !errors.Is(err, store.ErrNoSpace) || again < held-1 {
		return fmt.Errorf("after the first task of %d pieces became idle, %d were written, %w", held, again, err)
	}
	if _, err := d.Get(storetest.ID("a")); !errors.Is(err, store.ErrNotFound) {
		return fmt.Errorf("the idle task was not evicted: %w", err)
	}
	if err := sameBytes(other, content[:again*size]); err != nil {
		return err
	}
	other.Release()
	return d.Close()
}

// fillTask commits pieces until one fails, and tells how many it did.
func fillTask(task store.Task, content []byte) (int, error) {
	for i := range task.Layout().Count() {
		w, err := task.Writer(i, nil)
		if err != nil {
			return i, err
		}
		_, err = w.Write(storetest.Piece(content, i))
		if err == nil {
			_, err = w.Commit()
		}
		w.Abort()
		if err != nil {
			return i, err
		}
	}
	return task.Layout().Count(), nil
}

func sameBytes(task store.Task, want []byte) error {
	r, err := task.Reader()
	if err != nil {
		return err
	}
	defer r.Close()
	got, err := io.ReadAll(io.NewSectionReader(r, 0, int64(len(want))))
	if err == nil && !bytes.Equal(got, want) {
		err = errors.New("wrong bytes")
	}
	return err
}
