package corpus

import (
	"bytes"
	"encoding/json"
	"fmt"
	"iter"
	"time"

	"github.com/regate-dev/regate/engine/input"
	"github.com/regate-dev/regate/engine/policy"
)

// Recorded is one recorded decision with the exact input that it was made of.
// Its JSON is what `regate sessions export` writes, one a line.
type Recorded struct {
	SessionID  string    `json:"session_id"`  // "" where it is not from a recording
	Turn       uint64    `json:"turn"`        // of the session, from 1
	DecisionID string    `json:"decision_id"` // "" where it is not from a recording
	Time       time.Time `json:"time"`        // when it was decided; of the input where nothing says more
	Stage      string    `json:"stage"`
	// Effect is "allow", "deny" or "require_approval"; "" for an input document
	// that comes without a decision.
	Effect string `json:"effect"`
	// Input is the document in RFC 8785 form, InputDigest its digest
	// ("sha256:…", see input.Document.Digest).
	Input       json.RawMessage `json:"input"`
	InputDigest string          `json:"input_digest"`
	// Ruling is the decision's body as it was recorded (policy.Ruling.JSON); nil
	// where there is none.
	Ruling json.RawMessage `json:"ruling,omitempty"`
	// Bundles are those that decided, by configured name; nil where no policy was
	// asked.
	Bundles map[string]policy.BundleRef `json:"bundles"`

	// Entries are the top-level keys of Input, sorted by key, with the digest of
	// each. Their Part is nil.
	Entries []input.Entry `json:"-"`
	// Where names the place for messages: "session 01J…", "inputs.ndjson, value 3".
	Where string `json:"-"`
}

// Source yields recorded decisions. An error stands for what could not be read;
// the source goes on after it where it can. It may be ranged over several times,
// and holds a bounded amount in memory.
type Source = iter.Seq2[Recorded, error]

// Entry returns the canonical JSON of a top-level key, nil where there is none.
func (r *Recorded) Entry(key string) []byte {
	for i := range r.Entries {
		if r.Entries[i].Key == key {
			return r.Entries[i].JSON
		}
	}
	return nil
}

// At reports where r came from, for people.
func (r *Recorded) At() string {
	switch {
	case r.DecisionID != "":
		return r.DecisionID
	case r.Where != "":
		return r.Where
	}
	return "(unnamed)"
}

// BundlesOf reads which bundles decided from a recorded ruling. It is nil where
// no policy was asked.
func BundlesOf(ruling []byte) (map[string]policy.BundleRef, error) {
	if len(ruling) == 0 {
		return nil, nil
	}
	var r struct {
		Policy struct {
			Bundles map[string]policy.BundleRef `json:"bundles"`
		} `json:"policy"`
	}
	if err := json.Unmarshal(ruling, &r); err != nil {
		return nil, fmt.Errorf("recorded ruling: %w", err)
	}
	return r.Policy.Bundles, nil
}

// fromInput fills in what the document itself says.
func (r *Recorded) fromInput() error {
	if r.Stage == "" {
		if err := json.Unmarshal(orNull(r.Entry("stage")), &r.Stage); err != nil {
			return fmt.Errorf("input: stage: %w", err)
		}
	}
	if r.Time.IsZero() {
		if err := json.Unmarshal(orNull(r.Entry("time")), &r.Time); err != nil {
			return fmt.Errorf("input: time: %w", err)
		}
	}
	return nil
}

func orNull(raw []byte) []byte {
	if len(bytes.TrimSpace(raw)) == 0 {
		return []byte("null")
	}
	return raw
}
