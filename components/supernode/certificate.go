package supernode

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

// certificateAge is how long a certificate is used before its files are read again, so that a renewed one needs no restart.
const certificateAge = 10 * time.Second

// certificate is the control plane's, from files that may be replaced at any time.
type certificate struct {
	cert, key string // paths
	log       *slog.Logger

	mu     sync.Mutex // guards the fields below
	loaded *tls.Certificate
	at     time.Time
}

func loadCertificate(cert, key string, log *slog.Logger) (*certificate, error) {
	c := &certificate{cert: cert, key: key, log: log}
	if err := c.load(); err != nil {
		return nil, err
	}
	return c, nil
}

func (c *certificate) load() error {
	pair, err := tls.LoadX509KeyPair(c.cert, c.key)
	if err != nil {
		return fmt.Errorf("load the certificate of the control plane: %w", err)
	}
	c.loaded = &pair
	return nil
}

// get keeps the old certificate while the files do not fit each other: they are replaced one after the other.
func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Since(c.at) > certificateAge {
		c.at = time.Now()
		if err := c.load(); err != nil {
			c.log.Error("the old certificate stays in use", "err", err)
		}
	}
	return c.loaded, nil
}

func (c *certificate) config() *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: c.get}
}
