package input

import "strconv"

// Spent is `input.usage`: what has been used before this request, by all
// sessions on all gateways. It is counted and given only where a policy in force
// reads it; it is null where none does, and where the counts are not known. A
// policy on a budget must deny what is null.
type Spent struct {
	Subject SpentBy  `json:"subject"` // by the subject, whoever acts for it and whatever the task
	Actor   *SpentBy `json:"actor"`   // by the actor, for whatever subject; null when nobody acts for the subject
	Task    *SpentBy `json:"task"`    // by the subject under the asserted task; null when no task is asserted. The task is unverified: a budget on it needs one on the subject, too
}

// SpentBy is what one of them has used.
type SpentBy struct {
	Day  SpentCounts `json:"day"`  // since 00:00 UTC
	Hour SpentCounts `json:"hour"` // in the last hour, rounded up: 60 to 65 minutes
}

// SpentCounts are what is counted.
type SpentCounts struct {
	Requests  int64 `json:"requests"`  // requests decided, denied ones among them
	Rows      int64 `json:"rows"`      // rows shown
	Bytes     int64 `json:"bytes"`     // bytes shown
	Denials   int64 `json:"denials"`   // requests refused
	Sensitive int64 `json:"sensitive"` // sensitive values shown: rows times fields that a mask names or that data.regate.settings.sensitive.fields has
}

func (s *Spent) appendJSON(b []byte) []byte {
	b = append(b, `{"actor":`...)
	b = s.Actor.appendJSON(b)
	b = append(b, `,"subject":`...)
	b = s.Subject.appendJSON(b)
	b = append(b, `,"task":`...)
	b = s.Task.appendJSON(b)
	return append(b, '}')
}

func (s *SpentBy) appendJSON(b []byte) []byte {
	if s == nil {
		return append(b, `null`...)
	}
	b = s.Day.appendJSON(append(b, `{"day":`...))
	b = s.Hour.appendJSON(append(b, `,"hour":`...))
	return append(b, '}')
}

func (c *SpentCounts) appendJSON(b []byte) []byte {
	b = strconv.AppendInt(append(b, `{"bytes":`...), c.Bytes, 10)
	b = strconv.AppendInt(append(b, `,"denials":`...), c.Denials, 10)
	b = strconv.AppendInt(append(b, `,"requests":`...), c.Requests, 10)
	b = strconv.AppendInt(append(b, `,"rows":`...), c.Rows, 10)
	b = strconv.AppendInt(append(b, `,"sensitive":`...), c.Sensitive, 10)
	return append(b, '}')
}
