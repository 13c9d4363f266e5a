package main

import (
	"context"
	"fmt"
	"io"
	"regexp"
	"sync"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/regate-dev/regate/proxies/postgres/replay"
)

// client is an agent's connection. What the gateway sends is shown as it
// arrives.
type client struct {
	*pgx.Conn
	held chan string // approval ids, as the notices tell them
}

// approvalID is an approval's id in a notice.
var approvalID = regexp.MustCompile(`\bap-[0-9a-z]{16}\b`)

// connect connects as the agent, with a token as the password.
func (s *postgresShow) connect(ctx context.Context, token string) (*client, error) {
	config, err := pgx.ParseConfig(s.dsn().String())
	if err != nil {
		return nil, fmt.Errorf("connection string: %w", err)
	}
	config.Password = token
	// One round trip a statement: the description of a result is in it.
	config.DefaultQueryExecMode = pgx.QueryExecModeExec
	c := &client{held: make(chan string, 16)}
	config.OnNotice = func(_ *pgconn.PgConn, n *pgconn.Notice) {
		if id := approvalID.FindString(n.Message + " " + n.Detail + " " + n.Hint); id != "" {
			select {
			case c.held <- id:
			default:
			}
		}
	}
	display := &shown{renderer: replay.New(s.out, replay.Options{Width: s.out.width - len(indent), Color: s.out.colour})}
	config.BuildFrontend = func(r io.Reader, w io.Writer) *pgproto3.Frontend {
		return pgproto3.NewFrontend(io.TeeReader(r, display), w)
	}
	if c.Conn, err = pgx.ConnectConfig(ctx, config); err != nil {
		return nil, err
	}
	display.open()
	return c, nil
}

// shown renders what arrives once the login is over.
type shown struct {
	mu       sync.Mutex
	renderer *replay.Renderer
	on       bool
}

func (s *shown) open() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.on = true
}

// Write never fails: what is shown must not change what the driver sees.
func (s *shown) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.on {
		_ = s.renderer.Write(b)
	}
	return len(b), nil
}
