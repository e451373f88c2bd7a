// Package version tells which build of Dragonfly runs.
package version

import (
	"runtime"
	"runtime/debug"
)

// version is set by the linker: -ldflags "-X …/components/version.version=v1.2.3".
var version string

// Info describes a build.
type Info struct {
	// Version is the release, or the version of the Go module, or "unknown".
	Version string `json:"version"`
	// Commit is the full hash of the source, "" when the build does not know it.
	Commit string `json:"commit,omitempty"`
	// Modified is true when the source differed from Commit.
	Modified bool `json:"modified,omitempty"`
	// Go is the compiler's version.
	Go string `json:"go"`
	// Platform is "os/architecture".
	Platform string `json:"platform"`
}

// Get returns the running program's build.
func Get() Info {
	build, _ := debug.ReadBuildInfo()
	return describe(version, build)
}

func describe(linked string, build *debug.BuildInfo) Info {
	info := Info{Version: linked, Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	if build != nil {
		if info.Version == "" && build.Main.Version != "(devel)" {
			info.Version = build.Main.Version
		}
		for _, s := range build.Settings {
			switch s.Key {
			case "vcs.revision":
				info.Commit = s.Value
			case "vcs.modified":
				info.Modified = s.Value == "true"
			}
		}
	}
	if info.Version == "" {
		info.Version = "unknown"
	}
	return info
}

// String is one line for people: "v1.2.3 (commit 0123456789ab, go1.26.0, linux/amd64)".
func (i Info) String() string {
	commit := ""
	if i.Commit != "" {
		commit = "commit " + i.Commit[:min(12, len(i.Commit))]
		if i.Modified {
			commit += " with changes"
		}
		commit += ", "
	}
	return i.Version + " (" + commit + i.Go + ", " + i.Platform + ")"
}
