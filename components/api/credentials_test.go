package api

import "testing"

func TestWhateverMayTellWhoIsAskingIsACredential(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		header map[string][]string
		kept   int
		all    bool
	}{
		{"nothing", nil, 0, true},
		{"what every client sends", map[string][]string{"Accept": {"a", "b"}, "user-agent": {"x"}}, 2, true},
		{"an authorization in lower case", map[string][]string{"authorization": {"Bearer x"}, "Accept": {"a"}}, 1, false},
		{"a cookie", map[string][]string{"Cookie": {"a=b"}}, 0, false},
		{"a file server's own", map[string][]string{"Private-Token": {"x"}}, 0, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			clean, all := Anonymous(tc.header)
			if len(clean) != tc.kept || all != tc.all {
				t.Errorf("got %v, %v; want %d headers and %v", clean, all, tc.kept, tc.all)
			}
		})
	}
}
