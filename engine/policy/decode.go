package policy

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/regate-dev/regate/engine/input"
)

// entry is one of the rule names that a policy package speaks through.
type entry int

const (
	entryAllow entry = iota
	entryDeny
	entryRequireApproval
	entryMask
	entryLimit
	entryRecord
	entryLabel
	entryCount
)

var entryNames = [entryCount]string{"allow", "deny", "require_approval", "mask", "limit", "record", "label"}

func (e entry) String() string { return entryNames[e] }

// Limits of what a policy may say. They keep a slip (a whole table of ids in a
// message) out of every recorded decision.
const (
	maxID       = 200   // bytes of a rule's id
	maxLabel    = 64    // bytes of a label
	maxText     = 2_000 // bytes of a message, hint, field or group
	maxElements = 4_096 // elements of one set
)

// Defaults of require_approval.
const (
	defaultApprovalTTL  = 15 * time.Minute
	defaultApprovalWait = time.Minute
)

// decoder reads what the evaluator made of a package's entries. It is strict:
// an element that does not have the contract's shape is an error, never an
// element less.
type decoder struct {
	protocol    input.Protocol
	detectKinds []string // nil: any
}

// entry adds value, the value of p's rule e, to out.
func (d *decoder) entry(out *elements, e entry, value ast.Value) error {
	rule := "data.regate.policies." + out.pkg + "." + e.String()
	id := strings.TrimPrefix(rule, "data.")
	if e == entryAllow {
		if b, ok := value.(ast.Boolean); ok {
			if b {
				out.allow = append(out.allow, Reason{ID: id, Effect: Allow, Owner: out.owner})
			}
			return nil
		}
	}
	set, ok := value.(ast.Set)
	if !ok {
		return fmt.Errorf("%s is %s, want a set", rule, ast.ValueName(value))
	}
	if set.Len() > maxElements {
		return fmt.Errorf("%s has %d elements, more than %d", rule, set.Len(), maxElements)
	}
	return set.Iter(func(t *ast.Term) error {
		if err := d.element(out, e, id, t.Value); err != nil {
			return fmt.Errorf("%s: element %s: %w", rule, shorten(t.String()), err)
		}
		return nil
	})
}

func (d *decoder) element(out *elements, e entry, ruleID string, value ast.Value) error {
	if text, ok := value.(ast.String); ok && e == entryDeny {
		if err := checkText(string(text), maxText); err != nil {
			return err
		}
		out.deny = append(out.deny, Reason{ID: ruleID, Effect: Deny, Owner: out.owner, Msg: string(text)})
		return nil
	}
	obj, ok := value.(ast.Object)
	if !ok {
		return fmt.Errorf("it is %s, want an object", ast.ValueName(value))
	}
	f := fields{obj: obj}
	id := f.id()
	msg := f.text("msg")
	switch e {
	case entryAllow, entryDeny:
		r := Reason{ID: id, Effect: Allow, Owner: out.owner, Msg: msg}
		r.Severity, r.Hint = f.oneOf("severity", "", "info", "low", "medium", "high", "critical"), f.text("hint")
		if e == entryDeny {
			r.Effect = Deny
			out.deny = append(out.deny, r)
		} else {
			out.allow = append(out.allow, r)
		}
	case entryRequireApproval:
		q := Requirement{ID: id, Owner: out.owner, Msg: msg, From: f.from(), Count: 1}
		if n, ok := f.int("count", 1, 100); ok {
			q.Count = int(n)
		}
		q.TTL = f.duration("ttl", defaultApprovalTTL, time.Second)
		q.Wait = f.duration("wait", defaultApprovalWait, 0)
		out.require = append(out.require, q)
	case entryMask:
		out.masks = append(out.masks, d.mask(&f, id))
	case entryLimit:
		var l Limit
		var rows, bytes, seconds bool
		l.Rows, rows = f.int("rows", 1, exactInt)
		l.Bytes, bytes = f.int("bytes", 1, exactInt)
		l.Seconds, seconds = f.seconds("seconds")
		if !rows && !bytes && !seconds {
			f.fail(errors.New("none of rows, bytes and seconds is given"))
		}
		out.limits = append(out.limits, limitElement{id, l})
	case entryLabel:
		l := Label{Name: f.label(), Scope: LabelTask, Because: []string{id}}
		if scope, ok := f.string("scope", maxID); ok {
			l.Scope = scope
		}
		if f.err == nil && l.Scope != LabelTask && l.Scope != LabelAgent {
			f.fail(fmt.Errorf("scope: %q is not one of %s, %s", l.Scope, LabelTask, LabelAgent))
		}
		out.labels = append(out.labels, l)
	case entryRecord:
		level := RecordFull
		if f.oneOf("level", levelNames[:]...) == levelNames[RecordSealed] {
			level = RecordSealed
		}
		out.record = append(out.record, recordElement{id, level})
	}
	return f.done()
}

func (d *decoder) mask(f *fields, id string) Mask {
	m := Mask{Field: f.text("field"), Detect: f.text("detect"), Because: []string{id}}
	m.Method = f.oneOf("method", "null", "redact", "hash", "tokenise", "partial")
	if m.Method == "partial" {
		keep, _ := f.int("keep", 0, 1_000)
		first, _ := f.int("keep_first", 0, 1_000)
		m.Keep, m.KeepFirst, m.KeepDomain = int(keep), int(first), f.bool("keep_domain")
	}
	switch {
	case (m.Field == "") == (m.Detect == ""):
		f.fail(errors.New("want exactly one of field and detect"))
	case m.Detect != "" && d.detectKinds != nil && !slices.Contains(d.detectKinds, m.Detect):
		f.fail(fmt.Errorf("detect: %q is not known, want one of %s", m.Detect, strings.Join(d.detectKinds, ", ")))
	case m.Field != "" && strings.Contains(m.Field, "*"):
		// It would look like a pattern and match nothing.
		f.fail(errors.New("field: patterns are not supported, name each field"))
	case m.Field != "" && d.protocol == input.Postgres && strings.Count(m.Field, ".") < 2:
		f.fail(errors.New(`field: want "schema.table.column"`))
	case m.Field != "" && d.protocol == input.Kubernetes && !input.KubernetesField(m.Field):
		f.fail(errors.New(`field: want a type and a path, "secrets:/data", or a path, "/metadata/annotations"`))
	}
	return m
}

// fields reads the keys of one element. The first mistake is kept; done also
// reports keys that nobody asked for.
type fields struct {
	obj  ast.Object
	read int
	err  error
}

func (f *fields) fail(err error) {
	if f.err == nil {
		f.err = err
	}
}

// keyTerms are the terms of all known keys: every element is asked for most of
// them.
var keyTerms = func() map[string]*ast.Term {
	out := map[string]*ast.Term{}
	for _, list := range knownKeys {
		for _, key := range list {
			out[key] = ast.StringTerm(key)
		}
	}
	return out
}()

// get returns the key's value, nil when it is not there.
func (f *fields) get(key string) ast.Value {
	k := keyTerms[key]
	if k == nil {
		k = ast.StringTerm(key)
	}
	t := f.obj.Get(k)
	if t == nil {
		return nil
	}
	f.read++
	return t.Value
}

func (f *fields) done() error {
	if f.err != nil || f.read == f.obj.Len() {
		return f.err
	}
	var known []string
	for _, list := range knownKeys {
		known = append(known, list...)
	}
	var unknown []string
	f.obj.Foreach(func(k, _ *ast.Term) {
		s, ok := k.Value.(ast.String)
		if !ok || !slices.Contains(known, string(s)) {
			unknown = append(unknown, k.String())
		}
	})
	if len(unknown) == 0 {
		return errors.New("it has keys that do not belong together")
	}
	return fmt.Errorf("unknown key %s", shorten(strings.Join(unknown, ", ")))
}

var knownKeys = [][]string{
	{"id", "msg", "severity", "hint"},
	{"from", "count", "ttl", "wait"},
	{"field", "detect", "method", "keep", "keep_first", "keep_domain"},
	{"rows", "bytes", "seconds"},
	{"level"},
	{"label", "scope"},
}

func (f *fields) string(key string, limit int) (string, bool) {
	v := f.get(key)
	if v == nil {
		return "", false
	}
	s, ok := v.(ast.String)
	if !ok {
		f.fail(fmt.Errorf("%s is %s, want a string", key, ast.ValueName(v)))
		return "", false
	}
	if err := checkText(string(s), limit); err != nil {
		f.fail(fmt.Errorf("%s: %w", key, err))
		return "", false
	}
	return string(s), true
}

func (f *fields) text(key string) string {
	s, _ := f.string(key, maxText)
	return s
}

func (f *fields) id() string {
	id, ok := f.string("id", maxID)
	switch {
	case f.err != nil:
	case !ok || id == "":
		f.fail(errors.New("id is missing"))
	case strings.ContainsFunc(id, func(r rune) bool { return r <= ' ' || r == 0x7f }):
		f.fail(fmt.Errorf("id %q has a space or control character", id))
	case strings.HasPrefix(id, engineOwner+"/"):
		f.fail(fmt.Errorf("id %q: %s/ is for the gateway's own reasons", id, engineOwner))
	}
	return id
}

// label reads a label's name, which other rules compare with.
func (f *fields) label() string {
	name, ok := f.string("label", maxLabel)
	switch {
	case f.err != nil:
	case !ok || name == "":
		f.fail(errors.New("label is missing"))
	case strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r >= 0x7f }):
		f.fail(fmt.Errorf("label: %q has more than printable ASCII without spaces", name))
	}
	return name
}

func (f *fields) oneOf(key string, values ...string) string {
	s, ok := f.string(key, maxText)
	if !ok {
		s = ""
	}
	if f.err == nil && !slices.Contains(values, s) {
		if !ok {
			f.fail(fmt.Errorf("%s is missing, want one of %s", key, strings.Join(values, ", ")))
		} else {
			f.fail(fmt.Errorf("%s: %q is not one of %s", key, shorten(s), strings.Join(values, ", ")))
		}
	}
	return s
}

func (f *fields) bool(key string) bool {
	v := f.get(key)
	if v == nil {
		return false
	}
	b, ok := v.(ast.Boolean)
	if !ok {
		f.fail(fmt.Errorf("%s is %s, want a boolean", key, ast.ValueName(v)))
	}
	return bool(b)
}

func (f *fields) int(key string, low, high int64) (int64, bool) {
	v := f.get(key)
	if v == nil {
		return 0, false
	}
	n, ok := v.(ast.Number)
	if !ok {
		f.fail(fmt.Errorf("%s is %s, want a number", key, ast.ValueName(v)))
		return 0, false
	}
	i, ok := n.Int64()
	if !ok || i < low || i > high {
		f.fail(fmt.Errorf("%s: %s is not a whole number from %d to %d", key, shorten(string(n)), low, high))
		return 0, false
	}
	return i, true
}

func (f *fields) seconds(key string) (float64, bool) {
	v := f.get(key)
	if v == nil {
		return 0, false
	}
	n, ok := v.(ast.Number)
	if !ok {
		f.fail(fmt.Errorf("%s is %s, want a number", key, ast.ValueName(v)))
		return 0, false
	}
	x, ok := n.Float64()
	if !ok || math.IsNaN(x) || x < 0.001 || x > 1e6 {
		f.fail(fmt.Errorf("%s: %s is not a number of seconds from 0.001 to 1,000,000", key, shorten(string(n))))
		return 0, false
	}
	return x, true
}

func (f *fields) duration(key string, whenMissing, low time.Duration) time.Duration {
	s, ok := f.string(key, maxText)
	if !ok {
		return whenMissing
	}
	d, err := time.ParseDuration(s)
	if err != nil || d < low || d > 365*24*time.Hour {
		f.fail(fmt.Errorf(`%s: %q is not a duration of at least %s, e.g. "15m"`, key, shorten(s), low))
		return whenMissing
	}
	return d
}

// from reads who may approve: a list or a set of "group:x", "subject:y", "any".
func (f *fields) from() []string {
	var out []string
	add := func(t *ast.Term) {
		s, ok := t.Value.(ast.String)
		if !ok {
			f.fail(fmt.Errorf("from holds %s, want strings", ast.ValueName(t.Value)))
			return
		}
		kind, name, _ := strings.Cut(string(s), ":")
		known := kind == "any" && s == "any" || (kind == "group" || kind == "subject") && name != ""
		if err := checkText(string(s), maxText); err != nil || !known {
			f.fail(fmt.Errorf(`from: %q is not "group:…", "subject:…" or "any"`, shorten(string(s))))
			return
		}
		out = append(out, string(s))
	}
	switch v := f.get("from").(type) {
	case nil:
		f.fail(errors.New("from is missing"))
	case *ast.Array:
		v.Foreach(add)
	case ast.Set:
		v.Foreach(add)
	default:
		f.fail(fmt.Errorf("from is %s, want a list of strings", ast.ValueName(v)))
	}
	if f.err == nil && len(out) == 0 {
		f.fail(errors.New("from is empty: nobody could approve"))
	}
	return sortedSet(out)
}

func checkText(s string, limit int) error {
	if len(s) > limit {
		return fmt.Errorf("%d bytes of text, more than %d", len(s), limit)
	}
	if !utf8.ValidString(s) || strings.ContainsRune(s, 0) {
		return errors.New("the text is not UTF-8 or holds a zero byte")
	}
	return nil
}

// shorten keeps an element short enough for an error.
func shorten(s string) string {
	const most = 160
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}
