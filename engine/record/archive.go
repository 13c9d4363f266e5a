package record

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	"github.com/oklog/ulid/v2"
	"gocloud.dev/blob"
	"gocloud.dev/gcerrors"
)

// Archive reads recorded sessions back.
type Archive struct {
	bucket *blob.Bucket
	spool  string
}

// OpenArchive reads a bucket and, where spool is not empty, what a recorder has
// in that directory and not yet in the bucket. A nil bucket is an empty one.
func OpenArchive(bucket *blob.Bucket, spool string) *Archive {
	return &Archive{bucket: bucket, spool: spool}
}

// Object is one file of the archive.
type Object struct {
	Key     string
	Session ulid.ULID
	Size    int64
}

// Objects calls fn for every file of the archive, oldest session first by day.
func (a *Archive) Objects(ctx context.Context, fn func(Object) error) error {
	if a.bucket == nil {
		return nil
	}
	return eachObject(ctx, a.bucket, &blob.ListOptions{Prefix: "sessions/"}, func(o *blob.ListObject) error {
		name, _, _ := strings.Cut(path.Base(o.Key), ".")
		id, err := ulid.ParseStrict(name)
		if err != nil {
			return nil // not ours; Verify looks at names again
		}
		return fn(Object{Key: o.Key, Session: id, Size: o.Size})
	})
}

// eachObject calls fn for every object that a listing has, in order.
func eachObject(ctx context.Context, bucket *blob.Bucket, opts *blob.ListOptions, fn func(*blob.ListObject) error) error {
	list := bucket.List(opts)
	for {
		o, err := list.Next(ctx)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("list archive: %w", err)
		}
		if strings.HasSuffix(o.Key, ".tmp") {
			// A folder's upload that was cut off: the whole of it is still in the
			// spool, and a recording that somebody renames is missed by name.
			continue
		}
		if err := fn(o); err != nil {
			return err
		}
	}
}

// open opens the file of a session for reading from its start. The reader
// checks the trailer when check is called after the last event.
func (a *Archive) open(ctx context.Context, key string) (*RecordingReader, trailer, error) {
	end, size, err := readTrailer(ctx, a.bucket, key)
	if err != nil {
		return nil, end, err
	}
	r, err := a.bucket.NewRangeReader(ctx, key, 0, size-int64(trailerSize), nil)
	if err != nil {
		return nil, end, err
	}
	rr, err := newRecordingReader(r, r.Close)
	return rr, end, err
}

// source reads the events of a file and checks what surrounds them.
func (a *Archive) source(ctx context.Context, key string, session ulid.ULID) eventSource {
	return func() (func() (Event, []byte, error), func() error, error) {
		r, end, err := a.open(ctx, key)
		if err != nil {
			return nil, nil, err
		}
		if r.Session != session {
			return nil, nil, errors.Join(fmt.Errorf("it is the file of session %s", r.Session), r.Close())
		}
		var events uint64
		head := genesis(session)
		jumped := false
		next := func() (Event, []byte, error) {
			e, encoded, err := r.Next()
			if err == nil {
				events++
				jumped = jumped || e.Prev != head.check()
				head = chain(head, encoded)
			}
			return e, encoded, err
		}
		done := func() error {
			var errs []error
			if sum, err := r.sumRaw(); err != nil {
				errs = append(errs, err)
			} else if sum != end.Sum {
				errs = append(errs, errors.New("the file was changed after it was written: its checksum is wrong"))
			}
			if events != end.Events {
				errs = append(errs, fmt.Errorf("the file has %d events, its end says %d", events, end.Events))
			} else if !jumped && head != end.Head {
				errs = append(errs, errors.New("the file's end has another chain hash than its events"))
			}
			return errors.Join(append(errs, r.Close())...)
		}
		return next, done, nil
	}
}

// Read calls each for every event of a session in order, from the archive or,
// where it is not there yet, from the spool. The event's body is valid only
// during the call. Problems are what Verify would report of the session; key
// may be nil. An error of each ends the reading and is returned.
func (a *Archive) Read(ctx context.Context, session ulid.ULID, key []byte, each func(Event) error) (problems []Problem, err error) {
	source, err := a.find(ctx, session)
	if err != nil {
		return nil, err
	}
	var stop error
	once := func() (func() (Event, []byte, error), func() error, error) {
		next, done, err := source()
		if err != nil {
			return nil, nil, err
		}
		return func() (Event, []byte, error) {
			e, encoded, err := next()
			if err == nil && stop == nil {
				stop = each(e)
			}
			if stop != nil {
				return Event{}, nil, io.EOF
			}
			return e, encoded, err
		}, done, nil
	}
	// Followed once only, so that each sees an event once. A declared gap is
	// then reported as one; Verify tells the two apart.
	f := newFollower(session, key, nil, func(seq uint64, err error) {
		problems = append(problems, Problem{Session: session.String(), Event: seq, Text: err.Error()})
	})
	readAll(f, once, nil)
	if stop != nil {
		return nil, stop
	}
	return problems, nil
}

func (a *Archive) find(ctx context.Context, session ulid.ULID) (eventSource, error) {
	key := ObjectKey(session)
	if a.bucket != nil {
		switch ok, err := a.bucket.Exists(ctx, key); {
		case err != nil && gcerrors.Code(err) != gcerrors.NotFound:
			return nil, fmt.Errorf("archive: %w", err)
		case ok:
			return a.source(ctx, key, session), nil
		}
	}
	if a.spool != "" {
		files, err := listSpool(a.spool)
		if err != nil {
			return nil, err
		}
		for _, f := range files {
			if f.session == session {
				if err := f.load(func(Event, []byte) {}); err != nil {
					return nil, err
				}
				return f.source, nil
			}
		}
	}
	return nil, fmt.Errorf("session %s: %w", session, ErrNoSession)
}
