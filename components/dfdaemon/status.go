package dfdaemon

import (
	"encoding/json"
	"net/http"

	"github.com/dragonfly-kube/dragonfly/components/api"
	"github.com/dragonfly-kube/dragonfly/components/version"
)

// status answers dfctl.
func (s *Server) status(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(s.describe()); err != nil {
		s.log.Debug("sending the status ended early", "err", err)
	}
}

// describe gathers what this node does and has.
func (s *Server) describe() api.DaemonStatus {
	e := s.engine
	complete, _ := e.Store.Tasks()
	used, _ := e.Store.Usage()
	totals := e.Transfers.Totals()
	st := api.DaemonStatus{
		Version: version.Get().Version, Started: s.started, Host: e.Host,
		Supernodes: []api.SupernodeStatus{},
		Downloads:  e.Transfers.Running(), Tasks: len(complete),
		Received: api.Shares{FromSeed: totals.FromSeed, FromPeers: totals.FromPeers, FromOrigin: totals.FromOrigin},
		Sent:     e.Upload.Sent(),
		Store:    api.StoreStatus{Used: used, Quota: s.quota},
	}
	for _, n := range e.Super.Nodes() {
		st.Supernodes = append(st.Supernodes, api.SupernodeStatus{Addr: n.Addr, Alive: n.Alive, Error: n.Why})
	}
	return st
}
