package state

import (
	"errors"
	"fmt"
	"time"

	"github.com/sirupsen/logrus"
)

// How the embedded store reaches the disk.
const (
	SyncInterval = "interval" // flushed to the disk every few seconds: survives kill -9
	SyncAlways   = "always"   // flushed before every acknowledgement: survives the loss of power
)

// DefaultMaxPayload is the largest message, in bytes: an event of 4 MiB, the
// frame around it, and room to grow.
const DefaultMaxPayload int32 = 8 << 20

// syncEvery is how often the embedded store is flushed to the disk with Sync
// "interval". The server's own default is two minutes, which is more than an
// operator expects to lose with the power.
const syncEvery = 5 * time.Second

// Options says where state is kept.
type Options struct {
	// Dir holds the embedded store. It is made with mode 0700 and locked.
	Dir string
	// URL is that of an existing NATS cluster, e.g. "tls://nats.example:4222".
	// Empty means embedded.
	URL string
	// CredentialsFile is a NATS credentials file for URL.
	CredentialsFile string
	// Replicas of every stream and bucket, 1 when 0. More than one needs a
	// cluster.
	Replicas int
	// Sync is SyncInterval (also when empty) or SyncAlways. A cluster has its
	// own setting.
	Sync string
	// MaxPayload is the largest message in bytes, DefaultMaxPayload when 0.
	MaxPayload int32
	// Logger takes the server's warnings. Nil discards them.
	Logger logrus.FieldLogger
}

func (o *Options) check() error {
	if o.Replicas == 0 {
		o.Replicas = 1
	}
	if o.MaxPayload == 0 {
		o.MaxPayload = DefaultMaxPayload
	}
	if o.Sync == "" {
		o.Sync = SyncInterval
	}
	var errs []error
	if o.URL == "" && o.Dir == "" {
		errs = append(errs, errors.New("either a directory or the URL of a cluster is needed"))
	}
	if o.URL == "" && o.Replicas != 1 {
		errs = append(errs, fmt.Errorf("%d replicas need a cluster: the embedded store keeps one", o.Replicas))
	}
	if o.Replicas < 1 || o.Replicas > 5 {
		errs = append(errs, fmt.Errorf("replicas must be 1 to 5, not %d", o.Replicas))
	}
	if o.Sync != SyncInterval && o.Sync != SyncAlways {
		errs = append(errs, fmt.Errorf("sync must be %q or %q, not %q", SyncInterval, SyncAlways, o.Sync))
	}
	if o.MaxPayload < 1<<20 {
		errs = append(errs, fmt.Errorf("max payload must be at least 1 MiB, not %d bytes", o.MaxPayload))
	}
	return errors.Join(errs...)
}
