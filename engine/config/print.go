package config

import (
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// Print writes the effective configuration as YAML that Load accepts, each
// line with where its value came from. Secrets show their reference, or
// [secret].
func (c *Config) Print(w io.Writer) error {
	p := printer{origins: c.origins}
	root := p.node("", reflect.ValueOf(c).Elem())
	enc := yaml.NewEncoder(w)
	enc.SetIndent(2)
	if err := enc.Encode(root); err != nil {
		return fmt.Errorf("print configuration: %w", err)
	}
	if err := enc.Close(); err != nil {
		return fmt.Errorf("print configuration: %w", err)
	}
	return nil
}

type printer struct{ origins map[string]origin }

func (p printer) node(key string, v reflect.Value) *yaml.Node {
	switch v.Type() {
	case typeSecret:
		return p.leaf(key, v.Interface().(Secret).Ref(), yaml.DoubleQuotedStyle)
	case typeDuration:
		return p.leaf(key, trimDuration(v.Interface().(time.Duration)), 0)
	case typeSize:
		return p.leaf(key, v.Interface().(Size).String(), 0)
	}
	switch v.Kind() {
	case reflect.Struct:
		n := &yaml.Node{Kind: yaml.MappingNode}
		for _, f := range fieldsOf(v.Type()).list {
			fv := v.Field(f.index)
			at := joinKey(key, f.name)
			if empty(fv) || f.tag.Get("print") == "given" && !p.given(at) {
				continue // nothing to say, and an empty value may not be valid input
			}
			child := p.node(at, fv)
			if child.Kind == yaml.MappingNode && len(child.Content) == 0 {
				continue
			}
			n.Content = append(n.Content, &yaml.Node{Kind: yaml.ScalarNode, Value: f.name}, child)
		}
		return n
	case reflect.Slice:
		n := &yaml.Node{Kind: yaml.SequenceNode}
		for i := range v.Len() {
			at := fmt.Sprintf("%s[%d]", key, i)
			if _, ok := p.origins[at]; !ok {
				at = key // an item of a list given by a variable or computed
			}
			n.Content = append(n.Content, p.node(at, v.Index(i)))
		}
		return n
	case reflect.Map:
		n := &yaml.Node{Kind: yaml.MappingNode}
		keys := v.MapKeys()
		slices.SortFunc(keys, func(a, b reflect.Value) int { return strings.Compare(a.String(), b.String()) })
		for _, k := range keys {
			name := k.String()
			n.Content = append(n.Content,
				&yaml.Node{Kind: yaml.ScalarNode, Value: name, Style: plainOrQuoted(name)},
				p.node(joinKey(key, name), v.MapIndex(k)))
		}
		return n
	case reflect.String:
		return p.leaf(key, v.String(), plainOrQuoted(v.String()))
	default:
		return p.leaf(key, fmt.Sprint(v.Interface()), 0)
	}
}

func (p printer) leaf(key, s string, style yaml.Style) *yaml.Node {
	return &yaml.Node{Kind: yaml.ScalarNode, Value: s, Style: style, LineComment: "# " + p.origins[key].String()}
}

func (p printer) given(key string) bool {
	if _, ok := p.origins[key]; ok {
		return true
	}
	for k := range p.origins {
		if strings.HasPrefix(k, key+".") {
			return true
		}
	}
	return false
}

// old11 are words that YAML 1.1 takes for booleans. We do not, but people do.
var old11 = []string{"y", "n", "yes", "no", "on", "off"}

func plainOrQuoted(s string) yaml.Style {
	if slices.Contains(old11, strings.ToLower(s)) {
		return yaml.DoubleQuotedStyle
	}
	var n yaml.Node
	if yaml.Unmarshal([]byte(s), &n) == nil && len(n.Content) == 1 && n.Content[0].Kind == yaml.ScalarNode && n.Content[0].Tag == "!!str" && n.Content[0].Value == s {
		return 0
	}
	return yaml.DoubleQuotedStyle
}

func empty(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.Struct:
		if v.Type() == typeSecret {
			return !v.Interface().(Secret).IsSet()
		}
		for _, f := range fieldsOf(v.Type()).list {
			if !empty(v.Field(f.index)) {
				return false
			}
		}
		return true
	case reflect.Slice, reflect.Map, reflect.String:
		return v.Len() == 0
	default:
		return false
	}
}

// trimDuration prints 1m as 1m and not as 1m0s.
func trimDuration(t time.Duration) string {
	s := t.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
