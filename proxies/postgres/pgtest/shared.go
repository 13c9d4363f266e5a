package pgtest

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// TB is what Shared needs of testing.TB.
type TB interface {
	Helper()
	Fatalf(format string, args ...any)
	Cleanup(func())
}

// Database is a fresh, empty database of a shared cluster.
type Database struct {
	*Cluster
	Name string
}

// URL returns a connection URL for the superuser.
func (d *Database) URL() string { return d.DSN(d.Name, Superuser) }

// Run runs SQL, of one or several statements, as the superuser.
func (d *Database) Run(ctx context.Context, sql string) error { return d.Exec(ctx, d.Name, sql) }

// sharedCluster is the one cluster of a test binary. Starting one takes
// seconds; a database in it takes a tenth of one. It ends with the process.
var sharedCluster = sync.OnceValues(func() (*Cluster, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	return Start(ctx, Options{Settings: map[string]string{
		"fsync":              "off",
		"synchronous_commit": "off",
		"full_page_writes":   "off",
		"max_connections":    "200",
	}})
})

var databases atomic.Int64

// Shared returns a fresh database in the test binary's one cluster. The
// database is dropped when the test ends, the cluster when the process does.
func Shared(t TB) *Database {
	t.Helper()
	cluster, err := sharedCluster()
	if err != nil {
		t.Fatalf("start the shared cluster: %v", err)
	}
	d := &Database{Cluster: cluster, Name: fmt.Sprintf("test_%d", databases.Add(1))}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := cluster.Exec(ctx, "postgres", "CREATE DATABASE "+d.Name); err != nil {
		t.Fatalf("create database %s: %v", d.Name, err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := cluster.Exec(ctx, "postgres", "DROP DATABASE "+d.Name+" WITH (FORCE)"); err != nil {
			t.Fatalf("drop database %s: %v", d.Name, err)
		}
	})
	return d
}
