package config

import (
	"fmt"
	"io"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// decoder fills a Config from YAML nodes. It keeps going after a problem and
// remembers where each setting came from.
type decoder struct {
	file, dir string
	shared    bool // the file can be read by others than its owner
	skip      bool // leave secrets and files alone
	env       func(string) (string, bool)
	problems  []Problem
	origins   map[string]origin
	changed   map[string]bool // settings whose value is not the default
	nodes     int

	secretVars map[string]bool // environment variables that secrets name
}

// maxNodes bounds the nodes visited, aliases counted each time they are used:
// a configuration of a few hundred targets has a few thousand.
const maxNodes = 100_000

var (
	typeSecret   = reflect.TypeFor[Secret]()
	typeDuration = reflect.TypeFor[time.Duration]()
	typeSize     = reflect.TypeFor[Size]()
)

func (d *decoder) report(p Problem) { d.problems = append(d.problems, p) }

func (d *decoder) fail(key string, id, msg, fix string) {
	o := d.where(key)
	d.report(Problem{File: o.source, Line: o.line, Key: key, ID: id, Msg: msg, Fix: fix, Severity: Error})
}

func (d *decoder) warn(key string, id, msg, fix string) {
	o := d.where(key)
	d.report(Problem{File: o.source, Line: o.line, Key: key, ID: id, Msg: msg, Fix: fix, Severity: Warning})
}

// where finds the origin of a key, or of the nearest thing around it that
// exists, so that a missing setting points at the mapping that lacks it.
func (d *decoder) where(key string) origin {
	for {
		if o, ok := d.origins[key]; ok {
			return o
		}
		if key == "" {
			return origin{source: d.file}
		}
		key = parentKey(key)
	}
}

func parentKey(key string) string {
	if strings.HasSuffix(key, "]") {
		return key[:strings.LastIndexByte(key, '[')]
	}
	if i := strings.LastIndexByte(key, '.'); i >= 0 {
		return key[:i]
	}
	return ""
}

func joinKey(parent, name string) string {
	if parent == "" {
		return name
	}
	return parent + "." + name
}

// value decodes node n into v. The tag of the field says what a string must
// look like.
func (d *decoder) value(key string, n *yaml.Node, v reflect.Value, tag reflect.StructTag) {
	if n.Kind == yaml.AliasNode && n.Alias != nil {
		n = n.Alias
	}
	if d.nodes++; d.nodes > maxNodes {
		if d.nodes == maxNodes+1 {
			d.fail("", IDSyntax, fmt.Sprintf("more than %d values, aliases counted", maxNodes), "")
		}
		return
	}
	if key != "" {
		d.origins[key] = origin{source: d.file, line: n.Line}
	}
	t := v.Type()
	switch {
	case t == typeSecret || t == typeDuration || t == typeSize || v.Kind() != reflect.Struct && v.Kind() != reflect.Slice && v.Kind() != reflect.Map:
		d.scalarNode(key, n, v, tag)
	case v.Kind() == reflect.Struct:
		d.mapping(key, n, v)
	case v.Kind() == reflect.Slice:
		d.list(key, n, v, tag)
	default:
		d.dictionary(key, n, v)
	}
}

func (d *decoder) mapping(key string, n *yaml.Node, v reflect.Value) {
	if n.Tag == "!!null" {
		return // "admin:" with nothing below it
	}
	if n.Kind != yaml.MappingNode {
		d.fail(key, IDType, "expected a mapping with keys, found "+describe(n), "")
		return
	}
	fields := fieldsOf(v.Type())
	d.pairs(key, n, func(name string, k, val *yaml.Node) {
		i, ok := fields.index[name]
		if !ok {
			d.unknown(joinKey(key, name), k.Line, name, fields)
			return
		}
		f := fields.list[i]
		d.value(joinKey(key, name), val, v.Field(f.index), f.tag)
	})
}

func (d *decoder) list(key string, n *yaml.Node, v reflect.Value, tag reflect.StructTag) {
	if n.Tag == "!!null" {
		return
	}
	if n.Kind != yaml.SequenceNode {
		d.fail(key, IDType, "expected a list, found "+describe(n), "write it as a list: [ … ] or one line with - for each")
		return
	}
	out := reflect.MakeSlice(v.Type(), 0, len(n.Content))
	for i, item := range n.Content {
		e := reflect.New(v.Type().Elem()).Elem()
		if e.Kind() == reflect.Struct {
			setDefaults(e)
		}
		at := fmt.Sprintf("%s[%d]", key, i)
		if item.Tag == "!!null" && e.Kind() == reflect.Struct {
			d.origins[at] = origin{source: d.file, line: item.Line}
			d.fail(at, IDType, "an empty list item", "remove the lone -")
			out = reflect.Append(out, e) // the next items keep their numbers
			continue
		}
		d.value(at, item, e, tag)
		out = reflect.Append(out, e)
	}
	v.Set(out)
}

// dictionary decodes a mapping whose keys are free: to strings, or to lists of
// strings, where a lone string is a list of one.
func (d *decoder) dictionary(key string, n *yaml.Node, v reflect.Value) {
	if n.Tag == "!!null" {
		return
	}
	if n.Kind != yaml.MappingNode {
		d.fail(key, IDType, "expected a mapping with keys, found "+describe(n), "")
		return
	}
	out := reflect.MakeMapWithSize(v.Type(), len(n.Content)/2)
	d.pairs(key, n, func(name string, _, val *yaml.Node) {
		e := reflect.New(v.Type().Elem()).Elem()
		at := joinKey(key, name)
		if e.Kind() == reflect.Slice && val.Kind == yaml.ScalarNode && val.Tag != "!!null" {
			one := reflect.New(e.Type().Elem()).Elem()
			d.value(at, val, one, "")
			e.Set(reflect.Append(e, one))
		} else {
			d.value(at, val, e, "")
		}
		out.SetMapIndex(reflect.ValueOf(name), e)
	})
	v.Set(out)
}

// pairs walks a mapping and reports keys that are no strings or come twice:
// YAML libraries let the last one win, which hides the first.
func (d *decoder) pairs(key string, n *yaml.Node, each func(name string, k, v *yaml.Node)) {
	seen := make(map[string]int, len(n.Content)/2)
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := n.Content[i], n.Content[i+1]
		if k.Kind == yaml.AliasNode && k.Alias != nil {
			k = k.Alias
		}
		at := origin{source: d.file, line: k.Line}
		switch {
		case k.Kind != yaml.ScalarNode:
			d.report(Problem{File: at.source, Line: at.line, Key: key, ID: IDType, Msg: "a key must be a string, found " + describe(k), Severity: Error})
		case k.Tag == "!!merge":
			d.report(Problem{File: at.source, Line: at.line, Key: key, ID: IDUnknownKey, Msg: "merge keys (<<) are not supported", Fix: "write the settings out, or use an alias for the whole value", Severity: Error})
		case seen[k.Value] != 0:
			d.report(Problem{File: at.source, Line: at.line, Key: joinKey(key, k.Value), ID: IDDuplicate, Msg: fmt.Sprintf("given twice, first on line %d", seen[k.Value]), Severity: Error})
		default:
			seen[k.Value] = k.Line
			each(k.Value, k, v)
		}
	}
}

func (d *decoder) scalarNode(key string, n *yaml.Node, v reflect.Value, tag reflect.StructTag) {
	if n.Kind != yaml.ScalarNode {
		d.fail(key, IDType, "expected "+want(v)+", found "+describe(n), "")
		return
	}
	if n.Tag == "!!null" {
		d.fail(key, IDType, "has no value, expected "+want(v), "give a value or remove the key")
		return
	}
	plain := n.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle|yaml.LiteralStyle|yaml.FoldedStyle) == 0
	switch {
	case v.Kind() == reflect.String && n.Tag != "!!str":
		// yaml.v3 would pass 0777 or 1e3 on as written, but a reader of the
		// file expects YAML's meaning; quotes leave no doubt.
		d.fail(key, IDType, "expected a string, found "+describe(n), "put it in quotes: "+strconv.Quote(n.Value))
		return
	case (v.Kind() == reflect.Bool || v.Kind() == reflect.Int) && !plain:
		d.fail(key, IDType, "expected "+want(v)+", found a string", "remove the quotes")
		return
	}
	d.scalar(key, n.Value, v, tag)
}

// scalar parses s into v, and remembers whether that changed anything.
func (d *decoder) scalar(key, s string, v reflect.Value, tag reflect.StructTag) {
	before := v.Interface()
	d.parse(key, s, v, tag)
	if d.changed != nil && before != v.Interface() {
		d.changed[key] = true
	}
}

// parse parses s into v. Values of secrets are never part of a message.
func (d *decoder) parse(key, s string, v reflect.Value, tag reflect.StructTag) {
	switch v.Type() {
	case typeSecret:
		d.secret(key, s, v)
		return
	case typeDuration:
		t, err := time.ParseDuration(s)
		if err != nil {
			d.fail(key, IDInvalid, fmt.Sprintf("%q is not a duration", s), "write a number with a unit: 500ms, 10s, 5m, 1h")
			return
		}
		v.SetInt(int64(t))
		d.bounds(key, int64(t), tag, func(b string) (int64, string) { x, _ := time.ParseDuration(b); return int64(x), b })
		return
	case typeSize:
		z, err := ParseSize(s)
		if err != nil {
			d.fail(key, IDInvalid, err.Error(), "write a number with a unit: 512B, 64KiB, 16MiB, 4GiB")
			return
		}
		v.SetInt(int64(z))
		d.bounds(key, int64(z), tag, func(b string) (int64, string) {
			x, _ := strconv.ParseInt(b, 10, 64)
			return x, Size(x).String()
		})
		return
	}
	switch v.Kind() {
	case reflect.Bool:
		b, err := strconv.ParseBool(s)
		if err != nil || len(s) == 1 { // ParseBool also takes 1, t, T
			d.fail(key, IDType, fmt.Sprintf("expected true or false, found %q", s), "")
			return
		}
		v.SetBool(b)
	case reflect.Int:
		i, err := strconv.Atoi(s)
		if err != nil {
			d.fail(key, IDType, fmt.Sprintf("expected a whole number, found %q", s), "")
			return
		}
		v.SetInt(int64(i))
		d.bounds(key, int64(i), tag, func(b string) (int64, string) { x, _ := strconv.ParseInt(b, 10, 64); return x, b })
	case reflect.String:
		v.SetString(d.text(key, s, tag))
	default:
		panic("config: no decoder for " + v.Type().String()) // a mistake in the schema; a test covers every field
	}
}

func (d *decoder) bounds(key string, x int64, tag reflect.StructTag, parse func(string) (int64, string)) {
	if b, ok := tag.Lookup("min"); ok {
		if limit, shown := parse(b); x < limit {
			d.fail(key, IDInvalid, "too small, the least is "+shown, "")
			return
		}
	} else if x < 0 {
		d.fail(key, IDInvalid, "must not be negative", "")
		return
	}
	if b, ok := tag.Lookup("max"); ok {
		if limit, shown := parse(b); x > limit {
			d.fail(key, IDInvalid, "too large, the most is "+shown, "")
		}
	}
}

func (d *decoder) secret(key, s string, v reflect.Value) {
	if s == hidden {
		d.fail(key, IDSecret, "this is what `regate config print` shows instead of a secret", "write env:NAME or file:/path")
		return
	}
	ref := s
	if name, ok := strings.CutPrefix(s, "env:"); ok {
		if d.secretVars == nil {
			d.secretVars = make(map[string]bool)
		}
		d.secretVars[name] = true
	}
	if d.skip && (strings.HasPrefix(s, "env:") || strings.HasPrefix(s, "file:")) {
		v.Set(reflect.ValueOf(Secret{ref: ref}))
		return
	}
	sec, err := resolveSecret(ref, d.env, d.path(key))
	if err != nil {
		d.fail(key, IDSecret, cause(err), "")
	}
	v.Set(reflect.ValueOf(sec))
	if sec.ref != "literal" {
		return
	}
	if s == "" {
		d.fail(key, IDInvalid, "an empty secret", "remove the key, or write env:NAME or file:/path")
		return
	}
	o := d.where(key)
	p := Problem{
		File: o.source, Line: o.line, Key: key, ID: IDLiteral, Severity: Warning,
		Msg: "a secret is written out", Fix: "write env:NAME or file:/path instead",
	}
	if o.line > 0 && d.shared {
		p.Msg, p.Severity = "a secret is written out in a file that others can read", Error
		p.Fix = "write env:NAME or file:/path instead, or chmod 600 the file"
	}
	d.report(p)
}

// path resolves a relative path against the folder of the configuration file
// if that is where the setting stands, and leaves it to the working directory
// otherwise.
func (d *decoder) path(key string) func(string) string {
	return func(p string) string {
		if p == "" || filepath.IsAbs(p) || d.file == "" || d.where(key).line == 0 {
			return p
		}
		return filepath.Join(d.dir, p)
	}
}

// want names what a setting takes.
func want(v reflect.Value) string {
	switch v.Type() {
	case typeDuration:
		return "a duration"
	case typeSize:
		return "a size"
	case typeSecret:
		return "a reference to a secret"
	}
	switch v.Kind() {
	case reflect.Bool:
		return "true or false"
	case reflect.Int:
		return "a whole number"
	default:
		return "a string"
	}
}

// describe names what stands in the file.
func describe(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	case yaml.AliasNode:
		return "an alias"
	}
	switch n.Tag {
	case "!!int", "!!float":
		return "a number"
	case "!!bool":
		return "true or false"
	case "!!null":
		return "nothing"
	case "!!str":
		return "a string"
	case "!!timestamp":
		return "a date"
	default:
		return "a value with the tag " + n.Tag
	}
}

func readLimited(r io.Reader, limit int64) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err == nil && int64(len(b)) > limit {
		return nil, fmt.Errorf("larger than %s", Size(limit))
	}
	return b, err
}
