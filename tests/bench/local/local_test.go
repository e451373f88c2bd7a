package local

import (
	"testing"
	"time"
)

func TestBounds(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		f    Finding
		want bool
	}{
		"no bound":            {Finding{Value: 7}, true},
		"at least, just so":   {Finding{Value: 3, AtLeast: 3}, true},
		"at least, too low":   {Finding{Value: 2.9, AtLeast: 3}, false},
		"at most, just so":    {Finding{Value: 3, AtMost: 3}, true},
		"at most, too high":   {Finding{Value: 3.1, AtMost: 3}, false},
		"at most, below zero": {Finding{Value: -1, AtMost: 3}, true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := tt.f.Holds(); got != tt.want {
				t.Errorf("%+v holds: %v, want %v", tt.f, got, tt.want)
			}
		})
	}
}

func TestFigures(t *testing.T) {
	t.Parallel()
	if got, want := speed(3e9, 2*time.Second), "1500 MB/s"; got != want {
		t.Errorf("speed = %q, want %q", got, want)
	}
	if got, want := perGB(4e9, time.Second), "0.25 CPU s/GB"; got != want {
		t.Errorf("perGB = %q, want %q", got, want)
	}
	if got := over(time.Second, 0); got != 1000 {
		t.Errorf("over nothing = %v, want 1000: no division by zero", got)
	}
}

func TestEachFigureIsAMedianOfItsOwn(t *testing.T) {
	t.Parallel()
	ms := moves{{time: 1, sender: 30, client: 200}, {time: 2, sender: 10, client: 300}, {time: 3, sender: 20, client: 100}}
	if ms.time() != 2 || ms.sender() != 20 || ms.client() != 200 {
		t.Errorf("time %d, sender %d, client %d; want 2, 20, 200", ms.time(), ms.sender(), ms.client())
	}
}

func TestAClientThatFailsIsToldWithWhatItSaid(t *testing.T) {
	t.Parallel()
	_, err := run(t.Context(), 1, "/bin/sh", "-c", "echo no such host; exit 3")
	if err == nil || err.Error() != "sh: exit status 3: no such host\n" {
		t.Errorf("run = %v, want the exit status and the words", err)
	}
}

func TestSamplesAreSortedByWhatTheKernelDid(t *testing.T) {
	t.Parallel()
	const report = `  1999|[.] 0x00000000005c49c1
  3998|[k] _copy_to_iter
  1999|[k] copy_folio_from_iter_atomic
  5997|[k] shmem_get_folio_gfp
  7996|[k] tcp_sendmsg_locked
# a comment
`
	got := cost("p", 2, report, "# started\n\n5000,,raw_syscalls:sys_enter,1,100.00,,\n")
	want := Cost{Program: "p", User: 0.5, Copying: 1.5, Pages: 1.5, Rest: 2, Calls: 2500}
	if got != want {
		t.Errorf("cost = %+v, want %+v", got, want)
	}
}
