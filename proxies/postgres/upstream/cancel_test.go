package upstream

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// relay passes connections on to the cluster and keeps the first bytes of each.
func relay(t *testing.T) (address string, firsts func() [][]byte) {
	t.Helper()
	var mu sync.Mutex
	var seen [][]byte
	var running sync.WaitGroup
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	running.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			running.Go(func() {
				defer conn.Close()
				server, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", cluster.Port))
				if err != nil {
					return
				}
				defer server.Close()
				first := make([]byte, 8)
				if _, err := io.ReadFull(conn, first); err != nil {
					return
				}
				mu.Lock()
				seen = append(seen, first)
				mu.Unlock()
				_, _ = server.Write(first)
				running.Go(func() {
					_, _ = io.Copy(server, conn)
					_ = server.Close()
				})
				_, _ = io.Copy(conn, server)
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		running.Wait()
	})
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return "localhost:" + port, func() [][]byte {
		mu.Lock()
		defer mu.Unlock()
		return seen
	}
}

func TestCancel(t *testing.T) {
	const sslRequest, cancelRequest = 80877103, 80877102
	for name, first := range map[string]uint32{"TLS": sslRequest, "plaintext": cancelRequest, "socket": 0} {
		t.Run(name, func(t *testing.T) {
			address, firsts := relay(t)
			target := target("by_scram")
			target.Address = address
			if name != "TLS" {
				target.TLS = nil
			}
			if name == "socket" {
				target.Address = filepath.Join(cluster.Socket, fmt.Sprintf(".s.PGSQL.%d", cluster.Port))
			}
			c := dial(t, target, "", nil)
			done := make(chan error, 1)
			go func() {
				_, err := query(t, c, "SELECT pg_sleep(600)")
				done <- err
			}()
			// A cancel that comes before the statement does nothing, so repeat it.
			for tick := time.NewTicker(20 * time.Millisecond); ; <-tick.C {
				if err := c.Cancel(timeout(t)); err != nil {
					t.Fatal(err)
				}
				select {
				case err := <-done:
					var server *pgconn.PgError
					if !errors.As(err, &server) || server.Code != "57014" {
						t.Fatalf("got %v", err)
					}
				default:
					continue
				}
				break
			}
			// The connection lives on.
			if got, err := query(t, c, "SELECT 1"); err != nil || got != "1" {
				t.Fatalf("%s, %v", got, err)
			}
			if first == 0 {
				return
			}
			seen := firsts()
			if len(seen) < 2 {
				t.Fatalf("%d connections", len(seen))
			}
			for _, b := range seen[1:] {
				if got := binary.BigEndian.Uint32(b[4:]); got != first {
					t.Fatalf("a cancel began with %d", got)
				}
			}
		})
	}
}

func TestCancelFails(t *testing.T) {
	address, _ := relay(t)
	target := target("by_scram")
	target.Address = address
	c := dial(t, target, "", nil)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	wants(t, c.Cancel(ctx), ReasonCancelled)
}
