package record

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"gocloud.dev/blob"
	"gocloud.dev/gcerrors"
)

// upload archives ended sessions one after the other. A slow or broken store
// holds back nothing but the spool's emptying.
func (r *Recorder) upload(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case s := <-r.uploads:
			if err := r.retry(ctx, func() error { return r.archive(ctx, s) }); err != nil {
				return
			}
			r.settled <- s
			r.waiting.Add(-1)
		}
	}
}

// archive writes a session's file, notes it in the index and removes it from
// the spool. Each step can be done again.
func (r *Recorder) archive(ctx context.Context, s *session) error {
	key := ObjectKey(s.session)
	end, size, err := writeRecording(ctx, r.opts.Bucket, key, s)
	if err != nil {
		return fmt.Errorf("archive session %s: %w", s.session, err)
	}
	if r.opts.Settle != nil {
		if err := r.opts.Settle(end.key); err != nil {
			return fmt.Errorf("archive session %s: %w", s.session, err)
		}
	}
	row := s.tally.row
	row.State, row.Object, row.Size, row.FinalHash = StateArchived, end.key, size, hex.EncodeToString(end.Head[:])
	if err := r.opts.Index.apply(ctx, indexBatch{sessions: []SessionRow{row}}); err != nil {
		return err
	}
	if err := os.Remove(s.path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("spool: %w", err)
	}
	return syncPath(filepath.Dir(s.path))
}

type recordingEnd struct {
	trailer
	key string
}

// writeRecording writes the file of a session and returns its end and size. A
// file that is there already is written over only by the same or a longer
// recording; a different one is left alone and this one gets a name of its
// own.
func writeRecording(ctx context.Context, bucket *blob.Bucket, key string, s *session) (recordingEnd, int64, error) {
	end := recordingEnd{key: key}
	old, oldSize, err := readTrailer(ctx, bucket, key)
	switch {
	case err == nil:
		head := endOf(s)
		if old.Head == head.Head && old.Events == head.Events {
			end.trailer = head
			return end, oldSize, nil
		}
		if old.Events >= head.Events {
			end.key = fmt.Sprintf("%s.%x", key, head.Head[:4])
		}
	case gcerrors.Code(err) != gcerrors.NotFound && !errors.Is(err, errTrailer):
		return end, 0, err
	}

	// Cancelling the context is how an upload is given up half way.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	w, err := bucket.NewWriter(ctx, end.key, &blob.WriterOptions{ContentType: "application/zstd"})
	if err != nil {
		return end, 0, err
	}
	count := &countingWriter{w: w}
	if end.trailer, err = copyRecording(count, s); err != nil {
		cancel()
		return end, 0, errors.Join(err, w.Close())
	}
	if err := w.Close(); err != nil {
		return end, 0, err
	}
	return end, count.n, nil
}

// endOf follows a session's chain. A damaged spool is archived as it is: Verify
// reports it.
func endOf(s *session) trailer {
	f := follow(s.session, nil, 0, s.source, func(uint64, error) {})
	return trailer{Events: f.events, Head: f.head}
}

// copyRecording writes a session's events and what ends the file, which it
// follows the chain for on the way.
func copyRecording(w io.Writer, s *session) (trailer, error) {
	rw, err := newRecordingWriter(w, s.session)
	if err != nil {
		return trailer{}, err
	}
	next, done, err := s.source()
	if err != nil {
		return trailer{}, err
	}
	f := newFollower(s.session, nil, nil, func(uint64, error) {})
	for {
		e, encoded, err := next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err == nil {
			f.next(e, encoded)
			err = rw.event(encoded)
		}
		if err != nil {
			return trailer{}, errors.Join(err, done())
		}
	}
	end := trailer{Events: f.events, Head: f.head}
	if f.jumped { // gaps are declared behind themselves
		end = endOf(s)
	}
	return end, errors.Join(rw.finish(end.Events, end.Head), done())
}

type countingWriter struct {
	w io.Writer
	n int64
}

func (c *countingWriter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}

// readTrailer reads the end of a file.
func readTrailer(ctx context.Context, bucket *blob.Bucket, key string) (trailer, int64, error) {
	attrs, err := bucket.Attributes(ctx, key)
	if err != nil {
		return trailer{}, 0, err
	}
	if attrs.Size < int64(trailerSize) {
		return trailer{}, attrs.Size, errTrailer
	}
	r, err := bucket.NewRangeReader(ctx, key, attrs.Size-int64(trailerSize), int64(trailerSize), nil)
	if err != nil {
		return trailer{}, attrs.Size, err
	}
	raw, err := io.ReadAll(r)
	if err := errors.Join(err, r.Close()); err != nil {
		return trailer{}, attrs.Size, err
	}
	t, err := decodeTrailer(raw)
	return t, attrs.Size, err
}
