package record

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"
	"gocloud.dev/blob"
	"gocloud.dev/gcerrors"
)

const legalHoldsDir = "holds/"

// LegalHold keeps a recording from being deleted, whatever the retention says.
// It lies in the archive beside the recordings, so that every recorder sees it.
type LegalHold struct {
	Session string    `json:"session"` // ULID
	Reason  string    `json:"reason"`
	By      string    `json:"by"` // who placed it, as they say
	At      time.Time `json:"at"`
}

func legalHoldKey(session ulid.ULID) string { return legalHoldsDir + session.String() + ".json" }

// PlaceHold places a legal hold, in place of one that is there. The session may
// still be live.
func PlaceHold(ctx context.Context, bucket *blob.Bucket, h LegalHold) error {
	session, err := ulid.ParseStrict(h.Session)
	if err != nil {
		return fmt.Errorf("legal hold: session %q: %w", h.Session, err)
	}
	if strings.TrimSpace(h.Reason) == "" {
		return errors.New("legal hold: a reason is needed")
	}
	raw, err := json.Marshal(h)
	if err == nil {
		err = bucket.WriteAll(ctx, legalHoldKey(session), append(raw, '\n'), &blob.WriterOptions{ContentType: "application/json"})
	}
	if err != nil {
		return fmt.Errorf("legal hold: %w", err)
	}
	return nil
}

// LiftHold ends a legal hold, or returns ErrNoSession where there is none.
func LiftHold(ctx context.Context, bucket *blob.Bucket, session string) error {
	id, err := ulid.ParseStrict(session)
	if err != nil {
		return fmt.Errorf("legal hold: session %q: %w", session, err)
	}
	err = bucket.Delete(ctx, legalHoldKey(id))
	if gcerrors.Code(err) == gcerrors.NotFound {
		return fmt.Errorf("legal hold of session %s: %w", id, ErrNoSession)
	}
	if err != nil {
		return fmt.Errorf("legal hold: %w", err)
	}
	return nil
}

// LegalHolds lists the holds of an archive by session. A hold that cannot be
// read holds all the same.
func LegalHolds(ctx context.Context, bucket *blob.Bucket) (map[ulid.ULID]LegalHold, error) {
	holds := map[ulid.ULID]LegalHold{}
	err := eachObject(ctx, bucket, &blob.ListOptions{Prefix: legalHoldsDir}, func(o *blob.ListObject) error {
		id, err := ulid.ParseStrict(strings.TrimSuffix(path.Base(o.Key), ".json"))
		if err != nil {
			return nil // not ours
		}
		raw, err := bucket.ReadAll(ctx, o.Key)
		if gcerrors.Code(err) == gcerrors.NotFound {
			return nil // lifted since
		}
		if err != nil {
			return err
		}
		h := LegalHold{Session: id.String()}
		if err := json.Unmarshal(raw, &h); err != nil {
			h = LegalHold{Session: id.String(), Reason: "this hold cannot be read"}
		}
		holds[id] = h
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("legal holds: %w", err)
	}
	return holds, nil
}
