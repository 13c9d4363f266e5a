package record

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"reflect"
	"testing"

	"github.com/fxamacker/cbor/v2"
	"github.com/oklog/ulid/v2"
)

// bodies holds a full value of every body and its decoder.
func bodies() []struct {
	kind   Kind
	value  interface{ Encode([]byte) []byte }
	decode func([]byte) (any, error)
} {
	decoder := func(f any) func([]byte) (any, error) {
		return func(p []byte) (any, error) {
			out := reflect.ValueOf(f).Call([]reflect.Value{reflect.ValueOf(p)})
			err, _ := out[1].Interface().(error)
			return out[0].Interface(), err
		}
	}
	long := bytes.Repeat([]byte("x"), 70_000)
	return []struct {
		kind   Kind
		value  interface{ Encode([]byte) []byte }
		decode func([]byte) (any, error)
	}{
		{KindOpen, Open{
			Header: Header{
				Protocol: "postgres", Target: "t", Database: "d", Role: "r", Subject: "s", Issuer: "i", ClientID: "c",
				Actor: "a", ActorIssuer: "ai", TokenID: "jti", Client: "1.2.3.4:5", Application: "psql", TLS: true,
				Asserted: []byte(`{"purpose":"x"}`), Labels: map[string]string{"env": "prod", "a": "b", "zz": "", "team": "x"},
			},
			Gateway: "g", Epoch: [16]byte{1, 2}, Number: 1 << 40, Version: "v1",
		}, decoder(DecodeOpen)},
		{KindPart, Part{Index: 7, Digest: Hash{1}, JSON: long}, decoder(DecodePart)},
		{KindRequest, Request{
			Turn: 300, Time: -5, ID: "r", RequestDigest: "sha256:00", Stage: "request",
			Input:       []InputEntry{{Key: "action", Part: 70000}, {Key: "stage", JSON: []byte(`"request"`)}},
			InputDigest: Hash{9},
		}, decoder(DecodeRequest)},
		{KindDecision, Decision{Turn: 1, ID: "d", Time: 2, Stage: "request", Effect: "deny", Ruling: 3, Cached: true, TookNS: 4}, decoder(DecodeDecision)},
		{KindHold, Hold{Turn: 1, Ticket: "t", Digest: "x", WaitNS: 2, Expires: 3}, decoder(DecodeHold)},
		{KindApproval, Approval{Turn: 1, Ticket: "t", Outcome: "approved", By: "b", ByIssuer: "i", Reason: "r", Groups: []string{"g", "h"}}, decoder(DecodeApproval)},
		{KindForward, Forward{Turn: 1}, decoder(DecodeForward)},
		{KindChunk, Chunk{Turn: 1, Format: "f", Data: long}, decoder(DecodeChunk)},
		{KindOutcome, Outcome{
			Turn: 1, Rows: 2, Bytes: 3, Tag: "SELECT 2", ErrorCode: "42501", ErrorMessage: "no", Cancelled: true, DurationNS: 4, Limited: true,
		}, decoder(DecodeOutcome)},
		{KindLoss, Loss{Count: 5, Refused: 1, Reason: "full", Gaps: []Gap{{First: 1, Last: 5, After: Hash{3}}}}, decoder(DecodeLoss)},
		{KindClose, Close{
			Reason: "done", Events: 9, Head: Hash{1}, Time: 2, Gateway: "g", Epoch: [16]byte{3}, Number: 4, KeyID: [16]byte{5}, Signature: []byte{6},
		}, decoder(DecodeClose)},
		{KindNote, Note{Turn: 1, Code: "c", Text: "t", JSON: []byte(`{}`)}, decoder(DecodeNote)},
	}
}

// TestBodiesAreCanonicalAndComplete: what is encoded decodes to the same, it is
// core deterministic CBOR by another's judgement, and no field is forgotten.
func TestBodiesAreCanonicalAndComplete(t *testing.T) {
	canonical, err := cbor.CoreDetEncOptions().EncMode()
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range bodies() {
		t.Run(b.kind.String(), func(t *testing.T) {
			prefix := []byte("before")
			encoded := b.value.Encode(prefix)[len(prefix):]
			got, err := b.decode(encoded)
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(got, b.value) {
				t.Errorf("decoded %+v\nencoded %+v", got, b.value)
			}
			var generic any
			if err := cbor.Unmarshal(encoded, &generic); err != nil {
				t.Fatal(err)
			}
			again, err := canonical.Marshal(generic)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(again, encoded) {
				t.Errorf("not canonical:\n%x\n%x", encoded, again)
			}
			wantFull(t, reflect.ValueOf(b.value))

			// A later version may add fields: they are ignored.
			grown := append([]byte{encoded[0] + 1}, encoded[1:]...)
			grown = append(grown, 23, cborTrue)
			if encoded[0]&0x1f < 22 {
				if got, err := b.decode(grown); err != nil || !reflect.DeepEqual(got, b.value) {
					t.Errorf("with an unknown field: %+v, %v", got, err)
				}
			}
			for n := range len(encoded) {
				if n > 200 {
					break
				}
				if _, err := b.decode(encoded[:n]); err == nil {
					t.Errorf("%d of %d bytes decode", n, len(encoded))
				}
			}
		})
	}
}

// wantFull fails where a test value leaves a field out, so that a new field
// cannot be forgotten in Encode.
func wantFull(t *testing.T, v reflect.Value) {
	t.Helper()
	for i := range v.NumField() {
		f := v.Type().Field(i)
		if f.Type.Kind() == reflect.Struct {
			wantFull(t, v.Field(i))
		} else if v.Field(i).IsZero() && f.Name != "ID" {
			t.Errorf("%s.%s is not tested", v.Type().Name(), f.Name)
		}
	}
}

func TestEmptyBodies(t *testing.T) {
	for _, b := range bodies() {
		zero := reflect.New(reflect.TypeOf(b.value)).Elem().Interface().(interface{ Encode([]byte) []byte })
		got, err := b.decode(zero.Encode(nil))
		if err != nil || !reflect.DeepEqual(got, zero) {
			t.Errorf("%s: %+v, %v", b.kind, got, err)
		}
	}
}

func TestDocumentIsRebuilt(t *testing.T) {
	parts := map[uint32][]byte{1: []byte(`{"verb":"select"}`)}
	part := func(i uint32) []byte { return parts[i] }
	r := Request{Turn: 1, Input: []InputEntry{{Key: "action", Part: 1}, {Key: "stage", JSON: []byte(`"request"`)}}}
	h := sha256.New()
	for _, e := range []struct{ k, v string }{{"action", `{"verb":"select"}`}, {"stage", `"request"`}} {
		sum := sha256.Sum256([]byte(e.v))
		h.Write([]byte(e.k + "\x00"))
		h.Write(sum[:])
	}
	r.InputDigest = Hash(h.Sum(nil))
	doc, err := r.Document(part)
	if err != nil || string(doc) != `{"action":{"verb":"select"},"stage":"request"}` {
		t.Errorf("%s, %v", doc, err)
	}
	parts[1] = []byte(`{"verb":"drop"}`)
	if _, err := r.Document(part); err == nil {
		t.Error("a changed part is not noticed")
	}
	delete(parts, 1)
	if _, err := r.Document(part); err == nil {
		t.Error("a missing part is not noticed")
	}
}

func TestOuterFormatHasOneEncoding(t *testing.T) {
	e := Event{Session: ulid.ULID{1}, Seq: 24, Time: -1, Kind: KindNote, Body: []byte{0xa0}}
	encoded := e.Encode(nil)
	got, n, err := DecodeEvent(append(bytes.Clone(encoded), 0xff))
	if err != nil || n != len(encoded) || !reflect.DeepEqual(got, e) {
		t.Errorf("%+v, %d, %v", got, n, err)
	}
	long := bytes.Replace(encoded, []byte{0x18, 24}, []byte{0x19, 0, 24}, 1)
	if _, _, err := DecodeEvent(long); !errors.Is(err, errFormat) {
		t.Errorf("a number in a longer form: %v", err)
	}
}

func TestKindNames(t *testing.T) {
	if KindClose.String() != "close" || Kind(200).String() != "kind-200" || Kind(0).String() != "kind-0" {
		t.Error(KindClose, Kind(200), Kind(0))
	}
}
