package sim

import "os"

// client is who a node pulls for.
type client struct {
	s *swarmNet
	n *node
}

// Write implements io.Writer. Content comes without bytes, by Content.
func (c *client) Write([]byte) (int, error) { return 0, os.ErrInvalid }

// Content takes n bytes that nobody looks at.
func (c *client) Content(n int64) (int64, error) {
	if c.n.first == 0 {
		c.n.first = c.s.net.now()
	}
	return n, nil
}
