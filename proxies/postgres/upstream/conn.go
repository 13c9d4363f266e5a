package upstream

import (
	"context"
	"net"

	"github.com/jackc/pgx/v5/pgconn"
)

// Conn is a connection that has logged in and is idle. Nobody else reads or
// writes it.
type Conn struct {
	net.Conn // after TLS; no deadline is set

	PID      uint32            // the server process
	Secret   []byte            // what cancels it: never shown to an agent
	Status   map[string]string // what the server reported of its settings
	TxStatus byte              // 'I'
	// Buffered are bytes of the server that came after ReadyForQuery and have
	// been read already: they come before what Read gives. Mostly empty.
	Buffered []byte

	canceller *pgconn.PgConn
}

// Cancel asks the server to cancel what the connection is running, over a
// fresh connection to the same server process with the same TLS policy. It
// returns when the server has taken the request; that is before the statement
// ends, and no promise that it does. It may be called from any goroutine.
func (c *Conn) Cancel(ctx context.Context) error {
	if err := c.canceller.CancelRequest(ctx); err != nil {
		return classify(ctx, dialling, err)
	}
	if err := ctx.Err(); err != nil {
		return classify(ctx, dialling, err)
	}
	return nil
}
