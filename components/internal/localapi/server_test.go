package localapi

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/dragonfly-kube/dragonfly/components/api"
)

func post(t *testing.T, h http.Handler, body string) (int, api.Error) {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodPost, api.PathFetch, strings.NewReader(body)))
	var e api.ErrorBody
	if w.Code != http.StatusOK && json.Unmarshal(w.Body.Bytes(), &e) != nil {
		t.Errorf("body %.60q: status %d without the error shape: %q", body, w.Code, w.Body)
	}
	return w.Code, e.Error
}

func TestHostileRequests(t *testing.T) {
	t.Parallel()
	h := Handler(fetcherFunc(func(context.Context, api.FetchRequest) (*Content, error) {
		return nil, errors.New("never asked")
	}), status, quiet)
	for name, body := range map[string]string{
		"nothing":                  "",
		"no JSON":                  "url=http://x",
		"JSON of another type":     `["http://x"]`,
		"an unknown field":         `{"url":"http://x","uri":"y"}`,
		"a number for a text":      `{"url":1}`,
		"an offset out of range":   `{"url":"x","offset":9999999999999999999999}`,
		"cut in the middle":        `{"url":"http://x"`,
		"a header of another type": `{"url":"x","header":{"a":"b"}}`,
		"far too long":             `{"url":"` + strings.Repeat("x", maxRequest) + `"}`,
	} {
		if code, e := post(t, h, body); code != http.StatusBadRequest || e.Code != api.CodeBadRequest {
			t.Errorf("%s: got %d %+v, want 400", name, code, e)
		}
	}
}

func TestOtherMethodsAndPaths(t *testing.T) {
	t.Parallel()
	h := Handler(nil, status, quiet)
	for request, want := range map[string]int{
		"GET /v1/fetch": http.StatusMethodNotAllowed, "POST /v1/status": http.StatusMethodNotAllowed, "GET /": http.StatusNotFound,
		"GET /v1/fetch/7": http.StatusNotFound, "GET /v1/fetch/7/8": http.StatusNotFound, "GET /v1/status": http.StatusOK,
	} {
		method, path, _ := strings.Cut(request, " ")
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), method, path, nil))
		if w.Code != want {
			t.Errorf("%s: got %d, want %d", request, w.Code, want)
		}
	}
}

func TestFetchesAreBounded(t *testing.T) {
	t.Parallel()
	s := &server{log: quiet, running: map[string]*Content{}, fetcher: fake([]byte("x"), 1, nil)}
	s.places = maxFetches
	if code, e := post(t, http.HandlerFunc(s.fetch), `{"url":"x"}`); code != http.StatusServiceUnavailable || e.Code != api.CodeOverloaded {
		t.Errorf("got %d %+v, want 503", code, e)
	}
	s.places--
	if code, e := post(t, http.HandlerFunc(s.fetch), `{"url":"x"}`); code != http.StatusOK {
		t.Errorf("got %d %+v, want 200", code, e)
	}
	if s.places != maxFetches-1 || len(s.running) != 0 {
		t.Errorf("after the fetch %d places are taken and %d run, want %d and 0", s.places, len(s.running), maxFetches-1)
	}
}

func FuzzFetchRequest(f *testing.F) {
	f.Add(`{"url":"http://x/y?z","header":{"A":["b"]},"digest":"sha256:00","tag":"t","filters":["f"],"pattern":"cdn","no_origin":true,"offset":3}`)
	f.Add(`{"offset":-1}`)
	f.Add(`null`)
	f.Add("{\"url\":\"\\ud800\"}{")
	h := Handler(fetcherFunc(func(_ context.Context, req api.FetchRequest) (*Content, error) {
		return nil, &api.Error{Code: api.CodeNotFound, Message: req.URL}
	}), status, quiet)
	f.Fuzz(func(t *testing.T, body string) {
		if code, _ := post(t, h, body); code != http.StatusBadRequest && code != http.StatusNotFound {
			t.Errorf("body %q: got %d", body, code)
		}
	})
}
