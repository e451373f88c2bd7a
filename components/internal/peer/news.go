package peer

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/bits-and-blooms/bitset"

	"github.com/dragonfly-kube/dragonfly/components/api"
	"github.com/dragonfly-kube/dragonfly/components/internal/piece"
)

// maxLine bounds a message of an availability stream, in bytes: ranges of a million single pieces.
const maxLine = 8 << 20

// message is one line of an availability stream.
type message struct {
	verb   string // "have", "room" or "ping"
	pieces *bitset.BitSet
	load   int
}

// parseMessage reads a line as upload writes it, of a task with count pieces. Verbs it does not know are no error, so that the stream can grow.
func parseMessage(line string, count int) (message, error) {
	f := strings.Fields(line)
	if len(f) < 2 {
		return message{}, fmt.Errorf("availability message %.64q is too short", line)
	}
	m := message{verb: f[0]}
	var err error
	if m.load, err = strconv.Atoi(f[len(f)-1]); err != nil || m.load < 0 {
		return message{}, fmt.Errorf("availability message %.64q has no load", line)
	}
	if m.verb == "have" {
		if len(f) != 4 {
			return message{}, fmt.Errorf("availability message %.64q wants 4 words", line)
		}
		if m.pieces, err = piece.ParseRanges(f[1], count); err != nil {
			return message{}, err
		}
	}
	return m, nil
}

// followNews reads the parent's availability stream until it ends.
func (l *Link) followNews(ctx context.Context) {
	if err := l.readNews(ctx); err != nil && ctx.Err() == nil {
		l.events.Down(l.parent.Peer, fmt.Errorf("availability stream: %w", err))
	}
}

func (l *Link) readNews(ctx context.Context) error {
	conn, err := l.dial(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	head := fmt.Sprintf("GET %s HTTP/1.1\r\nHost: %s\r\n%s: %s\r\n", api.AvailabilityPath(l.task.ID(), 0), conn.RemoteAddr(), api.HeaderPeer, l.cfg.Self)
	if ticket := l.task.Ticket(); ticket != "" {
		head += api.HeaderTicket + ": " + ticket + "\r\n"
	}
	_ = conn.SetDeadline(time.Now().Add(newsTimeout))
	if _, err := conn.Write([]byte(head + "\r\n")); err != nil {
		return err
	}
	in := &capped{r: conn, left: maxHead}
	resp, err := http.ReadResponse(bufio.NewReaderSize(in, 4<<10), nil) //nolint:bodyclose // it ends with the connection
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("parent answered %s", resp.Status)
	}
	in.left = 1 << 62 // lines are bounded, the stream is not
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(make([]byte, 0, 4<<10), maxLine)
	for extend(conn) && lines.Scan() {
		m, err := parseMessage(lines.Text(), pieces(l.task.Layout()))
		if err != nil {
			return err
		}
		switch m.verb {
		case "have":
			l.events.Gained(l.parent.Peer, m.pieces, m.load)
		case "room":
			l.events.Room(l.parent.Peer, m.load)
		default:
			l.events.Load(l.parent.Peer, m.load)
		}
	}
	if err := lines.Err(); err != nil {
		return err
	}
	return fmt.Errorf("parent ended the stream")
}

// extend gives the next line its time.
func extend(c net.Conn) bool { return c.SetReadDeadline(time.Now().Add(newsTimeout)) == nil }

// pieces bounds the pieces that a parent can tell of.
func pieces(l piece.Layout) int {
	if l.Known() {
		return l.Count()
	}
	return piece.MaxCount
}
