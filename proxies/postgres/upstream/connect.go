package upstream

import (
	"context"
	"errors"
	"sync/atomic"

	"github.com/jackc/pgx/v5"
)

// Connect logs in like Dial, as the target's user and with none of an agent's
// parameters, and returns a connection for the gateway's own queries.
//
// An error is always an *Error.
func Connect(ctx context.Context, t Target) (*pgx.Conn, error) {
	var at atomic.Int32
	config, _, timeout, err := t.config("", nil, &at)
	if err != nil {
		return nil, err
	}
	own, err := pgx.ParseConfig(isolated)
	if err != nil {
		return nil, &Error{Reason: ReasonConfig, Cause: errors.New("the environment holds PostgreSQL variables that cannot be read; unset them")}
	}
	own.Config = *config
	own.MaxProtocolMessageBodyLen = 0 // a definition can be longer than a login's messages
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	conn, err := pgx.ConnectConfig(ctx, own)
	if err != nil {
		return nil, classify(ctx, stage(at.Load()), err)
	}
	return conn, nil
}
