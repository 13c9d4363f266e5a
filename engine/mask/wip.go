package mask

type ruleSet struct{}

func keyRules() (*ruleSet, error) { return &ruleSet{}, nil }

func (*ruleSet) find(text []byte, dst []Finding) []Finding { return dst }

func (d *Detector) classify() {}

func (d *Detector) walk(text []byte, dst []Finding) []Finding { return dst }

func findJWT(text []byte, dst []Finding) []Finding        { return dst }
func findPrivateKey(text []byte, dst []Finding) []Finding { return dst }

func wholeEmail(value []byte) bool { return false }

// Stream masks text that arrives in chunks.
type Stream struct{}

// NewStream makes a stream that masks what d finds by what method says for its kind.
func (k *Keyring) NewStream(d *Detector, method func(kind string) Spec) *Stream { return &Stream{} }

// Write appends to dst what can be released now that chunk has arrived.
func (s *Stream) Write(dst, chunk []byte) []byte { return dst }

// Flush appends the rest: the text has ended.
func (s *Stream) Flush(dst []byte) []byte { return dst }

// Changed tells whether anything was masked so far.
func (s *Stream) Changed() bool { return false }
