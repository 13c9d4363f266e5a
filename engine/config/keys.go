package config

import (
	"reflect"
	"slices"
	"strings"
	"sync"

	"github.com/agnivade/levenshtein"
)

// field is one setting of a struct.
type field struct {
	name  string
	index int
	tag   reflect.StructTag
}

type fieldList struct {
	list  []field
	index map[string]int
}

var fieldCache sync.Map // reflect.Type → *fieldList

func fieldsOf(t reflect.Type) *fieldList {
	if f, ok := fieldCache.Load(t); ok {
		return f.(*fieldList)
	}
	fl := &fieldList{index: make(map[string]int)}
	for i := range t.NumField() {
		f := t.Field(i)
		name, ok := f.Tag.Lookup("key")
		if !ok {
			continue
		}
		fl.index[name] = len(fl.list)
		fl.list = append(fl.list, field{name: name, index: i, tag: f.Tag})
	}
	got, _ := fieldCache.LoadOrStore(t, fl)
	return got.(*fieldList)
}

// unknown reports a key that means nothing, with the nearest one that does:
// in this mapping, or else anywhere in the configuration.
func (d *decoder) unknown(key string, line int, name string, fields *fieldList) {
	p := Problem{File: d.file, Line: line, Key: key, ID: IDUnknownKey, Msg: "unknown key", Severity: Error}
	var names []string
	for _, f := range fields.list {
		names = append(names, f.name)
	}
	if near := nearest(name, names); near != "" {
		p.Fix = "did you mean " + near + "?"
	} else if elsewhere := findKey(name); elsewhere != "" {
		p.Fix = "did you mean " + elsewhere + "?"
	} else {
		slices.Sort(names)
		p.Fix = "known keys here: " + strings.Join(names, ", ")
	}
	d.report(p)
}

// nearest returns the candidate closest to s, or "" if none is close.
func nearest(s string, candidates []string) string {
	return nearestWithin(s, candidates, max(2, len(s)/3))
}

func nearestWithin(s string, candidates []string, distance int) string {
	const longest = 64 // the cost is quadratic in length
	if len(s) > longest {
		return ""
	}
	best, dist := "", distance+1
	for _, c := range candidates {
		if n := levenshtein.ComputeDistance(strings.ToLower(s), strings.ToLower(c)); n < dist {
			best, dist = c, n
		}
	}
	return best
}

// findKey returns the path of the first setting with this name.
func findKey(name string) string {
	for _, k := range Keys() {
		if k.Path[strings.LastIndexByte(k.Path, '.')+1:] == name {
			return k.Path
		}
	}
	return ""
}

// A Key describes one setting.
type Key struct {
	Path     string   // targets[].tls.mode
	Type     string   // string, integer, boolean, duration, size, secret, list, map
	Default  string   // as written in the file; empty: none
	Values   []string // allowed values, if they are few
	Required bool
	Env      string // REGATE_… variable; empty inside lists
	Flag     string // --flag of serve and config; empty: none
	Doc      string
}

// Keys lists every setting in the order of the file.
func Keys() []Key {
	var out []Key
	walkKeys("", reflect.TypeFor[Config](), false, &out)
	return out
}

func walkKeys(prefix string, t reflect.Type, inList bool, out *[]Key) {
	for _, f := range fieldsOf(t).list {
		ft := t.Field(f.index).Type
		path := joinKey(prefix, f.name)
		switch {
		case ft.Kind() == reflect.Struct && ft != typeSecret:
			walkKeys(path, ft, inList, out)
			continue
		case ft.Kind() == reflect.Slice && ft.Elem().Kind() == reflect.Struct:
			walkKeys(path+"[]", ft.Elem(), true, out)
			continue
		}
		k := Key{Path: path, Type: typeName(ft), Default: f.tag.Get("default"), Doc: f.tag.Get("doc")}
		k.Required = f.tag.Get("required") == "true"
		if one := f.tag.Get("oneof"); one != "" {
			k.Values = strings.Fields(one)
		}
		if !inList && ft.Kind() != reflect.Map {
			k.Env = envName(path)
		}
		if f.tag.Get("flag") == "true" {
			k.Flag = flagName(path)
		}
		*out = append(*out, k)
	}
}

func typeName(t reflect.Type) string {
	switch t {
	case typeSecret:
		return "secret"
	case typeDuration:
		return "duration"
	case typeSize:
		return "size"
	}
	switch t.Kind() {
	case reflect.Bool:
		return "boolean"
	case reflect.Int:
		return "integer"
	case reflect.Slice:
		return "list"
	case reflect.Map:
		return "map"
	default:
		return "string"
	}
}

// envPrefix starts the name of every variable that sets a setting.
const envPrefix = "REGATE_"

// envName is the variable of a setting: admin.tls.client_ca is
// REGATE_ADMIN_TLS_CLIENT_CA.
func envName(path string) string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(path, ".", "_"))
}

// flagName is the flag of a setting: state.dir is --state-dir.
func flagName(path string) string {
	return strings.NewReplacer(".", "-", "_", "-").Replace(path)
}

// setDefaults fills a struct from its default tags.
func setDefaults(v reflect.Value) {
	d := &decoder{origins: map[string]origin{}, skip: true}
	for _, f := range fieldsOf(v.Type()).list {
		fv := v.Field(f.index)
		if fv.Kind() == reflect.Struct && fv.Type() != typeSecret {
			setDefaults(fv)
			continue
		}
		if s, ok := f.tag.Lookup("default"); ok {
			d.scalar(f.name, s, fv, f.tag)
		}
	}
	if len(d.problems) > 0 {
		panic("config: bad default: " + d.problems[0].String()) // a mistake in the schema; every Load would hit it
	}
}
