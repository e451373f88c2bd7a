package version

import (
	"runtime"
	"runtime/debug"
	"testing"
)

func TestDescribe(t *testing.T) {
	t.Parallel()
	const commit = "0123456789abcdef0123456789abcdef01234567"
	tail := runtime.Version() + ", " + runtime.GOOS + "/" + runtime.GOARCH + ")"
	for name, tc := range map[string]struct {
		linked string
		build  *debug.BuildInfo
		want   string
	}{
		"the linker's wins": {
			"v1.2.3", &debug.BuildInfo{Main: debug.Module{Version: "v0.0.1"}}, "v1.2.3 (" + tail,
		},
		"the module's otherwise": {
			"", &debug.BuildInfo{Main: debug.Module{Version: "v0.0.1"}}, "v0.0.1 (" + tail,
		},
		"a build of a working copy": {
			"", &debug.BuildInfo{Main: debug.Module{Version: "(devel)"}, Settings: []debug.BuildSetting{
				{Key: "vcs.revision", Value: commit}, {Key: "vcs.modified", Value: "true"},
			}}, "unknown (commit 0123456789ab with changes, " + tail,
		},
		"a short commit":     {"v1", &debug.BuildInfo{Settings: []debug.BuildSetting{{Key: "vcs.revision", Value: "abc"}}}, "v1 (commit abc, " + tail},
		"nothing to go by":   {"", nil, "unknown (" + tail},
		"no module metadata": {"", &debug.BuildInfo{}, "unknown (" + tail},
	} {
		if got := describe(tc.linked, tc.build).String(); got != tc.want {
			t.Errorf("%s: got %q, want %q", name, got, tc.want)
		}
	}
	if got := Get(); got.Version == "" || got.Go != runtime.Version() {
		t.Errorf("Get: got %+v", got)
	}
}
