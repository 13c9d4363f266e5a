package record

import "github.com/oklog/ulid/v2"

// Spooled returns the sessions that a recorder has on disk and not yet in the
// bucket, in no order.
func (a *Archive) Spooled() ([]ulid.ULID, error) {
	if a.spool == "" {
		return nil, nil
	}
	files, err := listSpool(a.spool)
	if err != nil {
		return nil, err
	}
	ids := make([]ulid.ULID, len(files))
	for i, f := range files {
		ids[i] = f.session
	}
	return ids, nil
}
