package supernode

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/dragonfly-kube/dragonfly/components/api"
)

const (
	// maxBody bounds a request's body, in bytes: the inventory of a host with tens of thousands of tasks, the digests of a terabyte.
	maxBody = 4 << 20
	// bodyTimeout bounds how long a body may take to arrive.
	bodyTimeout = 10 * time.Second
)

// postPeer registers a peer.
func (s *Server) postPeer(c *gin.Context) {
	var req api.RegisterRequest
	if !readJSON(c, &req) {
		return
	}
	if err := checkRegister(&req); err != nil {
		refuse(c, http.StatusBadRequest, api.CodeBadRequest, err.Error())
		return
	}
	local, _ := c.Request.Context().Value(http.LocalAddrContextKey).(net.Addr)
	var u api.Update
	var err error
	whileAlive(c, func() {
		u, err = s.swarm.Register(c.Request.Context(), c.Param("task"), &req, s.cfg.seedAddr(local, s.download.Addr()))
	})
	if err != nil {
		s.refuseError(c, err)
		return
	}
	c.Header("Content-Type", "application/json; charset=utf-8")
	c.Status(http.StatusOK)
	_ = withUpdate(&u, func(line []byte) error { // who has gone does not read errors either
		_, err := c.Writer.Write(line)
		return err
	})
}

// signEvery is the time between signs of life to a peer that waits for an answer. A peer takes silence for death.
const signEvery = 150 * time.Millisecond

// whileAlive runs f and sends 102 Processing (RFC 2518, section 10.1) as long as it takes.
func whileAlive(c *gin.Context, f func()) {
	w := http.ResponseWriter(c.Writer)
	if u, ok := w.(interface{ Unwrap() http.ResponseWriter }); ok {
		w = u.Unwrap() // gin's own keeps the status back
	}
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		tick := time.NewTicker(signEvery)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
				w.WriteHeader(http.StatusProcessing)
			}
		}
	}()
	defer func() {
		close(stop)
		<-stopped
	}()
	f()
}

// getEvents opens a peer's event stream.
func (s *Server) getEvents(c *gin.Context) {
	since, err := strconv.Atoi(c.DefaultQuery("since", "0"))
	if err != nil || since < 0 {
		refuse(c, http.StatusBadRequest, api.CodeBadRequest, "since is the number of pieces heard of, 0 or more")
		return
	}
	st, err := s.swarm.Open(c.Param("task"), c.Param("peer"), since, c.Query("digests") == "all")
	if err != nil {
		s.refuseError(c, err)
		return
	}
	c.Status(http.StatusOK) // for the count of requests
	conn, _, err := c.Writer.Hijack()
	if err != nil {
		st.Close()
		s.refuseError(c, fmt.Errorf("take over the connection: %w", err))
		return
	}
	s.feeds.start(conn, st)
}

// postReport takes a peer's report.
func (s *Server) postReport(c *gin.Context) {
	var r api.Report
	if !readJSON(c, &r) {
		return
	}
	if err := checkReport(&r); err != nil {
		refuse(c, http.StatusBadRequest, api.CodeBadRequest, err.Error())
		return
	}
	if err := s.swarm.Report(c.Param("task"), c.Param("peer"), &r); err != nil {
		s.refuseError(c, err)
		return
	}
	c.Status(http.StatusNoContent)
}

// putHost takes a heartbeat.
func (s *Server) putHost(c *gin.Context) {
	var b api.Heartbeat
	if !readJSON(c, &b) {
		return
	}
	if err := checkHeartbeat(&b, c.Param("host")); err != nil {
		refuse(c, http.StatusBadRequest, api.CodeBadRequest, err.Error())
		return
	}
	answer, err := s.swarm.Heartbeat(&b)
	if err != nil {
		s.refuseError(c, err)
		return
	}
	if !answer.NeedInventory {
		c.Status(http.StatusNoContent) // half of the bytes of an empty object, of which thousands of hosts get one each
		return
	}
	c.JSON(http.StatusOK, answer)
}

func (s *Server) listTasks(c *gin.Context) {
	if limit, ok := pageLimit(c); ok {
		c.JSON(http.StatusOK, s.swarm.Tasks(c.Query("after"), limit))
	}
}

func (s *Server) getTask(c *gin.Context) {
	info, err := s.swarm.Task(c.Param("task"))
	if err != nil {
		s.refuseError(c, err)
		return
	}
	c.JSON(http.StatusOK, info)
}

func (s *Server) listPeers(c *gin.Context) {
	limit, ok := pageLimit(c)
	if !ok {
		return
	}
	list, err := s.swarm.Peers(c.Param("task"), c.Query("after"), limit)
	if err != nil {
		s.refuseError(c, err)
		return
	}
	c.JSON(http.StatusOK, list)
}

func pageLimit(c *gin.Context) (int, bool) {
	limit, err := strconv.Atoi(c.DefaultQuery("limit", "100"))
	if err != nil || limit < 1 || limit > api.MaxPage {
		refuse(c, http.StatusBadRequest, api.CodeBadRequest, fmt.Sprintf("limit is a number from 1 to %d", api.MaxPage))
		return 0, false
	}
	return limit, true
}

// readJSON decodes the body, or answers why not. Unknown fields are let through: a newer peer may send them.
func readJSON(c *gin.Context, v any) bool {
	if kind, _, err := mime.ParseMediaType(c.GetHeader("Content-Type")); err != nil || kind != "application/json" {
		refuse(c, http.StatusUnsupportedMediaType, api.CodeBadRequest, "the body has to be application/json")
		return false
	}
	ctl := http.NewResponseController(c.Writer)
	_ = ctl.SetReadDeadline(time.Now().Add(bodyTimeout)) // a test's recorder has none
	defer func() { _ = ctl.SetReadDeadline(time.Time{}) }()
	dec := json.NewDecoder(http.MaxBytesReader(c.Writer, c.Request.Body, maxBody))
	err := dec.Decode(v)
	if err == nil {
		if _, err = dec.Token(); errors.Is(err, io.EOF) {
			return true
		}
		err = errors.New("there is more behind the JSON object")
	}
	if tooBig, ok := errors.AsType[*http.MaxBytesError](err); ok {
		refuse(c, http.StatusRequestEntityTooLarge, api.CodeBadRequest, fmt.Sprintf("the body exceeds %d bytes", tooBig.Limit))
		return false
	}
	refuse(c, http.StatusBadRequest, api.CodeBadRequest, "the body is not the JSON expected: "+err.Error())
	return false
}
