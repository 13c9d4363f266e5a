package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"go.uber.org/goleak"

	"github.com/regate-dev/regate/proxies/postgres/pgtest"
)

// Many sessions at once, each with a marker of its own in all it asks for:
// none ever sees another's, whoever disconnects or cancels meanwhile.
func TestCrowd(t *testing.T) {
	pgtest.Shared(t) // its server outlives the test
	leaks := goleak.IgnoreCurrent()
	t.Run("crowd", func(t *testing.T) {
		g := start(t)
		end := time.Now().Add(4 * time.Second)
		var group sync.WaitGroup
		for i := range 30 {
			group.Go(func() {
				for n := 0; time.Now().Before(end); n++ {
					if err := member(t, g, fmt.Sprintf("m%d-%d-", i, n), end); err != nil {
						t.Errorf("session %d.%d: %v", i, n, err)
						return
					}
				}
			})
		}
		group.Wait()
		g.alone()
	})
	goleak.VerifyNone(t, leaks, goleak.IgnoreTopFunction("net/http.(*persistConn).readLoop"), goleak.IgnoreTopFunction("net/http.(*persistConn).writeLoop"))
}

// member is one session of the crowd.
func member(t *testing.T, g *gateway, marker string, end time.Time) error {
	c := g.config(g.token("agent"))
	conn, err := pgx.ConnectConfig(context.Background(), c)
	if err != nil {
		return err
	}
	defer conn.Close(context.Background())
	for n := 0; time.Now().Before(end); n++ {
		want := fmt.Sprintf("%s%d", marker, n)
		switch rand.IntN(7) {
		case 0: // gone without a word
			_ = conn.PgConn().Conn().Close()
			return nil
		case 1: // cancelled
			ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
			_, err := conn.Exec(ctx, "SELECT count(*) FROM generate_series(1, 100000000)")
			cancel()
			if err == nil {
				return errors.New("not cancelled")
			}
			return nil
		case 2: // many rows
			rows, err := conn.Query(context.Background(), "SELECT $1::text || '/' || i FROM generate_series(1, 500) i", want)
			if err != nil {
				return err
			}
			for i := 1; rows.Next(); i++ {
				var got string
				if err := rows.Scan(&got); err != nil || got != fmt.Sprintf("%s/%d", want, i) {
					return fmt.Errorf("got %q, want %q/%d: %v", got, want, i, err)
				}
			}
			if rows.Err() != nil {
				return rows.Err()
			}
		case 3: // a denial
			_, err := conn.Exec(context.Background(), "DROP TABLE "+strings.ReplaceAll(want, "-", "_"))
			var denied *pgconn.PgError
			if !errors.As(err, &denied) || denied.Code != "42501" {
				return fmt.Errorf("not denied: %v", err)
			}
		case 4: // a pipeline
			batch := &pgx.Batch{}
			for i := range 5 {
				batch.Queue("SELECT $1::text, email FROM customers WHERE id = 1", fmt.Sprint(want, i))
			}
			results := conn.SendBatch(context.Background(), batch)
			for i := range 5 {
				var got, email string
				if err := results.QueryRow().Scan(&got, &email); err != nil || got != fmt.Sprint(want, i) || email != "[REDACTED]" {
					return fmt.Errorf("got %q, %q: %v", got, email, err)
				}
			}
			if err := results.Close(); err != nil {
				return err
			}
		default:
			var got string
			if err := conn.QueryRow(context.Background(), "SELECT $1::text", want).Scan(&got); err != nil || got != want {
				return fmt.Errorf("got %q, want %q: %v", got, want, err)
			}
		}
	}
	return nil
}
