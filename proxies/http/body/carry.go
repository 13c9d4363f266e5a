package body

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/regate-dev/regate/engine/mask"
)

// maxCarried bounds the texts that are told in pieces at once.
const maxCarried = 64

// carry masks events that tell a text in pieces, as models do: a secret may be
// split over many of them. Of each such text, what may be the beginning of a
// secret is held back until more of it comes. A text is known by where it is in
// its event; the members "delta", "text", "content", "arguments" and the like
// below "delta" hold the pieces.
type carry struct {
	rules *Rules
	texts map[string]*told
}

// told is one text, and how to say the rest of it.
type told struct {
	stream *mask.Stream
	raw    []byte // the last event, whose piece is replaced
	path   []string
	object any
	order  int
}

func newCarry(r *Rules) *carry { return &carry{rules: r, texts: map[string]*told{}} }

func (c *carry) event(e Event, write func([]byte) error) error {
	if c.rules.rest.Detect != nil && isJSON(e.Data) {
		var v any
		d := json.NewDecoder(bytes.NewReader(e.Data))
		d.UseNumber()
		if d.Decode(&v) == nil {
			if paths := pieces(v); len(paths) > 0 {
				return c.piece(e, v, paths, write)
			}
			if finishes(v) {
				if err := c.flush(write); err != nil {
					return err
				}
			}
		}
	} else if len(e.Data) > 0 {
		if err := c.flush(write); err != nil { // [DONE]
			return err
		}
	}
	data, changed, err := c.rules.data(e.Data)
	if err != nil {
		return err
	}
	if !changed {
		return write(e.Raw)
	}
	return write(Rewrite(e, data))
}

// piece takes the pieces out of an event, puts back what can be shown of each,
// and masks the rest of the event as any other.
func (c *carry) piece(e Event, v any, paths [][]string, write func([]byte) error) error {
	for _, path := range paths {
		key := keyOf(v, path)
		t := c.texts[key]
		if t == nil {
			if len(c.texts) >= maxCarried {
				if err := c.flush(write); err != nil {
					return err
				}
			}
			t = &told{stream: c.rules.keyring.NewStream(c.rules.rest.Detect, c.rules.rest.DetectSpec), order: len(c.texts)}
			c.texts[key] = t
		}
		text, _ := get(v, path).(string)
		out := t.stream.Write(nil, []byte(text))
		set(v, path, string(out))
		t.path, t.object, t.raw = path, v, slices.Clone(e.Raw)
	}
	return c.say(e, v, write)
}

// say writes an event with another object.
func (c *carry) say(e Event, v any, write func([]byte) error) error {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return err
	}
	data, _, err := c.rules.data(bytes.TrimSpace(b.Bytes()))
	if err != nil {
		return err
	}
	return write(Rewrite(e, data))
}

// flush says what is held: as an event like the last one of its text.
func (c *carry) flush(write func([]byte) error) error {
	all := slices.SortedFunc(maps.Values(c.texts), func(a, b *told) int { return a.order - b.order })
	clear(c.texts)
	for _, t := range all {
		rest := t.stream.Flush(nil)
		if len(rest) == 0 {
			continue
		}
		for _, path := range pieces(t.object) {
			set(t.object, path, "")
		}
		set(t.object, t.path, string(rest))
		if err := c.say(Event{Raw: t.raw}, t.object, write); err != nil {
			return err
		}
	}
	return nil
}

// pieceNames are members that hold a piece of a text.
var pieceNames = map[string]bool{"content": true, "text": true, "arguments": true, "partial_json": true, "reasoning_content": true, "reasoning": true, "thinking": true, "refusal": true, "transcript": true}

// pieces returns the paths of the pieces in an event, in a fixed order.
func pieces(v any) [][]string {
	var out [][]string
	object, _ := v.(map[string]any)
	// The kind of event whose delta is a string.
	if kind, _ := object["type"].(string); strings.HasSuffix(kind, ".delta") {
		if _, ok := object["delta"].(string); ok {
			return [][]string{{"delta"}}
		}
	}
	var walk func(v any, path []string, in bool)
	walk = func(v any, path []string, in bool) {
		if len(path) > 12 {
			return
		}
		switch v := v.(type) {
		case map[string]any:
			for _, name := range slices.Sorted(maps.Keys(v)) {
				at := append(slices.Clone(path), name)
				if _, text := v[name].(string); text {
					if in && pieceNames[name] {
						out = append(out, at)
					}
					continue
				}
				walk(v[name], at, in || name == "delta" || name == "candidates")
			}
			if text, ok := v["text"].(string); ok && !in && len(path) == 2 && path[0] == "choices" && text != "" {
				out = append(out, append(slices.Clone(path), "text"))
			}
		case []any:
			for i, e := range v {
				walk(e, append(slices.Clone(path), strconv.Itoa(i)), in)
			}
		}
	}
	walk(v, nil, false)
	return out
}

// keyOf names the text that a piece is of: its path, with the "index" that the
// objects on the way give instead of their place.
func keyOf(v any, path []string) string {
	var key []string
	at := v
	note := func() {
		if o, ok := at.(map[string]any); ok {
			for _, name := range []string{"index", "content_index", "output_index", "item_id"} {
				if i, ok := o[name]; ok {
					if text, err := json.Marshal(i); err == nil {
						key = append(key, name+"="+string(text))
					}
				}
			}
		}
	}
	for _, step := range path {
		note()
		switch t := at.(type) {
		case map[string]any:
			at = t[step]
			key = append(key, step)
		case []any:
			i, _ := strconv.Atoi(step)
			at = t[i]
			if o, ok := at.(map[string]any); !ok || o["index"] == nil {
				key = append(key, step)
			}
		}
	}
	return strings.Join(key, "\x00")
}

// finishes reports whether an event says that a text has ended.
func finishes(v any) bool {
	object, _ := v.(map[string]any)
	kind, _ := object["type"].(string)
	switch {
	case strings.HasSuffix(kind, "_stop"), strings.HasSuffix(kind, ".done"), strings.HasSuffix(kind, ".completed"), kind == "message_delta":
		return true
	}
	choices, _ := object["choices"].([]any)
	for _, c := range choices {
		if o, _ := c.(map[string]any); o["finish_reason"] != nil {
			return true
		}
	}
	return false
}

func get(v any, path []string) any {
	for _, step := range path {
		switch t := v.(type) {
		case map[string]any:
			v = t[step]
		case []any:
			i, err := strconv.Atoi(step)
			if err != nil || i >= len(t) {
				return nil
			}
			v = t[i]
		default:
			return nil
		}
	}
	return v
}

func set(v any, path []string, text string) {
	switch t := get(v, path[:len(path)-1]).(type) {
	case map[string]any:
		t[path[len(path)-1]] = text
	case []any:
		if i, err := strconv.Atoi(path[len(path)-1]); err == nil && i < len(t) {
			t[i] = text
		}
	}
}
