package recipe

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite the golden files")

var values = map[string]string{"VERSION": "v1.2.3", "REVISION": "0123abcd"}

func TestOurDockerfiles(t *testing.T) {
	t.Parallel()
	for _, image := range []string{"supernode", "dfdaemon"} {
		path := filepath.Join("..", "..", image, "Dockerfile")
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		r, err := Parse(path, f, values)
		if err != nil {
			t.Fatal(err)
		}
		got, err := json.MarshalIndent(r, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, '\n')
		golden := filepath.Join("testdata", image+".golden.json")
		if *update {
			if err := os.WriteFile(golden, got, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), string(got)); diff != "" {
			t.Errorf("%s (-want +got; -update accepts it):\n%s", path, diff)
		}
	}
}

func TestInstructions(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		text string
		want Recipe
	}{
		"copies of files and folders": {
			"COPY a b/ /c/\nWORKDIR /d\nCOPY --chown=1:2 /e ./\nCOPY f g/",
			Recipe{Steps: []Step{
				{Copy: &Copy{From: []string{"a", "b"}, To: "/c/"}},
				{Dir: "/d"},
				{Copy: &Copy{From: []string{"e"}, To: "/d/", UID: 1, GID: 2}},
				{Copy: &Copy{From: []string{"f"}, To: "/d/g/"}},
			}},
		},
		"a folder below a folder": {"WORKDIR /a\nWORKDIR b/../c", Recipe{Steps: []Step{{Dir: "/a"}, {Dir: "/a/c"}}}},
		"the root as a target":    {"COPY a /", Recipe{Steps: []Step{{Copy: &Copy{From: []string{"a"}, To: "/"}}}}},
	} {
		got, err := Parse("Dockerfile", strings.NewReader("FROM scratch\n"+tc.text+"\n"), nil)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for i := range got.Steps {
			got.Steps[i].Text = ""
		}
		if diff := cmp.Diff(tc.want.Steps, got.Steps); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestVariables(t *testing.T) {
	t.Parallel()
	got, err := Parse("Dockerfile", strings.NewReader(`FROM scratch
ARG A=1
ARG B=2
ENV C="$A and $B" D=x
ENV D=y
LABEL l='$A' m=${C}
EXPOSE 80 53/udp
`), map[string]string{"B": "3"})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"C=1 and 3", "D=y"}, got.Config.Env); diff != "" {
		t.Errorf("variables (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[string]string{"l": "$A", "m": "1 and 3"}, got.Config.Labels); diff != "" {
		t.Errorf("labels (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[string]struct{}{"80/tcp": {}, "53/udp": {}}, got.Config.ExposedPorts); diff != "" {
		t.Errorf("ports (-want +got):\n%s", diff)
	}
}

func TestWhatIsRefused(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ text, want string }{
		"an empty file":             {"", "Dockerfile"},
		"another base":              {"FROM debian:12", "Dockerfile:1: want FROM scratch"},
		"a platform":                {"FROM --platform=linux/arm64 scratch", "Dockerfile:1: want FROM scratch"},
		"two stages":                {"FROM scratch\nFROM scratch", "Dockerfile:2: more than one FROM"},
		"an ARG before FROM":        {"ARG A=1\nFROM scratch", "Dockerfile:1: an ARG before FROM"},
		"a command to run":          {"FROM scratch\n\nRUN true", "Dockerfile:3: RUN is not supported"},
		"a default command":         {"FROM scratch\nCMD [\"a\"]", "Dockerfile:2: CMD is not supported"},
		"a health check":            {"FROM scratch\nHEALTHCHECK CMD [\"a\"]", "Dockerfile:2: HEALTHCHECK is not supported"},
		"a download":                {"FROM scratch\nADD http://example.com/a /", "Dockerfile:2: ADD is not supported"},
		"a volume":                  {"FROM scratch\nVOLUME /a", "Dockerfile:2: VOLUME is not supported"},
		"a word that is none":       {"FROM scratch\nCOPPY a /", "line 2"},
		"an entrypoint for a shell": {"FROM scratch\nENTRYPOINT a b", "Dockerfile:2: ENTRYPOINT: want the form with brackets"},
		"a copy between stages":     {"FROM scratch\nCOPY --from=x a /", "Dockerfile:2: COPY: no option but --chown"},
		"a copy with a mode":        {"FROM scratch\nCOPY --chmod=755 a /", "Dockerfile:2: COPY: no option but --chown"},
		"a text in the file":        {"FROM scratch\nCOPY <<EOF /a/\nx\nEOF\n", "Dockerfile:2: COPY: no option but --chown"},
		"an owner by name":          {"FROM scratch\nCOPY --chown=root:root a /", "Dockerfile:2: COPY: --chown=root:root: want two numbers"},
		"an owner without a group":  {"FROM scratch\nCOPY --chown=1 a /", "Dockerfile:2: COPY: --chown=1: want two numbers"},
		"a copy to a file":          {"FROM scratch\nCOPY a /b", "Dockerfile:2: COPY: want a folder to copy to"},
		"a copy from outside":       {"FROM scratch\nCOPY ../a /", "Dockerfile:2: COPY: \"../a\""},
		"a wildcard":                {"FROM scratch\nCOPY a* /", "Dockerfile:2: COPY: \"a*\""},
		"an unknown variable":       {"FROM scratch\nLABEL a=$B", "Dockerfile:2: there is no ARG or ENV B"},
		"an ARG without a value":    {"FROM scratch\nARG A", "Dockerfile:2: ARG A has no value"},
		"a port that is none":       {"FROM scratch\nEXPOSE 99999", "Dockerfile:2: EXPOSE: \"99999\" is no port"},
	} {
		_, err := Parse("Dockerfile", strings.NewReader(tc.text), nil)
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: got %v, want %q", name, err, tc.want)
		}
	}
	if _, err := Parse("Dockerfile", strings.NewReader("FROM scratch\nARG A=1"), map[string]string{"B": "1"}); err == nil ||
		!strings.Contains(err.Error(), "no ARG B") {
		t.Errorf("a value for no ARG: got %v, want an error", err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add("FROM scratch\nARG A=1\nCOPY --chown=1:2 a$A /b/\nENV B=${A}\nENTRYPOINT [\"/x\"]\n")
	f.Add("FROM scratch\nWORKDIR ../..\nCOPY . ./\n")
	f.Fuzz(func(t *testing.T, text string) {
		r, err := Parse("Dockerfile", strings.NewReader(text), nil)
		if err != nil {
			return
		}
		for _, s := range r.Steps {
			if s.Dir != "" && !filepath.IsAbs(s.Dir) {
				t.Errorf("WORKDIR %q is not absolute", s.Dir)
			}
			if s.Copy == nil {
				continue
			}
			if !strings.HasPrefix(s.Copy.To, "/") || !strings.HasSuffix(s.Copy.To, "/") {
				t.Errorf("COPY to %q, want a folder from the root", s.Copy.To)
			}
			for _, from := range s.Copy.From {
				if !filepath.IsLocal(from) {
					t.Errorf("COPY from %q leaves the context", from)
				}
			}
		}
	})
}
