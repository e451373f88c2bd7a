package main

import "testing"

func TestWhatNeedsTheCapabilityIsTakenOut(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		edit     func([]byte) ([]byte, error)
		in, want string
	}{
		"the capability leaves every set": {
			process,
			`{"capabilities":{"bounding":["CAP_CHOWN","CAP_SYS_RESOURCE","CAP_KILL"],"effective":["CAP_SYS_RESOURCE"]}}`,
			`{"capabilities":{"bounding":["CAP_CHOWN","CAP_KILL"],"effective":[]}}`,
		},
		"limits and a negative score go": {
			process, `{"args":["a"],"oomScoreAdj":-999,"rlimits":[{"type":"RLIMIT_NOFILE","hard":1,"soft":1}]}`, `{"args":["a"]}`,
		},
		"a positive score stays": {process, `{"oomScoreAdj":500}`, `{"oomScoreAdj":500}`},
		"a specification is edited in its process, and big numbers stay": {
			specification,
			`{"linux":{"limit":9223372036854771713},"process":{"capabilities":{"permitted":["CAP_SYS_RESOURCE"]},"rlimits":[]}}`,
			`{"linux":{"limit":9223372036854771713},"process":{"capabilities":{"permitted":[]}}}`,
		},
		"a specification without a process": {specification, `{"ociVersion":"1.0.2"}`, `{"ociVersion":"1.0.2"}`},
		"capabilities of another shape":     {process, `{"capabilities":["CAP_SYS_RESOURCE"]}`, `{"capabilities":["CAP_SYS_RESOURCE"]}`},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := tt.edit([]byte(tt.in))
			if err != nil || string(got) != tt.want {
				t.Errorf("got %s (%v), want %s", got, err, tt.want)
			}
		})
	}
}

func TestWhatIsNotJSONIsRefused(t *testing.T) {
	t.Parallel()
	for _, in := range []string{"", "[]", `{"process":`} {
		if got, err := process([]byte(in)); err == nil {
			t.Errorf("%q became %s, want an error", in, got)
		}
	}
}

func TestTheFilesToEditAreFoundInTheArguments(t *testing.T) {
	t.Parallel()
	args := []string{"restrict", "--root", "/run", "exec", "--process", "/tmp/p", "--detach", "id"}
	if got := option(args, "--process", "-p"); got != "/tmp/p" {
		t.Errorf("process file %q, want /tmp/p", got)
	}
	if got := option(args, "--bundle", "-b"); got != "" {
		t.Errorf("bundle %q, want none", got)
	}
	if got := option([]string{"restrict", "create", "--bundle"}, "--bundle"); got != "" {
		t.Errorf("bundle %q, want none where the argument is missing", got)
	}
}
