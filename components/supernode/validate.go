package supernode

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/opencontainers/go-digest"

	"github.com/dragonfly-kube/dragonfly/components/api"
	"github.com/dragonfly-kube/dragonfly/components/internal/piece"
)

// Bounds of what a peer may tell, so that none takes much memory.
const (
	maxID      = 128     // bytes of a peer's or host's id
	maxText    = 256     // bytes of a name or zone
	maxAddrs   = 8       // of a host
	maxURL     = 8 << 10 // bytes
	maxHeaders = 32 << 10
	maxBad     = 256     // complaints in a report
	maxBytes   = 1 << 50 // bytes in one report
)

func validTask(c *gin.Context) {
	if !api.ValidTaskID(c.Param("task")) {
		refuse(c, http.StatusBadRequest, api.CodeBadRequest, "a task id has 64 lower-case hexadecimal digits")
	}
}

func validPeer(c *gin.Context) {
	if err := checkID("peer", c.Param("peer")); err != nil {
		refuse(c, http.StatusBadRequest, api.CodeBadRequest, err.Error())
	}
}

// checkID keeps "@" for names that the supernode gives.
func checkID(what, id string) error {
	if id == "" || len(id) > maxID {
		return fmt.Errorf("%s: the id has 1 to %d characters", what, maxID)
	}
	for _, r := range []byte(id) {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', strings.IndexByte("._:-", r) >= 0:
		default:
			return fmt.Errorf("%s: the id has letters, digits and . _ : - only, not %q", what, r)
		}
	}
	return nil
}

func checkHost(h *api.Host) error {
	if err := checkID("host.id", h.ID); err != nil {
		return err
	}
	if len(h.Name) > maxText || len(h.Zone) > maxText {
		return fmt.Errorf("host: name and zone have at most %d bytes", maxText)
	}
	if len(h.Addrs) == 0 || len(h.Addrs) > maxAddrs {
		return fmt.Errorf("host.addrs: want 1 to %d addresses", maxAddrs)
	}
	for _, a := range h.Addrs {
		ap, err := netip.ParseAddrPort(a)
		if err != nil || ap.Port() == 0 || ap.Addr().IsUnspecified() || ap.Addr().IsMulticast() {
			return fmt.Errorf("host.addrs: %.64q is no ip:port that others can reach", a)
		}
	}
	return nil
}

func checkOrigin(o *api.Origin) error {
	u, err := url.Parse(o.URL)
	if err != nil || len(o.URL) > maxURL || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return errors.New("origin.url: want an address that begins with http:// or https:// and a host")
	}
	if o.Digest != "" && digest.Digest(o.Digest).Validate() != nil {
		return fmt.Errorf("origin.digest: %.80q is no digest, want for example sha256:... with 64 hexadecimal digits", o.Digest)
	}
	size := 0
	for name, values := range o.Header {
		size += len(name)
		for _, v := range values {
			size += len(v)
			if strings.ContainsAny(v, "\r\n\x00") {
				return errors.New("origin.header: a value has a line break")
			}
		}
		if !headerName(name) {
			return fmt.Errorf("origin.header: %.64q is no name of a header", name)
		}
	}
	if size > maxHeaders {
		return fmt.Errorf("origin.header: more than %d bytes", maxHeaders)
	}
	return nil
}

func headerName(s string) bool {
	for _, r := range []byte(s) {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', strings.IndexByte("!#$%&'*+-.^_`|~", r) >= 0:
		default:
			return false
		}
	}
	return s != ""
}

func checkMeta(m *api.Meta) error {
	if m == nil {
		return nil
	}
	if m.Length < -1 || m.PieceSize < piece.MinSize || m.PieceSize > piece.MaxSize {
		return fmt.Errorf("meta: length %d in pieces of %d bytes makes no sense", m.Length, m.PieceSize)
	}
	size := 0
	for k, v := range m.Header {
		size += len(k) + len(v)
	}
	if size > maxURL {
		return fmt.Errorf("meta.header: more than %d bytes", maxURL)
	}
	return nil
}

func checkRegister(r *api.RegisterRequest) error {
	if err := checkID("peer", r.Peer); err != nil {
		return err
	}
	if len(r.Held) > 0 && r.Meta == nil {
		return errors.New("held: needs meta beside it")
	}
	return errors.Join(checkHost(&r.Host), checkOrigin(&r.Origin), checkMeta(r.Meta))
}

func checkReport(r *api.Report) error {
	for _, n := range []int64{r.FromSeed, r.FromPeers, r.FromOrig} {
		if n < 0 || n > maxBytes {
			return fmt.Errorf("bytes: %d is no number of bytes received since the previous report", n)
		}
	}
	if len(r.Bad) > maxBad {
		return fmt.Errorf("bad: more than %d complaints", maxBad)
	}
	return checkMeta(r.Meta)
}

func checkHeartbeat(b *api.Heartbeat, host string) error {
	if b.Host.ID != host {
		return fmt.Errorf("host.id: %.64q is not the host of the path", b.Host.ID)
	}
	if len(b.Version) > maxText {
		return fmt.Errorf("version: more than %d bytes", maxText)
	}
	if most := int(api.BusyHeartbeat / time.Second); b.Every < 0 || b.Every > most {
		return fmt.Errorf("every: %d is no number of seconds up to %d", b.Every, most)
	}
	for _, t := range b.Inventory {
		if !api.ValidTaskID(t.ID) || t.Length < 0 {
			return fmt.Errorf("inventory: %.80q of %d bytes is no task", t.ID, t.Length)
		}
	}
	return checkHost(&b.Host)
}
