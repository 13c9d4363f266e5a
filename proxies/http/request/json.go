package request

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/regate-dev/regate/engine/input"
)

// Bounds of a JSON value.
const (
	maxDepth   = 100
	maxUnknown = 20 // numbers named in unknown
)

// jsonReader builds the value of a JSON text, strictly: no name twice in an
// object, nothing after the value, UTF-8 without a byte order mark.
type jsonReader struct {
	d       *jsontext.Decoder
	inexact []input.Unknown
	at      string // what unknown says the value is
}

// ReadJSON returns the value of a JSON text as any. at names it in unknown,
// e.g. "http.body.json". A number that a double cannot hold exactly comes as a
// string, and is named in the list. The error says what is wrong.
func ReadJSON(text []byte, at string) (any, []input.Unknown, error) {
	if len(text) > 0 && text[0] == 0xEF {
		return nil, nil, errors.New("it begins with a byte order mark")
	}
	r := &jsonReader{d: jsontext.NewDecoder(bytes.NewReader(text)), at: at}
	v, err := r.value(0)
	if err != nil {
		return nil, nil, jsonError(err)
	}
	if _, err := r.d.ReadToken(); !errors.Is(err, io.EOF) {
		return nil, nil, errors.New("something comes after the value")
	}
	return v, r.inexact, nil
}

func jsonError(err error) error {
	var syntactic *jsontext.SyntacticError
	switch {
	case errors.Is(err, jsontext.ErrDuplicateName):
		return errors.New("an object has a name twice")
	case errors.As(err, &syntactic):
		// Its own words repeat what is there, which is not ours to show.
		return errors.New("it is no JSON at byte " + strconv.FormatInt(syntactic.ByteOffset, 10))
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return errors.New("it ends too early")
	}
	return err
}

func (r *jsonReader) value(depth int) (any, error) {
	if depth > maxDepth {
		return nil, errors.New("it is nested deeper than " + strconv.Itoa(maxDepth))
	}
	token, err := r.d.ReadToken()
	if err != nil {
		return nil, err
	}
	switch token.Kind() {
	case '{':
		object := map[string]any{}
		for r.d.PeekKind() != '}' {
			name, err := r.d.ReadToken()
			if err != nil {
				return nil, err
			}
			key := name.String()
			v, err := r.value(depth + 1)
			if err != nil {
				return nil, err
			}
			object[key] = v
		}
		_, err := r.d.ReadToken()
		return object, err
	case '[':
		list := []any{}
		for r.d.PeekKind() != ']' {
			v, err := r.value(depth + 1)
			if err != nil {
				return nil, err
			}
			list = append(list, v)
		}
		_, err := r.d.ReadToken()
		return list, err
	case '0':
		return r.number(token.String()), nil
	case '"':
		return token.String(), nil
	case 't':
		return true, nil
	case 'f':
		return false, nil
	}
	return nil, nil
}

func (r *jsonReader) number(text string) any {
	if n, ok := exactNumber(text); ok {
		return n
	}
	if len(r.inexact) < maxUnknown {
		r.inexact = append(r.inexact, input.Unknown{What: r.at + ":" + string(r.d.StackPointer()), Why: "number is not exact in 64 bits"})
	}
	return text
}

// exactNumber returns text as a number that means the same to every reader,
// false where there is none.
func exactNumber(text string) (json.Number, bool) {
	f, err := strconv.ParseFloat(text, 64)
	if err != nil || decimal(text) != decimal(strconv.FormatFloat(f, 'e', -1, 64)) {
		return "", false
	}
	if f != math.Trunc(f) {
		return json.Number(strconv.FormatFloat(f, 'g', -1, 64)), true
	}
	if math.Abs(f) > 1<<53 {
		return "", false
	}
	return json.Number(strconv.FormatInt(int64(f), 10)), true
}

// decimal returns a number's digits and exponent in one form for each value.
func decimal(text string) string {
	sign := ""
	if strings.HasPrefix(text, "-") {
		sign, text = "-", text[1:]
	}
	mantissa, exponent := text, 0
	if i := strings.IndexAny(text, "eE"); i >= 0 {
		n, err := strconv.Atoi(strings.TrimPrefix(text[i+1:], "+"))
		if err != nil {
			return "?" + text
		}
		mantissa, exponent = text[:i], n
	}
	whole, fraction, _ := strings.Cut(mantissa, ".")
	digits := whole + fraction
	exponent -= len(fraction)
	trimmed := strings.TrimRight(digits, "0")
	exponent += len(digits) - len(trimmed)
	trimmed = strings.TrimLeft(trimmed, "0")
	if trimmed == "" {
		return "0"
	}
	return sign + trimmed + "e" + strconv.Itoa(exponent)
}

// topNames returns the names at the top of an object, sorted.
func topNames(v any) []string {
	names := []string{}
	if object, ok := v.(map[string]any); ok {
		for name := range object {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}
