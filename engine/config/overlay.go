package config

import (
	"reflect"
	"slices"
	"strings"

	"github.com/spf13/pflag"
	"github.com/spf13/viper"
)

// notSettings are REGATE_ variables that other parts of regate read.
var notSettings = []string{"REGATE_CONFIG"}

// RegisterFlags adds a flag for each setting that has one.
func RegisterFlags(fs *pflag.FlagSet) {
	for _, k := range Keys() {
		if k.Flag == "" {
			continue
		}
		doc := k.Doc
		if len(k.Values) > 0 {
			doc += " (" + strings.Join(k.Values, ", ") + ")"
		}
		if k.Default != "" {
			doc += " (default " + k.Default + ")"
		}
		// The default stays empty: the schema has it, and a flag must only
		// count when it was given.
		fs.String(k.Flag, "", doc)
	}
}

// overlay puts environment variables and flags over what the file said. viper
// decides which of the two wins.
func (d *decoder) overlay(cfg *Config, o Options) {
	keys := Keys()
	layers := viper.New()
	fromEnv := make(map[string]any)
	known := slices.Clone(notSettings)
	for _, k := range keys {
		if k.Env == "" {
			continue
		}
		known = append(known, k.Env)
		if s, ok := d.env(k.Env); ok && s != "" { // set but empty means not set, as for most programs
			fromEnv[k.Path] = s
		}
		if k.Flag != "" && o.Flags != nil {
			if f := o.Flags.Lookup(k.Flag); f != nil {
				_ = layers.BindPFlag(k.Path, f) // fails only for a nil flag
			}
		}
	}
	for path, s := range fromEnv {
		// SetDefault is viper's layer below flags that keeps one entry a path.
		layers.SetDefault(path, s)
	}
	for _, k := range keys {
		if k.Env == "" || !layers.IsSet(k.Path) {
			continue
		}
		src := k.Env
		if k.Flag != "" && o.Flags != nil && o.Flags.Changed(k.Flag) {
			src = "--" + k.Flag
		}
		d.origins[k.Path] = origin{source: src}
		v, tag := lookup(reflect.ValueOf(cfg).Elem(), k.Path)
		d.override(k.Path, layers.GetString(k.Path), v, tag)
	}
	d.strayEnv(o.Env, known)
}

func (d *decoder) override(key, s string, v reflect.Value, tag reflect.StructTag) {
	if v.Kind() != reflect.Slice {
		d.scalar(key, s, v, tag)
		return
	}
	items := []string{}
	for item := range strings.SplitSeq(s, ",") {
		if item = strings.TrimSpace(item); item != "" {
			items = append(items, d.text(key, item, tag))
		}
	}
	v.Set(reflect.ValueOf(items))
	d.changed[key] = len(items) > 0
}

// lookup finds the field of a path without lists.
func lookup(v reflect.Value, path string) (reflect.Value, reflect.StructTag) {
	var tag reflect.StructTag
	for name := range strings.SplitSeq(path, ".") {
		fields := fieldsOf(v.Type())
		f := fields.list[fields.index[name]]
		v, tag = v.Field(f.index), f.tag
	}
	return v, tag
}

// strayEnv warns of variables that look like settings and are none. It is no
// error: an orchestrator sets variables of its own (REGATE_PORT_5432_TCP for a
// Kubernetes service called regate).
func (d *decoder) strayEnv(env, known []string) {
	for _, kv := range env {
		name, _, _ := strings.Cut(kv, "=")
		if !strings.HasPrefix(name, envPrefix) || slices.Contains(known, name) {
			continue
		}
		near := nearestWithin(name, known, 2)
		if near == "" || d.refersTo(name) {
			continue
		}
		d.report(Problem{
			File: name, ID: IDUnknownKey, Severity: Warning, Msg: "no setting has this name",
			Fix: "did you mean " + near + "?",
		})
	}
}

// refersTo reports whether a secret is read from this variable.
func (d *decoder) refersTo(name string) bool { return d.secretVars[name] }
