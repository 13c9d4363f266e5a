package postgres_test

import (
	"bytes"
	"crypto/md5"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"
)

// A hunt looks for secrets in what somebody was sent, in every form that it
// knows: as they are, in pieces, backwards, encoded, as codes of letters, one
// letter a row, shifted, hashed.
type hunt struct {
	whole  map[string]string // in bytes as they came, lower case → what it is
	pieces map[string]string // in values from which all but letters and digits is taken
}

// How many letters of a secret are a piece of it: fewer come about by chance.
const piece, shiftedPiece = 6, 9

func newHunt(secrets []string) *hunt {
	h := &hunt{whole: map[string]string{}, pieces: map[string]string{}}
	for _, secret := range secrets {
		for _, form := range []string{secret, strings.ToUpper(secret), strings.ToLower(secret)} {
			for how, text := range map[string]string{"": form, "reversed": reversed(form)} {
				h.whole[strings.ToLower(text)] = how
				h.whole[hex.EncodeToString([]byte(text))] = how + " hex"
				for skip := range 3 {
					// Wherever it stands in what was encoded.
					encoded := base64.StdEncoding.EncodeToString([]byte(strings.Repeat(" ", skip) + text))
					encoded = strings.TrimRight(encoded, "=")
					h.whole[strings.ToLower(encoded[4*((skip+2)/3)+min(skip, 1):len(encoded)-1])] = how + " base64"
				}
				var octal, escaped, wide strings.Builder
				for _, c := range []byte(text) {
					fmt.Fprintf(&octal, "\\%03o", c)
					fmt.Fprintf(&escaped, "\\u%04x", c)
					wide.Write([]byte{c, 0})
				}
				h.whole[octal.String()] = how + " octal"
				h.whole[escaped.String()] = how + " escaped"
				h.whole[strings.ToLower(wide.String())] = how + " UTF-16"
				m, s := md5.Sum([]byte(text)), sha256.Sum256([]byte(text))
				h.whole[hex.EncodeToString(m[:])] = how + " MD5"
				h.whole[hex.EncodeToString(s[:])] = how + " SHA-256"
				h.whole[strings.ToLower(string(s[:]))] = how + " SHA-256, binary"
			}
		}
		bare := letters(secret)
		for how, text := range map[string]string{"a piece of it": bare, "a piece of it, reversed": reversed(bare)} {
			for i := 0; i+piece <= len(text); i++ {
				h.pieces[text[i:i+piece]] = how
			}
			for i := 0; i+shiftedPiece <= len(text); i++ {
				for by := 1; by < 26; by++ {
					if shifted := shift(text[i:i+shiftedPiece], by); shifted != text[i:i+shiftedPiece] {
						h.pieces[shifted] = how + fmt.Sprintf(", shifted by %d", by)
					}
				}
			}
		}
	}
	return h
}

func reversed(s string) string {
	b := []byte(s)
	for i := range len(b) / 2 {
		b[i], b[len(b)-1-i] = b[len(b)-1-i], b[i]
	}
	return string(b)
}

// letters is s in lower case without anything but letters and digits.
func letters(s string) string {
	out := make([]byte, 0, len(s))
	for i := range len(s) {
		switch c := s[i]; {
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9':
			out = append(out, c)
		case c >= 'A' && c <= 'Z':
			out = append(out, c|0x20)
		}
	}
	return string(out)
}

func shift(s string, by int) string {
	out := []byte(s)
	for i, c := range out {
		if c >= 'a' && c <= 'z' {
			out[i] = 'a' + (c-'a'+byte(by))%26
		}
	}
	return string(out)
}

// in returns what is found in a server's messages, "" for nothing.
func (h *hunt) in(stream []byte) string {
	if found := h.raw(stream); found != "" {
		return found
	}
	var joined, decimal, sixteen strings.Builder
	for _, value := range values(stream) {
		joined.Write(value)
		decimal.WriteString(decoded(value, 10))
		sixteen.WriteString(decoded(value, 16))
	}
	for _, text := range []string{letters(joined.String()), letters(decimal.String()), letters(sixteen.String())} {
		for i := 0; i+piece <= len(text); i++ {
			how, found := h.pieces[text[i:i+piece]]
			if !found && i+shiftedPiece <= len(text) {
				how, found = h.pieces[text[i:i+shiftedPiece]]
			}
			if found {
				return fmt.Sprintf("%s: %q", how, text[max(0, i-20):min(len(text), i+40)])
			}
		}
	}
	return ""
}

// raw returns what is found in bytes of any kind.
func (h *hunt) raw(stream []byte) string {
	lower := bytes.ToLower(stream)
	for text, how := range h.whole {
		if i := bytes.Index(lower, []byte(text)); i >= 0 {
			return fmt.Sprintf("%s %q", how, stream[max(0, i-20):min(len(stream), i+len(text)+20)])
		}
	}
	return ""
}

// decoded reads numbers in a value as codes of letters.
func decoded(value []byte, base int) string {
	var out []byte
	fields := strings.FieldsFunc(string(value), func(r rune) bool { return (r < '0' || r > '9') && (r < 'a' || r > 'f') })
	for _, f := range fields {
		if n, err := strconv.ParseUint(f, base, 8); err == nil && n >= 32 {
			out = append(out, byte(n))
		}
	}
	if len(value) == 4 && value[0]|value[1]|value[2] == 0 { // binary
		out = append(out, value[3])
	}
	return string(out)
}

// messages reads a server's messages, as far as they are whole.
func messages(stream []byte) []pgproto3.BackendMessage {
	in := pgproto3.NewFrontend(bytes.NewReader(stream), nil)
	var out []pgproto3.BackendMessage
	for {
		m, err := in.Receive()
		if err != nil {
			return out
		}
		switch m := m.(type) {
		case *pgproto3.DataRow:
			row := &pgproto3.DataRow{}
			for _, v := range m.Values {
				row.Values = append(row.Values, bytes.Clone(v))
			}
			out = append(out, row)
		case *pgproto3.CopyData:
			out = append(out, &pgproto3.CopyData{Data: bytes.Clone(m.Data)})
		case *pgproto3.CommandComplete:
			out = append(out, &pgproto3.CommandComplete{CommandTag: bytes.Clone(m.CommandTag)})
		case *pgproto3.ErrorResponse:
			e := *m
			out = append(out, &e)
		case *pgproto3.NoticeResponse:
			n := *m
			out = append(out, &n)
		case *pgproto3.ParameterStatus:
			p := *m
			out = append(out, &p)
		case *pgproto3.NotificationResponse:
			n := *m
			out = append(out, &n)
		case *pgproto3.FunctionCallResponse:
			out = append(out, &pgproto3.FunctionCallResponse{Result: bytes.Clone(m.Result)})
		}
	}
}

// values are all values that a server's messages carry.
func values(stream []byte) [][]byte {
	var out [][]byte
	text := func(fields ...string) {
		for _, f := range fields {
			out = append(out, []byte(f))
		}
	}
	for _, m := range messages(stream) {
		switch m := m.(type) {
		case *pgproto3.DataRow:
			out = append(out, m.Values...)
		case *pgproto3.CopyData:
			out = append(out, m.Data)
		case *pgproto3.FunctionCallResponse:
			out = append(out, m.Result)
		case *pgproto3.ErrorResponse:
			text(m.Message, m.Detail, m.Hint, m.Where, m.InternalQuery, m.SchemaName, m.TableName, m.ColumnName, m.DataTypeName, m.ConstraintName, m.Code)
		case *pgproto3.NoticeResponse:
			text(m.Message, m.Detail, m.Hint, m.Where, m.InternalQuery, m.SchemaName, m.TableName, m.ColumnName, m.DataTypeName, m.ConstraintName, m.Code)
		case *pgproto3.ParameterStatus:
			text(m.Value)
		case *pgproto3.NotificationResponse:
			text(m.Payload)
		}
	}
	return out
}

// The hunt finds what it is to find: each form, as a server would send it.
func TestHuntFinds(t *testing.T) {
	const secret = "qzvkxwj@vqjzx.kz"
	h := newHunt([]string{secret, "917-46-8253"})
	row := func(v ...string) []byte {
		m := &pgproto3.DataRow{}
		for _, s := range v {
			m.Values = append(m.Values, []byte(s))
		}
		out, err := m.Encode(nil)
		must(t, err)
		return out
	}
	var letter, code, sixteen, binary []byte
	for _, c := range []byte(secret) {
		letter = append(letter, row(string(c))...)
		code = append(code, row(strconv.Itoa(int(c)))...)
		sixteen = append(sixteen, row(strconv.FormatInt(int64(c), 16))...)
		binary = append(binary, row(string([]byte{0, 0, 0, c}))...)
	}
	sum := md5.Sum([]byte(secret))
	notice, err := (&pgproto3.NoticeResponse{Message: "x " + secret}).Encode(nil)
	must(t, err)
	for i, stream := range [][]byte{
		row(secret), row("917-46-8253"), row("917468253"), row(strings.ToUpper(secret)), row(reversed(secret)), row("x" + secret[3:11]),
		row(hex.EncodeToString([]byte("a" + secret))), row(base64.StdEncoding.EncodeToString([]byte("a" + secret + "b"))),
		row(base64.StdEncoding.EncodeToString([]byte(secret))), row(base64.StdEncoding.EncodeToString([]byte("12" + secret))),
		row(shift(secret, 1)), row("{q,z,v,k,x,w,j}"), row(hex.EncodeToString(sum[:])), row("q", "z", "v", "k", "x", "w", "j"),
		letter, code, sixteen, binary, notice,
	} {
		if h.in(stream) == "" {
			t.Errorf("stream %d: nothing found in %q", i, stream)
		}
	}
	for _, harmless := range []string{"[REDACTED]", "Ann", "message withheld: masks are in force", "public.customers", "plain", "2026-11-30 20:42:52", "1234567890123"} {
		if found := h.in(row(harmless)); found != "" {
			t.Errorf("%s: found %s", harmless, found)
		}
	}
}
