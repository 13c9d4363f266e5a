package main

import (
	"context"
	"regexp"
	"strconv"
	"testing"

	"github.com/jackc/pgx/v5"
)

// TestMillionRows: a result of any length is masked, recorded and archived in
// bounded memory.
func TestMillionRows(t *testing.T) {
	s := newSite(t)
	p := s.serve(t)
	ctx, cancel := context.WithTimeout(t.Context(), 3*awaitFor)
	defer cancel()
	conn, err := pgx.ConnectConfig(ctx, p.login(t))
	if err != nil {
		t.Fatal(err)
	}
	rows := 0
	read := func(n string) {
		t.Helper()
		r := conn.PgConn().ExecParams(ctx, "SELECT i, md5(i::text) || repeat('x', 100), (SELECT max(hidden) FROM marks) FROM generate_series(1, "+n+") i", nil, nil, nil, nil)
		for rows = 0; r.NextRow(); rows++ {
		}
		if _, err := r.Close(); err != nil {
			t.Fatal(err)
		}
	}
	read("10000")
	before := p.heap(t)
	read("1000000")
	if rows != 1_000_000 {
		t.Errorf("%d rows", rows)
	}
	after := p.heap(t)
	t.Logf("heap: %d MiB before, %d MiB at most", before>>20, after>>20)
	// All of it is 150 MB.
	if grown := after - before; grown > 96<<20 {
		t.Errorf("the gateway grew by %d MiB", grown>>20)
	}
	if err := conn.Close(ctx); err != nil {
		t.Error(err)
	}
	p.stop(t)
}

var heapSys = regexp.MustCompile(`(?m)^go_memstats_heap_sys_bytes (\S+)$`)

// heap is what the process has taken from the system for its heap so far: it
// does not become less.
func (p *serving) heap(t *testing.T) int64 {
	t.Helper()
	_, body, err := call("", "GET", "http://"+p.admin+"/metrics", "")
	if err != nil {
		t.Fatal(err)
	}
	m := heapSys.FindStringSubmatch(body)
	if m == nil {
		t.Fatal("no go_memstats_heap_sys_bytes")
	}
	v, err := strconv.ParseFloat(m[1], 64)
	if err != nil {
		t.Fatal(err)
	}
	return int64(v)
}
