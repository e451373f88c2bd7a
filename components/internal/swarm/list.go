package swarm

import (
	"cmp"
	"maps"
	"net/url"
	"slices"

	"github.com/dragonfly-kube/dragonfly/components/api"
	"github.com/dragonfly-kube/dragonfly/components/internal/scheduler"
)

// Tasks lists up to limit tasks in memory whose id is greater than after, in order.
func (s *Swarm) Tasks(after string, limit int) api.TaskList {
	s.mu.Lock()
	ids := slices.Collect(maps.Keys(s.tasks))
	s.mu.Unlock()
	page, next := pageOf(ids, after, limit)
	list := api.TaskList{Tasks: []api.TaskInfo{}, Next: next}
	for _, id := range page {
		if info, err := s.Task(id); err == nil {
			list.Tasks = append(list.Tasks, info)
		}
	}
	return list
}

// Task describes a task in memory, else ErrUnknownTask.
func (s *Swarm) Task(id string) (api.TaskInfo, error) {
	t := s.find(id)
	if t == nil {
		return api.TaskInfo{}, ErrUnknownTask
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	info := api.TaskInfo{
		ID: id, URL: plainURL(t.url), Digest: t.digest, State: t.state(), Meta: t.meta,
		Pieces: len(t.log), Seeded: int(t.atSeed.Count()),
		Peers: len(t.peers), Whole: t.whole, Streams: t.streams,
	}
	if t.source != nil {
		info.Source = t.source.id
	}
	return info, nil
}

func (t *task) state() string {
	switch {
	case t.failed != nil:
		return api.TaskFailed
	case t.fetching:
		return api.TaskFetching
	case t.source != nil:
		return api.TaskSourced
	case !t.lacks():
		return api.TaskReady
	default:
		return api.TaskWaiting
	}
}

// Peers lists up to limit peers of a task whose id is greater than after, in order; ErrUnknownTask when it is not in memory.
func (s *Swarm) Peers(id, after string, limit int) (api.PeerList, error) {
	t := s.find(id)
	if t == nil {
		return api.PeerList{}, ErrUnknownTask
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	page, next := pageOf(slices.Collect(maps.Keys(t.peers)), after, limit)
	list := api.PeerList{Peers: make([]api.PeerInfo, 0, len(page)), Next: next}
	for _, name := range page {
		p := t.peers[name]
		info := api.PeerInfo{
			Peer: p.id, Host: p.host, Complete: p.complete, Source: p.source, Since: p.since,
			Parents: t.mesh.Parents(make([]string, 0, scheduler.MaxDegree), p.id),
		}
		switch {
		case p.complete:
			info.Pieces = len(t.log)
		case p.have != nil:
			info.Pieces = int(p.have.Count())
		}
		list.Peers = append(list.Peers, info)
	}
	return list, nil
}

// pageOf sorts ids and cuts out the page behind after.
func pageOf(ids []string, after string, limit int) (page []string, next string) {
	slices.Sort(ids)
	start, found := slices.BinarySearchFunc(ids, after, cmp.Compare[string])
	if found {
		start++
	}
	end := min(len(ids), start+limit)
	if end < len(ids) && end > start {
		next = ids[end-1]
	}
	return ids[start:end], next
}

// plainURL drops what may be secret.
func plainURL(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return ""
	}
	clean := url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}
	return clean.String()
}
