package dfdaemon

import (
	"fmt"
	"net/http"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/dragonfly-kube/dragonfly/components/api"
)

// admin serves health and metrics. Health does not depend on supernodes or peers: without them pulls go to the registry.
func (s *Server) admin() http.Handler {
	mux := http.NewServeMux()
	ok := func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") }
	mux.HandleFunc("GET "+api.PathHealthy, ok)
	mux.HandleFunc("GET "+api.PathReady, ok)
	mux.Handle("GET "+api.PathMetrics, promhttp.HandlerFor(s.metrics, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET "+api.PathStatus, s.status)
	return mux
}
