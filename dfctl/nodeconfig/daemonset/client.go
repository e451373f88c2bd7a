// Package daemonset waits until a DaemonSet has a ready pod on each of its nodes, and names the nodes where it has none. It asks the
// Kubernetes API as the service account of the pod that it runs in, which needs the rights to get the DaemonSet and to list pods.
package daemonset

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/dragonfly-kube/dragonfly/dfctl/cli"
)

// AccountDir is where a pod has its service account:
// https://kubernetes.io/docs/tasks/run-application/access-api-from-pod/#directly-accessing-the-rest-api
const AccountDir = "/var/run/secrets/kubernetes.io/serviceaccount"

const (
	requestTimeout = 15 * time.Second
	maxAnswer      = 32 << 20 // bytes: a page of pods has some MiB
)

// Client asks the Kubernetes API.
type Client struct {
	base string // "https://10.96.0.1:443"
	dir  string // of the service account
	http *http.Client
	// interval between two questions.
	interval time.Duration
}

// InCluster is the client of the pod that this program runs in, with the pod's namespace.
func InCluster(getenv func(string) string, dir string) (c *Client, namespace string, err error) {
	host, port := getenv("KUBERNETES_SERVICE_HOST"), getenv("KUBERNETES_SERVICE_PORT")
	if host == "" || port == "" {
		return nil, "", errors.New("KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not set: run this in a pod of the cluster")
	}
	read := func(name string) ([]byte, error) {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			return nil, fmt.Errorf("read the pod's service account (automountServiceAccountToken has to be true): %w", err)
		}
		return data, nil
	}
	own, err := read("namespace")
	if err != nil {
		return nil, "", err
	}
	ca, err := read("ca.crt")
	if err != nil {
		return nil, "", err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(ca) {
		return nil, "", fmt.Errorf("%s has no certificate", filepath.Join(dir, "ca.crt"))
	}
	return &Client{
		base: "https://" + net.JoinHostPort(host, port), dir: dir, interval: 2 * time.Second,
		http: &http.Client{
			Timeout:   requestTimeout,
			Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}},
			// The API does not redirect, and the token is for nobody else.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}, strings.TrimSpace(string(own)), nil
}

// get asks for a path and reads the answer into v.
func (c *Client) get(ctx context.Context, path string, query url.Values, v any) error {
	token, err := os.ReadFile(filepath.Join(c.dir, "token")) // each time: kubelet renews it
	if err != nil {
		return fmt.Errorf("read the pod's token: %w", err)
	}
	address := c.base + path
	if len(query) > 0 {
		address += "?" + query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return fmt.Errorf("ask for %s: %w", path, err)
	}
	req.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(token)))
	req.Header.Set("Accept", "application/json")
	resp, err := c.http.Do(req)
	if err != nil {
		return fmt.Errorf("ask for %s: %w", path, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	switch {
	case err != nil:
		return fmt.Errorf("ask for %s: %w", path, err)
	case len(body) > maxAnswer:
		return fmt.Errorf("ask for %s: the answer has more than %d MiB", path, maxAnswer>>20)
	case resp.StatusCode != http.StatusOK:
		return fmt.Errorf("ask for %s: %s: %s", path, cli.Plain(resp.Status), says(body))
	}
	if err := json.Unmarshal(body, v); err != nil {
		return fmt.Errorf("ask for %s: the answer: %w", path, err)
	}
	return nil
}

// says is what an answer that is no success gives as the reason.
func says(body []byte) string {
	var status struct {
		Message string `json:"message"`
	}
	text := string(body)
	if err := json.Unmarshal(body, &status); err == nil {
		text = status.Message
	}
	return short(text)
}

// short is a text fit for a line.
func short(text string) string {
	const limit = 300
	runes := []rune(strings.TrimSpace(text))
	if len(runes) > limit {
		runes = append(runes[:limit], '…')
	}
	return cli.Plain(string(runes))
}
