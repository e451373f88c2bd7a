package supernode

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/dragonfly-kube/dragonfly/components/api"
	"github.com/dragonfly-kube/dragonfly/components/internal/swarm"
)

// routes serve everything.
func (s *Server) routes() *gin.Engine {
	e := s.plainRoutes()
	e.GET(api.PathMetrics, gin.WrapH(promhttp.HandlerFor(s.registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4})))
	e.GET(api.PathVersion, s.getVersion)
	control := e.Group("", s.authorize)
	control.GET(api.PathTasks, s.listTasks)
	task := control.Group(api.PathTasks+"/:task", validTask)
	task.GET("", s.getTask)
	task.GET("/peers", s.listPeers)
	task.POST("/peers", s.postPeer)
	peer := task.Group("/peers/:peer", validPeer)
	peer.GET("/events", s.getEvents)
	peer.POST("/reports", s.postReport)
	control.PUT(api.PathHosts+"/:host", s.putHost)
	return e
}

// plainRoutes serve pieces and health: what may go over a connection without TLS beside a control plane that has it.
func (s *Server) plainRoutes() *gin.Engine {
	gin.SetMode(gin.ReleaseMode)
	e := gin.New()
	e.HandleMethodNotAllowed = true
	e.ContextWithFallback = true
	e.UseRawPath = true
	e.Use(s.observe, s.recover)
	e.NoRoute(func(c *gin.Context) {
		refuse(c, http.StatusNotFound, api.CodeNotFound, "there is nothing at this path")
	})
	e.NoMethod(func(c *gin.Context) {
		refuse(c, http.StatusMethodNotAllowed, api.CodeBadRequest, "this path does not take "+c.Request.Method)
	})
	e.GET(api.PathHealthy, func(c *gin.Context) { c.String(http.StatusOK, "ok\n") })
	e.GET(api.PathReady, s.getReady)
	e.GET("/download/*path", s.getPieces)
	return e
}

// getPieces hands over to the piece server. The store finds the writer below gin's, so files are sent without copying.
func (s *Server) getPieces(c *gin.Context) { s.pieces.ServeHTTP(c.Writer, c.Request) }

func (s *Server) getVersion(c *gin.Context) {
	c.JSON(http.StatusOK, api.Version{Version: s.cfg.Version})
}

// getReady says whether peers should use this supernode. It does not depend on peers or origins: those may be what is to be mended.
func (s *Server) getReady(c *gin.Context) {
	if !s.serving.Load() {
		refuse(c, http.StatusServiceUnavailable, api.CodeInternal, "the supernode stops")
		return
	}
	if err := s.probe.err(time.Now()); err != nil {
		s.log.Error("the store is not writable", "err", err)
		refuse(c, http.StatusServiceUnavailable, api.CodeInternal, "the store is not writable")
		return
	}
	c.String(http.StatusOK, "ok\n")
}

// authorize wants the control token, where there is a secret.
func (s *Server) authorize(c *gin.Context) {
	token, _ := strings.CutPrefix(c.GetHeader("Authorization"), "Bearer ")
	if err := s.keys.VerifyToken(token); err != nil {
		c.Header("WWW-Authenticate", `Bearer realm="dragonfly"`)
		refuse(c, http.StatusUnauthorized, api.CodeUnauthorized, err.Error())
	}
}

// observe counts and logs a request: its route, never its query or its credentials.
func (s *Server) observe(c *gin.Context) {
	start := time.Now()
	c.Next()
	route, method := c.FullPath(), c.Request.Method
	if route == "" {
		route, method = "none", "any" // both are the client's invention
	}
	if strings.HasPrefix(route, "/download/") {
		return // the piece server counts its own
	}
	took := time.Since(start)
	s.metrics.requests.WithLabelValues(route, method, fmt.Sprint(c.Writer.Status())).Inc()
	if !strings.HasSuffix(route, "/events") {
		s.metrics.seconds.WithLabelValues(route).Observe(took.Seconds())
	}
	s.log.Debug("request", "method", c.Request.Method, "route", route, "task", c.Param("task"), "peer", c.Param("peer"),
		"status", c.Writer.Status(), "took", took, "from", c.Request.RemoteAddr)
}

// recover turns a programmer's error into an answer, and tells where it happened in the log only.
func (s *Server) recover(c *gin.Context) {
	defer func() {
		v := recover()
		if v == nil {
			return
		}
		if err, ok := v.(error); ok && errors.Is(err, http.ErrAbortHandler) {
			panic(v)
		}
		s.log.Error("handler panicked", "route", c.FullPath(), "panic", v, "stack", stack())
		refuse(c, http.StatusInternalServerError, api.CodeInternal, "internal error")
	}()
	c.Next()
}

// refuse answers with an error in the one shape they have.
func refuse(c *gin.Context, status int, code, message string) {
	if c.Writer.Written() {
		c.Abort()
		return
	}
	c.AbortWithStatusJSON(status, api.ErrorBody{Error: api.Error{Code: code, Message: message}})
}

// refuseError answers with what an error of the swarm means.
func (s *Server) refuseError(c *gin.Context, err error) {
	switch {
	case errors.Is(err, swarm.ErrUnknownPeer):
		refuse(c, http.StatusNotFound, api.CodeUnknownPeer, "the peer is not known here: register (again)")
	case errors.Is(err, swarm.ErrUnknownTask):
		refuse(c, http.StatusNotFound, api.CodeNotFound, "the task is not in memory")
	case errors.Is(err, swarm.ErrConflict), errors.Is(err, swarm.ErrBadReport):
		refuse(c, http.StatusBadRequest, api.CodeBadRequest, err.Error())
	case errors.Is(err, swarm.ErrFull):
		c.Header("Retry-After", "1")
		refuse(c, http.StatusServiceUnavailable, api.CodeOverloaded, err.Error())
	case c.Request.Context().Err() != nil:
		c.Abort() // nobody listens
	default:
		s.log.Warn("request failed", "route", c.FullPath(), "err", err)
		refuse(c, http.StatusServiceUnavailable, api.CodeInternal, "the supernode can't serve this now")
	}
}
