package mask

// lookback is how far before a candidate a detector looks, in bytes: a name
// and an operator before an API key's value, a line for its allow-list.
const lookback = 1 << 10

// Stream masks text that arrives in chunks, so that its output is the same as
// Keyring.Text gives for the whole text, however it is split. It holds back
// what may still turn out to be the start of a finding: up to 1 KB (4 KB where
// e-mail addresses are looked for), and what looks like the start of a token (at
// most 16 KB), of a key (4 KB) or of a private key (64 KB). A Stream is for one
// goroutine.
type Stream struct {
	keyring *Keyring
	detect  *Detector
	method  func(kind string) Spec
	buf     []byte // context that is released already, then what is held
	held    int    // buf[held:] is not released yet
	found   []Finding
	changed bool
}

// NewStream makes a stream that masks what d finds by what method says for
// its kind.
func (k *Keyring) NewStream(d *Detector, method func(kind string) Spec) *Stream {
	return &Stream{keyring: k, detect: d, method: method}
}

// Write appends to dst what can be released now that chunk has arrived.
func (s *Stream) Write(dst, chunk []byte) []byte {
	s.buf = append(s.buf, chunk...)
	// Scanning for every small chunk would read the held text again each time.
	if len(s.buf)-s.held < 2*s.detect.reach {
		return dst
	}
	return s.release(dst, len(s.buf)-s.detect.reach)
}

// Flush appends the rest: the text has ended, or what follows is to be taken
// as another text.
func (s *Stream) Flush(dst []byte) []byte {
	dst = s.release(dst, len(s.buf))
	s.buf, s.held = s.buf[:0], 0
	return dst
}

// Changed tells whether anything was masked so far.
func (s *Stream) Changed() bool { return s.changed }

// release appends the text up to cut, or up to the first finding that may
// still grow past it.
func (s *Stream) release(dst []byte, cut int) []byte {
	s.found = s.detect.find(s.buf, s.found[:0])
	if cut < len(s.buf) {
		cut = s.detect.settled(s.buf, cut)
	}
	ready := s.found[:0]
	for rest := s.found; len(rest) > 0; {
		n, f := cluster(rest)
		if f.End > cut {
			cut = min(cut, f.Start)
			break
		}
		if f.Start >= s.held {
			ready = append(ready, rest[:n]...)
		}
		rest = rest[n:]
	}
	if cut <= s.held {
		return dst
	}
	s.changed = s.changed || len(ready) > 0
	dst = s.keyring.replace(dst, s.buf[:cut], s.held, ready, s.method)
	keep := max(0, cut-lookback)
	s.buf = append(s.buf[:0], s.buf[keep:]...)
	s.held = cut - keep
	return dst
}

// lookahead returns how far from its start a finding can reach, with what is
// looked at behind it, except for what settled handles.
func (d *Detector) lookahead() int {
	if d.email {
		return 2 << 10 // 320 characters of up to 4 bytes, and invisible ones
	}
	return 512 // a number of 20 groups, an opening line, a keyword
}

// settled returns where text can be cut at or before cut, so that what comes
// cannot change what is found before: not within a private key whose end is
// not there yet, a token that the text breaks off, or what may become a key.
func (d *Detector) settled(text []byte, cut int) int {
	if d.jwt {
		cut = settledJWT(text, cut)
	}
	if d.keys != nil {
		cut = d.keys.settled(text, cut)
	}
	if d.privateKey {
		cut = settledPrivateKey(text, cut)
	}
	return cut
}
