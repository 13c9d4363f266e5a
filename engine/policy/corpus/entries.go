package corpus

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/regate-dev/regate/engine/input"
)

// Split returns the top-level keys of a document in RFC 8785 form, sorted, with
// the digest of each. The entries' JSON are slices of doc.
func Split(doc []byte) ([]input.Entry, error) {
	dec := jsontext.NewDecoder(bytes.NewReader(doc))
	tok, err := dec.ReadToken()
	if err != nil {
		return nil, fmt.Errorf("input document: %w", err)
	}
	if tok.Kind() != '{' {
		return nil, errors.New("input document: it is no JSON object")
	}
	var entries []input.Entry
	for dec.PeekKind() != '}' {
		tok, err := dec.ReadToken()
		if err != nil {
			return nil, fmt.Errorf("input document: %w", err)
		}
		key := tok.String()
		raw, err := dec.ReadValue()
		if err != nil {
			return nil, fmt.Errorf("input document: key %q: %w", key, err)
		}
		end := dec.InputOffset()
		own := doc[end-int64(len(raw)) : end : end]
		entries = append(entries, input.Entry{Key: key, JSON: own, Digest: sha256.Sum256(own)})
	}
	slices.SortFunc(entries, func(a, b input.Entry) int { return strings.Compare(a.Key, b.Key) })
	return entries, nil
}

// Digest is the document's digest by its entries; see input.Document.Digest.
func Digest(entries []input.Entry) input.Digest {
	h := sha256.New()
	for i := range entries {
		h.Write([]byte(entries[i].Key))
		h.Write([]byte{0})
		h.Write(entries[i].Digest[:])
	}
	var sum input.Digest
	h.Sum(sum[:0])
	return sum
}

// Join puts entries together to a document again.
func Join(entries []input.Entry) []byte {
	size := 2
	for i := range entries {
		size += len(entries[i].Key) + len(entries[i].JSON) + 4
	}
	doc := make([]byte, 0, size)
	doc = append(doc, '{')
	for i := range entries {
		if i > 0 {
			doc = append(doc, ',')
		}
		doc, _ = jsontext.AppendQuote(doc, entries[i].Key) // keys were read from valid JSON
		doc = append(doc, ':')
		doc = append(doc, entries[i].JSON...)
	}
	return append(doc, '}')
}
