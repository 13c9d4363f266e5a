package policy

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math"
	"os"
	"path/filepath"
	"sync"
)

// sequenceFile, in Config.Dir, is where the newest revision of each bundle is
// remembered: a restart must not be a way back to an older one.
const sequenceFile = "sequences.json"

// Sequenced is the place of a bundle's revision in the order of its revisions,
// as `regate policy build --sequence` writes it into the manifest:
// {"metadata": {"regate": {"sequence": 12}}}.
type Sequenced struct {
	Sequence int64  `json:"sequence"`
	Revision string `json:"revision"`
	Digest   string `json:"digest"`
}

// sequences holds the newest revision that was in force, by source: the name
// of a bundle, or with several paths the name, a colon and the path.
type sequences struct {
	file string // "": not kept

	mu    sync.Mutex
	known map[string]Sequenced
}

// openSequences reads what dir remembers. A file that cannot be read is an
// error: without it an older revision could not be told.
func openSequences(dir string) (*sequences, error) {
	s := &sequences{known: map[string]Sequenced{}}
	if dir == "" {
		return s, nil
	}
	s.file = filepath.Join(dir, sequenceFile)
	raw, err := os.ReadFile(s.file)
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err == nil {
		err = json.Unmarshal(raw, &s.known)
	}
	if err != nil {
		return nil, fmt.Errorf("newest revisions of bundles: %w (%s; without the file older revisions would be taken: remove it only if you know those that are there)", err, s.file)
	}
	if s.known == nil { // the file says null
		s.known = map[string]Sequenced{}
	}
	return s, nil
}

// check refuses a revision that is older than the newest that was in force. One
// without a sequence is older than any with one, for otherwise leaving it out
// would be the way around.
func (s *sequences) check(source string, ref BundleRef, sequence *int64) error {
	s.mu.Lock()
	newest, ok := s.known[source]
	s.mu.Unlock()
	switch {
	case !ok:
		return nil
	case sequence == nil:
		return fmt.Errorf("bundle %s: revision %q has no sequence and revision %q, sequence %d, was in force: is it older? set allow_rollback to take it",
			source, ref.Revision, newest.Revision, newest.Sequence)
	case *sequence < newest.Sequence:
		return fmt.Errorf("bundle %s: revision %q, sequence %d, is older than revision %q, sequence %d, which was in force: set allow_rollback to take it",
			source, ref.Revision, *sequence, newest.Revision, newest.Sequence)
	}
	return nil
}

// keep remembers what is about to be in force. What cannot be remembered must
// not be put in force.
func (s *sequences) keep(now map[string]Sequenced, unordered []string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	next := maps.Clone(s.known)
	maps.Copy(next, now)
	for _, source := range unordered {
		delete(next, source) // it was allowed, and nothing is known of what follows
	}
	if maps.Equal(next, s.known) {
		return nil
	}
	if s.file != "" {
		raw, err := json.MarshalIndent(next, "", "  ")
		if err == nil {
			err = writeFile(s.file, append(raw, '\n'))
		}
		if err != nil {
			return fmt.Errorf("remember the newest revisions of bundles: %w", err)
		}
	}
	s.known = next
	return nil
}

// writeFile replaces a file as a whole: after a crash there is the old or the
// new one.
func writeFile(name string, body []byte) (err error) {
	f, err := os.CreateTemp(filepath.Dir(name), filepath.Base(name)+".*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	_, err = f.Write(body)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), name)
}

// ManifestSequence reads metadata.regate of a manifest. nil: the bundle is not
// ordered.
func ManifestSequence(metadata map[string]any) (*int64, error) {
	raw, ok := metadata["regate"]
	if !ok {
		return nil, nil
	}
	own, ok := raw.(map[string]any)
	if !ok {
		return nil, errors.New(`.manifest: metadata.regate is not an object such as {"sequence": 12}`)
	}
	for key := range own {
		if key != "sequence" {
			return nil, fmt.Errorf(".manifest: metadata.regate: unknown key %q, want sequence", key)
		}
	}
	value, ok := own["sequence"]
	if !ok {
		return nil, nil
	}
	n, ok := value.(json.Number)
	if !ok {
		return nil, errors.New(".manifest: metadata.regate.sequence is not a number")
	}
	i, err := n.Int64()
	if err != nil || i < 0 || i > math.MaxInt64>>10 {
		return nil, fmt.Errorf(".manifest: metadata.regate.sequence: %s is not a whole number from 0 to 2^53", n)
	}
	return &i, nil
}
