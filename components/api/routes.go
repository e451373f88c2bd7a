package api

import (
	"fmt"
	"net/url"
	"strconv"
)

// Routes of the supernode's control plane, as gin and http.ServeMux patterns share no syntax, by their fixed parts.
const (
	PathTasks   = "/api/v1/tasks"
	PathHosts   = "/api/v1/hosts"
	PathVersion = "/api/v1/version"
	PathHealthy = "/healthz"
	PathReady   = "/readyz"
	PathMetrics = "/metrics"
)

// RegisterPath is where a peer registers for a task.
func RegisterPath(task string) string { return PathTasks + "/" + url.PathEscape(task) + "/peers" }

// EventsPath is a registered peer's event stream. since is Update.Seq of the last update seen.
func EventsPath(task, peer string, since int) string {
	return RegisterPath(task) + "/" + url.PathEscape(peer) + "/events?since=" + strconv.Itoa(since)
}

// AllDigestsPath is the event stream that tells the digests of all pieces, signed ones too.
func AllDigestsPath(task, peer string) string { return EventsPath(task, peer, 0) + "&digests=all" }

// ReportsPath takes a registered peer's reports.
func ReportsPath(task, peer string) string {
	return RegisterPath(task) + "/" + url.PathEscape(peer) + "/reports"
}

// HostPath takes a host's heartbeat.
func HostPath(host string) string { return PathHosts + "/" + url.PathEscape(host) }

// DownloadPath is where a piece server has a task's bytes. id is 64 hexadecimal digits.
func DownloadPath(id string) string { return fmt.Sprintf("/download/%s/%s", id[:3], id) }

// PickPath asks a seed for up to limit bytes of its own choice: a run of pieces that nobody was sent yet. The answer is 206 with the
// choice in Content-Range, or 204 when there is nothing left that nobody was sent.
func PickPath(id string, limit int64) string {
	return DownloadPath(id) + "?pick=1&max=" + strconv.FormatInt(limit, 10)
}

// AvailabilityPath is the stream of which pieces a peer holds, from its since-th on.
func AvailabilityPath(id string, since int) string {
	return DownloadPath(id) + "/pieces?since=" + strconv.Itoa(since)
}

// ManifestPath is where a peer tells the digests of the pieces it holds.
func ManifestPath(id string) string { return DownloadPath(id) + "/manifest" }

// ValidTaskID reports whether id has the form of a task id: 64 lower-case hexadecimal digits.
func ValidTaskID(id string) bool {
	if len(id) != 64 {
		return false
	}
	for _, c := range []byte(id) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}
