package postgres

import (
	"github.com/regate-dev/regate/engine"
)

// Sizes of what is released at a time, in bytes.
const (
	// releaseSize is how much of a long result piles up before it is recorded
	// and released.
	releaseSize = 128 << 10
	// maxFlights is how many of those may wait for the journal at once.
	maxFlights = 6
)

// The formats of recorded bytes. They are part of the recording format: package
// replay reads them.
const (
	formatBackend  = "postgres/backend" // messages as the agent was sent them
	formatFrontend = "postgres/copy-in" // the payload of CopyData messages of the agent
)

// flight is a piece of output that waits until it is recorded.
type flight struct {
	data     []byte
	releases []engine.Release
}

// recordTurn puts what has been added to the output since the last call into
// the recording, as part of t.
func (s *session) recordTurn(t *turn) {
	if t == nil || len(s.out) == s.recorded {
		return
	}
	data := s.out[s.recorded:]
	t.bytes += int64(len(data))
	rows := s.outRows
	s.outRows = 0
	for len(data) > 0 {
		piece := data[:min(len(data), engine.MaxOutput)]
		data = data[len(piece):]
		s.releases = append(s.releases, t.Output(formatBackend, piece, rows))
		rows = 0
	}
	s.recorded = len(s.out)
}

// recordFields puts a RowDescription that the agent is not shown into the
// recording, so that a replay has column names.
func (s *session) recordFields(t *turn, message []byte) {
	if len(message) > 0 {
		s.recordTurn(t)
		s.releases = append(s.releases, t.Output(formatBackend, message, 0))
	}
}

// finish records how a turn ended and applies what its statement changed.
func (s *session) finish(t *turn, o engine.Outcome, ran bool) {
	if t.finished {
		return
	}
	t.finished = true
	t.stopClock()
	o.Bytes = t.bytes
	s.releases = append(s.releases, t.Done(o))
	s.veil(t)
	s.apply(t, ran)
}

// launch hands the output to the flights and releases the oldest when there
// are many.
func (s *session) launch() error {
	if len(s.out) == 0 {
		return nil
	}
	s.flights = append(s.flights, flight{data: s.out, releases: s.releases})
	s.out, s.releases, s.recorded = s.srv.buffer(), nil, 0
	for len(s.flights) > maxFlights || len(s.flights) > 0 && s.flights[0].recorded() {
		if err := s.land(); err != nil {
			return err
		}
	}
	return nil
}

func (f *flight) recorded() bool {
	for i := range f.releases {
		if !f.releases[i].Ready() {
			return false
		}
	}
	return true
}

// land waits for the oldest flight and writes it.
func (s *session) land() error {
	f := s.flights[0]
	s.flights = append(s.flights[:0], s.flights[1:]...)
	if err := s.await(f.releases); err != nil {
		return err
	}
	err := s.show(f.data)
	s.srv.giveBack(f.data)
	return err
}

// await blocks until all is recorded. It is not cut short by an agent that
// goes away: what was recorded as shown may then not have been read, never the
// other way round.
func (s *session) await(releases []engine.Release) error {
	for i := range releases {
		if err := releases[i].Wait(s.uncut); err != nil {
			return err
		}
	}
	return nil
}

// flush records and releases everything there is.
func (s *session) flush() error {
	if o := s.expect.first(); o != nil {
		s.recordTurn(o.current())
	}
	for len(s.flights) > 0 {
		if err := s.land(); err != nil {
			return err
		}
	}
	if len(s.out) == 0 && len(s.releases) == 0 {
		return nil
	}
	err := s.await(s.releases)
	s.releases = s.releases[:0]
	if err == nil && len(s.out) > 0 {
		err = s.show(s.out)
	}
	s.out, s.recorded = s.out[:0], 0
	return err
}
