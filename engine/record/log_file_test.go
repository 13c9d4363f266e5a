package record

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

func TestQuickFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	q := newQuickFile(f)
	want := bytes.Repeat([]byte("regate"), 1000)
	for at := 0; at < len(want); at += 100 {
		if n, err := q.WriteAt(want[at:at+100], int64(at)); n != 100 || err != nil {
			t.Fatal(n, err)
		}
	}
	if n, err := q.WriteAt(nil, 7); n != 0 || err != nil {
		t.Error("nothing:", n, err)
	}
	if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, want) {
		t.Errorf("read back %d bytes, %v", len(got), err)
	}
	if err := q.Close(); err != nil {
		t.Error(err)
	}

	// What the system refuses is an error, with nothing written.
	if f, err = os.Open(path); err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	n, err := newQuickFile(f).WriteAt([]byte("x"), 0)
	var failed *os.PathError
	if n != 0 || !errors.As(err, &failed) || !errors.Is(err, syscall.EBADF) {
		t.Error("a file that is open for reading:", n, err)
	}
}
