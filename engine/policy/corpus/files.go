package corpus

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/regate-dev/regate/engine/policy"
)

// MaxValue bounds one input document or exported record in a file, in bytes: a
// recording's events are far below it.
const MaxValue = 16 << 20

// errTooLong is a value over MaxValue.
var errTooLong = fmt.Errorf("a value is longer than %d bytes", MaxValue)

// Files reads files, and below folders every *.json, *.ndjson and *.jsonl in
// order of their names. A file holds JSON values one after the other, or lists
// of them; each is an exported record (see Recorded) or an input document alone.
// One value is in memory at a time.
func Files(paths ...string) Source {
	return func(yield func(Recorded, error) bool) {
		for _, root := range paths {
			info, err := os.Stat(root)
			if err != nil {
				if !yield(Recorded{}, err) {
					return
				}
				continue
			}
			if !info.IsDir() {
				if !readFile(root, yield) {
					return
				}
				continue
			}
			stopped := false
			err = filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
				if err != nil {
					return err
				}
				if d.IsDir() || !slices.Contains([]string{".json", ".ndjson", ".jsonl"}, strings.ToLower(filepath.Ext(p))) {
					return nil
				}
				if stopped = !readFile(p, yield); stopped {
					return fs.SkipAll
				}
				return nil
			})
			if stopped || err != nil && !yield(Recorded{}, err) {
				return
			}
		}
	}
}

// readFile reports whether to go on with the next file.
func readFile(path string, yield func(Recorded, error) bool) bool {
	f, err := os.Open(path)
	if err != nil {
		return yield(Recorded{}, err)
	}
	defer f.Close()
	return Read(f, path, yield)
}

// Read reads one stream as Files does a file. name is for messages. It reports
// whether yield wants more.
func Read(r io.Reader, name string, yield func(Recorded, error) bool) bool {
	bounded := &boundedReader{r: r, left: MaxValue}
	dec := jsontext.NewDecoder(bounded)
	number := 0
	for {
		bounded.left = MaxValue
		kind := dec.PeekKind()
		switch kind {
		case '[', ']': // a list's elements are values like others; no list is in a list
			if dec.StackDepth() > 0 && kind == '[' {
				return yield(Recorded{}, fmt.Errorf("%s: value %d is a list", name, number+1))
			}
			if _, err := dec.ReadToken(); err != nil {
				return yield(Recorded{}, fmt.Errorf("%s: %w", name, err))
			}
			continue
		}
		raw, err := dec.ReadValue()
		if errors.Is(err, io.EOF) && dec.StackDepth() == 0 {
			return true
		}
		number++
		where := fmt.Sprintf("%s, value %d", name, number)
		if err != nil { // nothing after it can be trusted to be where it seems
			return yield(Recorded{}, fmt.Errorf("%s: %w", where, err))
		}
		rec, err := decode(raw)
		if err != nil {
			err = fmt.Errorf("%s: %w", where, err)
		}
		rec.Where = where
		if !yield(rec, err) {
			return false
		}
	}
}

// boundedReader fails where more than left bytes are asked for.
type boundedReader struct {
	r    io.Reader
	left int
}

func (b *boundedReader) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, errTooLong
	}
	n, err := b.r.Read(p[:min(len(p), b.left)])
	b.left -= n
	return n, err
}

// decode reads an exported record or an input document. The raw bytes are not
// kept.
func decode(raw []byte) (Recorded, error) {
	entries, err := Split(raw)
	if err != nil {
		return Recorded{}, err
	}
	keys := map[string]json.RawMessage{}
	for _, e := range entries {
		keys[e.Key] = e.JSON
	}
	if keys["input"] == nil {
		if keys["schema"] == nil {
			return Recorded{}, errors.New(`it is neither an input document, which has "schema", nor an exported record, which has "input"`)
		}
		var r Recorded
		if err := r.take(raw); err != nil {
			return Recorded{}, err
		}
		return r, r.fromInput()
	}
	var r Recorded
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&r); err != nil {
		return Recorded{}, fmt.Errorf("exported record: %w", err)
	}
	wanted := r.InputDigest
	if err := r.take(r.Input); err != nil {
		return Recorded{}, err
	}
	if wanted != "" && wanted != r.InputDigest {
		return Recorded{}, fmt.Errorf("exported record %s: the input was changed: its digest is %s, not %s", r.DecisionID, r.InputDigest, wanted)
	}
	var effect policy.Effect
	if r.Effect != "" {
		if err := effect.UnmarshalText([]byte(r.Effect)); err != nil {
			return Recorded{}, fmt.Errorf("exported record %s: %w", r.DecisionID, err)
		}
	}
	if string(r.Ruling) == "null" {
		r.Ruling = nil
	}
	if r.Ruling != nil && r.Bundles == nil {
		if r.Bundles, err = BundlesOf(r.Ruling); err != nil {
			return Recorded{}, err
		}
	}
	return r, r.fromInput()
}

// take makes raw the input document, in canonical form.
func (r *Recorded) take(raw []byte) error {
	doc := jsontext.Value(bytes.Clone(raw))
	if err := doc.Canonicalize(); err != nil {
		return fmt.Errorf("input document: %w", err)
	}
	entries, err := Split(doc)
	if err != nil {
		return err
	}
	r.Input, r.Entries, r.InputDigest = json.RawMessage(doc), entries, Digest(entries).String()
	return nil
}
