package dfget

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var first = identity{Task: "t", Length: 10, ETag: `"e"`}

func open(t *testing.T, path string, want ...wanted) output {
	t.Helper()
	out, err := openOutput(&Config{Output: path}, nil, want)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { out.Close(false) })
	return out
}

func begin(t *testing.T, out output, id identity, text string) {
	t.Helper()
	if ok, err := out.Accept(id); !ok || err != nil {
		t.Fatalf("Accept: got %v, %v", ok, err)
	}
	if _, err := out.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
}

// files lists a directory.
func files(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	names := []string{}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func wantFile(t *testing.T, path, want string) {
	t.Helper()
	got, err := os.ReadFile(path)
	if err != nil || string(got) != want {
		t.Errorf("%s: got %.40q, %v, want %.40q", path, got, err, want)
	}
	if got := files(t, filepath.Dir(path)); !slices.Equal(got, []string{filepath.Base(path)}) {
		t.Errorf("the directory has %q, want only the file", got)
	}
}

func TestAFileAppearsWhole(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "f")
	out := open(t, path)
	begin(t, out, first, "01234")
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("before it is whole, the file is there: %v", err)
	}
	begin(t, out, first, "56789")
	if err := out.Commit(10); err != nil {
		t.Fatal(err)
	}
	if out.Close(true) {
		t.Error("Close after Commit keeps something")
	}
	wantFile(t, path, "0123456789")
}

func TestResume(t *testing.T) {
	t.Parallel()
	want, err := (&Config{Digests: []string{"sha256:84d89877f0d4041efb6bf91a16f0248f2fd573e6af05c19f96bedb9f882f7882"}}).wanted() // 0123456789
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		meddle  func(t *testing.T, path string)
		next    identity
		resumes int64 // bytes, 0 for anew
	}{
		"the same content goes on": {next: first, resumes: 5},
		"an unknown length may become known": {
			next: identity{Task: "t", Length: -1, ETag: `"e"`}, resumes: 5,
		},
		"another task does not":  {next: identity{Task: "u", Length: 10, ETag: `"e"`}},
		"another length neither": {next: identity{Task: "t", Length: 11, ETag: `"e"`}},
		"nor another ETag":       {next: identity{Task: "t", Length: 10, ETag: `"f"`}},
		"nor one that is gone":   {next: identity{Task: "t", Length: 10, LastModified: "x"}},
		"bytes behind the note are cut off": {
			meddle: func(t *testing.T, path string) { appendTo(t, path+partialSuffix, "garbage") }, next: first, resumes: 5,
		},
		"a file shorter than its note is not trusted": {
			meddle: func(t *testing.T, path string) { truncate(t, path+partialSuffix, 3) }, next: first,
		},
		"nor is one without a note": {
			meddle: func(t *testing.T, path string) { os.Remove(path + noteSuffix) }, next: first,
		},
		"nor one with a broken note": {
			meddle: func(t *testing.T, path string) { truncate(t, path+noteSuffix, 9) }, next: first,
		},
		"nor one with a note of nonsense": {
			meddle: func(t *testing.T, path string) { replace(t, path+noteSuffix, `{"task":"t","synced":-4}`) }, next: first,
		},
		"a note beyond the end is not trusted": {
			meddle: func(t *testing.T, path string) { replace(t, path+noteSuffix, `{"task":"t","synced":99}`) }, next: first,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "f")
			out := open(t, path, want...)
			begin(t, out, first, "01234")
			if !out.Close(true) {
				t.Fatal("Close keeps nothing")
			}
			if tc.meddle != nil {
				tc.meddle(t, path)
			}
			out = open(t, path, want...)
			ok, err := out.Accept(tc.next)
			if err != nil {
				t.Fatal(err)
			}
			if !ok {
				if err := out.Restart(); err != nil {
					t.Fatal(err)
				}
			}
			if got := out.Offset(); got != tc.resumes {
				t.Errorf("resumes at %d, want %d", got, tc.resumes)
			}
			begin(t, out, tc.next, "0123456789"[out.Offset():])
			if err := out.Commit(10); err != nil {
				t.Fatal(err)
			}
			wantFile(t, path, "0123456789")
		})
	}
}

func TestWhatContinuesWhat(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		a, b identity
		want bool
	}{
		"the same ETag":            {identity{ETag: `"e"`}, identity{ETag: `"e"`}, true},
		"the same weak ETag":       {identity{ETag: `W/"e"`}, identity{ETag: `W/"e"`}, false},
		"the same date":            {identity{LastModified: "d"}, identity{LastModified: "d"}, true},
		"a date beside other ETag": {identity{LastModified: "d", ETag: "1"}, identity{LastModified: "d", ETag: "2"}, false},
		"nothing to go by":         {identity{}, identity{}, false},
		"a digest":                 {identity{Digested: true}, identity{Digested: true, ETag: "x"}, true},
		"a digest once":            {identity{Digested: true}, identity{}, false},
	} {
		if got := tc.a.continues(tc.b); got != tc.want {
			t.Errorf("%s: got %v, want %v", name, got, tc.want)
		}
	}
}

func TestWrongContentLeavesNothing(t *testing.T) {
	t.Parallel()
	want, _ := (&Config{Digests: []string{emptySHA}}).wanted()
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	replace(t, path, "old")
	out := open(t, path, want...)
	begin(t, out, first, "01234")
	if err := out.Commit(5); !errors.Is(err, errDigest) {
		t.Fatalf("Commit: got %v, want errDigest", err)
	}
	out.Close(false)
	wantFile(t, path, "old")
}

func TestContentOfAnotherLengthIsNotCommitted(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "f")
	out := open(t, path)
	begin(t, out, first, "01234")
	if err := out.Commit(10); !errors.Is(err, errChanged) {
		t.Errorf("Commit: got %v, want errChanged", err)
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the file is there: %v", err)
	}
}

func TestTwoWritersOfOneFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "f")
	out := open(t, path)
	if _, err := openOutput(&Config{Output: path}, nil, nil); !errors.Is(err, errOutput) || !strings.Contains(err.Error(), "another dfget") {
		t.Errorf("the second writer: got %v, want a refusal", err)
	}
	begin(t, out, first, "0123456789")
	if err := out.Commit(10); err != nil {
		t.Fatal(err)
	}
	again := open(t, path)
	if got := again.Offset(); got != 0 {
		t.Errorf("after the first, the next begins at %d, want 0", got)
	}
}

func TestOutputsThatCannotBe(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	replace(t, filepath.Join(dir, "file"), "x")
	if err := os.Symlink("loop", filepath.Join(dir, "loop")); err != nil {
		t.Fatal(err)
	}
	for name, path := range map[string]string{
		"a directory":             dir,
		"in no directory":         filepath.Join(dir, "none", "f"),
		"below a file":            filepath.Join(dir, "file", "f"),
		"a link to itself":        filepath.Join(dir, "loop"),
		"a name that is too long": filepath.Join(dir, strings.Repeat("x", 300)),
	} {
		if _, err := openOutput(&Config{Output: path}, nil, nil); !errors.Is(err, errOutput) {
			t.Errorf("%s: got %v, want errOutput", name, err)
		}
	}
}

func TestALinkStaysALink(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file, link := filepath.Join(dir, "file"), filepath.Join(dir, "link")
	replace(t, file, "old")
	if err := os.Symlink("file", link); err != nil {
		t.Fatal(err)
	}
	out := open(t, link)
	begin(t, out, first, "0123456789")
	if err := out.Commit(10); err != nil {
		t.Fatal(err)
	}
	if target, err := os.Readlink(link); err != nil || target != "file" {
		t.Errorf("the link leads to %q, %v, want file", target, err)
	}
	if got, _ := os.ReadFile(file); string(got) != "0123456789" {
		t.Errorf("the file has %q", got)
	}
}

func TestADeviceIsWrittenTo(t *testing.T) {
	t.Parallel()
	out := open(t, os.DevNull)
	begin(t, out, first, "0123456789")
	if err := out.Commit(10); err != nil {
		t.Fatal(err)
	}
	if out.Close(true) {
		t.Error("a device can be resumed")
	}
	if info, err := os.Stat(os.DevNull); err != nil || info.Mode().IsRegular() {
		t.Errorf("%s is a file now: %v", os.DevNull, err)
	}
}

func TestAStreamCannotGoBack(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	out, err := openOutput(&Config{Output: "-"}, &b, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := out.Restart(); err != nil {
		t.Errorf("before the first byte: %v", err)
	}
	begin(t, out, first, "01234")
	begin(t, out, first, "56789") // by another source
	if _, err := out.Accept(identity{Task: "u"}); !errors.Is(err, errChanged) {
		t.Errorf("Accept of other content: got %v, want errChanged", err)
	}
	if err := out.Restart(); !errors.Is(err, errChanged) {
		t.Errorf("Restart: got %v, want errChanged", err)
	}
	if err := out.Commit(10); err != nil || b.String() != "0123456789" {
		t.Errorf("Commit: %v, wrote %q", err, b.String())
	}
}

func TestAFullDiskIsTheOutputsFault(t *testing.T) {
	t.Parallel()
	if _, err := os.Stat("/dev/full"); err != nil {
		t.Skip("this system has no /dev/full")
	}
	out := open(t, "/dev/full")
	if _, err := out.Write([]byte("x")); !errors.Is(err, errOutput) {
		t.Errorf("got %v, want errOutput", err)
	}
}

func appendTo(t *testing.T, path, text string) {
	t.Helper()
	old, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	replace(t, path, string(old)+text)
}

func truncate(t *testing.T, path string, n int64) {
	t.Helper()
	if err := os.Truncate(path, n); err != nil {
		t.Fatal(err)
	}
}

func replace(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
