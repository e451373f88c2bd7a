package daemonset

import (
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	setPath  = "/apis/apps/v1/namespaces/ns/daemonsets/undo"
	podsPath = "/api/v1/namespaces/ns/pods"
)

// set is a DaemonSet of generation 2.
func set(observed int64, desired, ready int) string {
	return fmt.Sprintf(`{"metadata": {"uid": "u1", "generation": 2}, "spec": {"selector": {"matchLabels": {"b": "x y", "a": "1"}}},
		"status": {"observedGeneration": %d, "desiredNumberScheduled": %d, "updatedNumberScheduled": %d, "numberReady": %d}}`, observed, desired, desired, ready)
}

// aPod is a pod of the DaemonSet with more fields.
func aPod(spec, status string) string {
	return fmt.Sprintf(`{"metadata": {"ownerReferences": [{"uid": "u1"}]}, "spec": {%s}, "status": {%s}}`, spec, status)
}

const isReady = `"conditions": [{"type": "Ready", "status": "True"}]`

// api serves a handler as a cluster does, and returns its client.
func api(t *testing.T, handle http.HandlerFunc) *Client {
	t.Helper()
	s := httptest.NewTLSServer(handle)
	t.Cleanup(s.Close)
	dir := t.TempDir()
	for name, content := range map[string]string{
		"token": "secret\n", "namespace": "ns\n",
		"ca.crt": string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	u, err := url.Parse(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	env := map[string]string{"KUBERNETES_SERVICE_HOST": u.Hostname(), "KUBERNETES_SERVICE_PORT": u.Port()}
	c, namespace, err := InCluster(func(name string) string { return env[name] }, dir)
	if err != nil || namespace != "ns" {
		t.Fatalf("namespace %q, %v", namespace, err)
	}
	t.Cleanup(c.http.CloseIdleConnections)
	return c
}

// inMemory answers by a handler.
type inMemory struct{ http.HandlerFunc }

// RoundTrip implements http.RoundTripper.
func (h inMemory) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result(), nil
}

// fake is a client of a handler without a network, for a time that the tests make.
func fake(t *testing.T, handle http.HandlerFunc) *Client {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "token"), []byte("secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return &Client{base: "https://api", dir: dir, http: &http.Client{Transport: inMemory{handle}}, interval: 2 * time.Second}
}

func TestWaitUntilReady(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		answers := []string{set(0, 0, 0), set(1, 3, 3), set(2, 3, 1), set(2, 3, 1), set(2, 3, 3)}
		var asked atomic.Int32
		c := fake(t, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != setPath || r.Header.Get("Authorization") != "Bearer secret" {
				t.Errorf("asked for %s as %q", r.URL, r.Header.Get("Authorization"))
			}
			_, _ = io.WriteString(w, answers[min(int(asked.Add(1)), len(answers))-1])
		})
		var progress []string
		r, err := c.Wait(t.Context(), "ns", "undo", time.Minute, func(ready, nodes int) { progress = append(progress, fmt.Sprint(ready, "/", nodes)) })
		if diff := cmp.Diff(Result{Nodes: 3, Ready: true}, r); err != nil || diff != "" {
			t.Errorf("got %v\n%s", err, diff)
		}
		if diff := cmp.Diff([]string{"1/3", "3/3"}, progress); diff != "" || asked.Load() != 5 {
			t.Errorf("after %d answers:\n%s", asked.Load(), diff)
		}
	})
}

func TestNoNodeIsReadyAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := fake(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, set(2, 0, 0)) })
		if r, err := c.Wait(t.Context(), "ns", "undo", time.Minute, func(int, int) {}); err != nil || !r.Ready {
			t.Errorf("got %+v, %v", r, err)
		}
	})
}

func TestLateNodesAreNamed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		pods := []string{
			aPod(`"nodeName": "n1"`, isReady),
			aPod(`"nodeName": "n9"`, `"phase": "Pending", "initContainerStatuses": [{"name": "undo", "state": {"waiting": {"reason": "CrashLoopBackOff"}},
				"lastState": {"terminated": {"exitCode": 1, "message": "first\n/etc/docker/daemon.json was changed since\n"}}}]`),
			aPod(`"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [{"matchFields": [{"key": "metadata.name", "values": ["n3"]}]}]}}}`,
				`"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "False", "message": "no room"}]`),
			aPod(`"nodeName": "n4"`, `"phase": "Pending", "containerStatuses": [{"name": "hold", "state": {"waiting": {"reason": "ImagePullBackOff", "message": "not there"}}}]`),
			aPod(`"nodeName": "n5"`, `"phase": "Running", "conditions": [{"type": "Ready", "status": "False"}]`),
			aPod(`"nodeName": "n6"`, `"phase": "Pending", "initContainerStatuses": [{"name": "undo", "state": {"waiting": {"reason": "PodInitializing"}}}]`),
			aPod(`"nodeName": "n7\u001b[31m"`, `"message": "a\nb"`),
			aPod(``, ``),
			`{"metadata": {"ownerReferences": [{"uid": "another"}]}, "spec": {"nodeName": "n8"}}`,
		}
		c := fake(t, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != podsPath {
				_, _ = io.WriteString(w, set(2, 10, 1))
				return
			}
			q := r.URL.Query()
			if q.Get("labelSelector") != "a=1,b=x y" {
				t.Errorf("asked for %s", r.URL)
			}
			page, next := pods[:4], "more"
			if q.Get("continue") == "more" {
				page, next = pods[4:], ""
			}
			fmt.Fprintf(w, `{"metadata": {"continue": %q}, "items": [%s]}`, next, strings.Join(page, ","))
		})
		r, err := c.Wait(t.Context(), "ns", "undo", time.Minute, func(int, int) {})
		want := Result{Nodes: 10, Missing: []Node{
			{"(a node that is not known)", "the pod has not started"},
			{"n3", "no room"},
			{"n4", "hold: ImagePullBackOff: not there"},
			{"n5", "its kubelet does not answer"},
			{"n6", "the pod has not started"},
			{"n7?[31m", "a?b"},
			{"n9", "undo: exit code 1: /etc/docker/daemon.json was changed since"},
			{"(2 more)", "the DaemonSet has no pod there yet"},
		}}
		if diff := cmp.Diff(want, r); err != nil || diff != "" {
			t.Errorf("got %v (-want +got)\n%s", err, diff)
		}
	})
}

func TestTheLastNodeIsReadyWhenTheTimeIsOver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := fake(t, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == podsPath {
				fmt.Fprintf(w, `{"items": [%s]}`, aPod(`"nodeName": "n1"`, isReady))
				return
			}
			_, _ = io.WriteString(w, set(2, 1, 0))
		})
		if r, err := c.Wait(t.Context(), "ns", "undo", time.Minute, func(int, int) {}); err != nil || !r.Ready {
			t.Errorf("got %+v, %v", r, err)
		}
	})
}

func TestHostileAnswers(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		handle http.HandlerFunc
		err    string
	}{
		"no right": {func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusForbidden)
			_, _ = io.WriteString(w, `{"kind": "Status", "message": "daemonsets.apps \"undo\" is forbidden\u001b[2J"}`)
		}, `403 Forbidden: daemonsets.apps "undo" is forbidden?[2J`},
		"no such DaemonSet": {func(w http.ResponseWriter, _ *http.Request) { http.NotFound(w, nil) }, "404 Not Found"},
		"not JSON":          {func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>") }, "the answer: invalid character"},
		"another shape": {func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, `{"status": {"numberReady": "x"}}`)
		}, "cannot unmarshal"},
		"nothing":         {func(http.ResponseWriter, *http.Request) {}, "unexpected end of JSON input"},
		"an empty object": {func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "{}") }, "not counted"},
		"null":            {func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "null") }, "not counted"},
		"an old count":    {func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, set(1, 1, 1)) }, "not counted"},
		"a long error": {func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusInternalServerError)
			_, _ = io.WriteString(w, strings.Repeat("ä", 10000))
		}, strings.Repeat("ä", 300) + "…"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c := fake(t, tc.handle)
				r, err := c.Wait(t.Context(), "ns", "undo", time.Minute, func(int, int) {})
				if err == nil || !strings.Contains(err.Error(), tc.err) || r.Nodes != 0 {
					t.Errorf("got %+v, %v, want an error with %q", r, err, tc.err)
				}
				if err != nil && strings.Contains(err.Error(), "secret") {
					t.Errorf("the token is in %v", err)
				}
			})
		})
	}
}

func TestHostileServers(t *testing.T) {
	t.Parallel()
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the token was sent to another server") }))
	t.Cleanup(other.Close)
	for name, tc := range map[string]struct {
		handle http.HandlerFunc
		err    string
	}{
		"another server":      {func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, other.URL, http.StatusFound) }, "302 Found"},
		"a closed connection": {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "EOF"},
		"a huge answer": {func(w http.ResponseWriter, _ *http.Request) {
			blanks := []byte(strings.Repeat(" ", 1<<20))
			for range maxAnswer>>20 + 1 {
				if _, err := w.Write(blanks); err != nil {
					return
				}
			}
		}, "more than 32 MiB"},
		"a well-behaved one": {func(w http.ResponseWriter, r *http.Request) {
			if got := r.Header.Get("Authorization"); got != "Bearer secret" {
				t.Errorf("asked as %q", got)
			}
			_, _ = io.WriteString(w, "{}")
		}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var v any
			if err := api(t, tc.handle).get(t.Context(), "/x", nil, &v); (err == nil) != (tc.err == "") || err != nil && !strings.Contains(err.Error(), tc.err) {
				t.Errorf("got %v, want an error with %q", err, tc.err)
			}
		})
	}
	// Another's certificate: the client does not talk to it.
	c := api(t, func(http.ResponseWriter, *http.Request) {})
	stranger := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("a server with another certificate was asked") }))
	t.Cleanup(stranger.Close)
	stranger.Config.ErrorLog = log.New(io.Discard, "", 0)
	c.base = stranger.URL
	c.http.Transport.(*http.Transport).TLSClientConfig.ServerName = "stranger.example"
	var v any
	if err := c.get(t.Context(), "/x", nil, &v); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("a server with another certificate: got %v", err)
	}
}

func TestPodsWithoutAnEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := fake(t, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == podsPath {
				_, _ = io.WriteString(w, `{"metadata": {"continue": "more"}}`)
				return
			}
			_, _ = io.WriteString(w, set(2, 5, 1))
		})
		r, err := c.Wait(t.Context(), "ns", "undo", time.Minute, func(int, int) {})
		if err == nil || !strings.Contains(err.Error(), "more than 100 pages") || r.Nodes != 5 || r.Ready {
			t.Errorf("got %+v, %v", r, err)
		}
	})
}

func TestNamesAreNoPaths(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := fake(t, func(w http.ResponseWriter, r *http.Request) {
			if got := r.URL.EscapedPath(); got != "/apis/apps/v1/namespaces/..%2Fx/daemonsets/a%3Fb" {
				t.Errorf("asked for %s", got)
			}
			_, _ = io.WriteString(w, set(2, 0, 0))
		})
		if _, err := c.Wait(t.Context(), "../x", "a?b", time.Minute, func(int, int) {}); err != nil {
			t.Error(err)
		}
	})
}

func TestWaitEndsWithTheProgram(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		c := fake(t, func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, set(2, 1, 0))
			cancel()
		})
		if _, err := c.Wait(ctx, "ns", "undo", time.Hour, func(int, int) {}); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	})
}

func TestNotInAPod(t *testing.T) {
	t.Parallel()
	env := map[string]string{"KUBERNETES_SERVICE_HOST": "fd00::1", "KUBERNETES_SERVICE_PORT": "443"}
	for name, tc := range map[string]struct {
		env   map[string]string
		files map[string]string
		err   string
	}{
		"no variables":   {nil, nil, "run this in a pod"},
		"no account":     {env, nil, "automountServiceAccountToken"},
		"no certificate": {env, map[string]string{"namespace": "x", "ca.crt": "-"}, "ca.crt has no certificate"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			for name, content := range tc.files {
				if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if _, _, err := InCluster(func(name string) string { return tc.env[name] }, dir); err == nil || !strings.Contains(err.Error(), tc.err) {
				t.Errorf("got %v, want an error with %q", err, tc.err)
			}
		})
	}
}
