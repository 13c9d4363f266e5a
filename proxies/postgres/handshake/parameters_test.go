package handshake

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestOptions(t *testing.T) {
	for _, test := range []struct {
		in   string
		want []setting // nil: refused
	}{
		{"", []setting{}},
		{"   ", []setting{}},
		{"-c DateStyle=ISO", []setting{{"DateStyle", "ISO"}}},
		{"-cDateStyle=ISO", []setting{{"DateStyle", "ISO"}}},
		{"--DateStyle=ISO", []setting{{"DateStyle", "ISO"}}},
		{"--statement-timeout=1s  -c   lock-timeout=2s", []setting{{"statement_timeout", "1s"}, {"lock_timeout", "2s"}}},
		{`-c search_path=a,\ b\\c`, []setting{{"search_path", `a, b\c`}}},
		{`-c\ x=y`, []setting{{" x", "y"}}},
		{`\-c a=b`, []setting{{"a", "b"}}}, // the server unescapes before it looks for options
		{`-c a=b\`, []setting{{"a", "b"}}},
		{"-c a=b=c", []setting{{"a", "b=c"}}},
		{"-c a=", []setting{{"a", ""}}},
		{"-c", nil},
		{"-c a", nil},
		{"-c =b", nil},
		{"--", nil},
		{"-", nil},
		{"a=b", nil},
		{"-- a=b", nil},
		{"-S 100", nil},
		{"-e", nil},
		{"-f s -c a=b", nil},
		{"-c a=b stray", nil},
		{"-c user=admin", nil},
		{"--replication=database", nil},
		{"-c options=-crole=x", nil},
	} {
		got, err := splitOptions(test.in)
		if test.want == nil {
			var e *Error
			if !errors.As(err, &e) || e.Reason != ReasonParameter {
				t.Errorf("%q: got %v, %v", test.in, got, err)
			}
			continue
		}
		if err != nil || (len(got) != 0 || len(test.want) != 0) && !reflect.DeepEqual(got, test.want) {
			t.Errorf("%q: got %v, %v", test.in, got, err)
		}
	}
}

// Each setting as a startup parameter of its own and in options, in both
// spellings.
func TestParameters(t *testing.T) {
	allowed := map[string]string{ // by what the session starts with
		"application_name": "x", "DateStyle": "ISO, MDY", "TimeZone": "Europe/Berlin", "IntervalStyle": "iso_8601",
		"extra_float_digits": "3", "search_path": `"$user", public`, "statement_timeout": "0", "lock_timeout": "1min",
		"idle_in_transaction_session_timeout": "10s",
	}
	dropped := map[string][]string{
		"client_encoding":             {"UTF8", "utf-8", "'utf-8'", "UNICODE", "auto", "SQL_ASCII", ""},
		"standard_conforming_strings": {"on", "ON", "true", "1", "yes"},
	}
	forbidden := map[string][]string{
		"role": {"admin", "none", ""}, "session_authorization": {"postgres"}, "session-authorization": {"x"},
		"client_encoding":             {"GBK", "SJIS", "BIG5", "UHC", "GB18030", "LATIN1", "WIN1252", "JOHAB", "SHIFT_JIS_2004", "MULE_INTERNAL", "utf16"},
		"standard_conforming_strings": {"off", "0", "false", "no", "", "o", "of"},
		"backslash_quote":             {"on"}, "escape_string_warning": {"off"}, "log_statement": {"none"}, "session_replication_role": {"replica"},
		"row_security": {"off"}, "default_transaction_read_only": {"off"}, "bytea_output": {"escape"}, "array_nulls": {"off"},
		"session_preload_libraries": {"x"}, "local_preload_libraries": {"x"}, "jit": {"off"}, "is_superuser": {"on"},
		"regate.subject": {"x"}, "regate.": {"x"}, "my.thing": {"x"}, "User": {"admin"}, "DATABASE": {"x"}, "x": {"y"},
		"debug_print_parse": {"on"}, "client_min_messages": {"debug5"}, "transform_null_equals": {"on"}, "plpgsql.x": {"y"},
	}
	take := func(pairs ...string) (*Client, error) {
		c := &Client{front: &Front{Plaintext: true, OAuthBearer: true}}
		body := startupPacket(version30, append([]string{"user", "agent"}, pairs...)...)[4:]
		return c, c.startup(body)
	}
	escape := strings.NewReplacer(`\`, `\\`, " ", `\ `)
	shapes := func(name, value string) [][]string {
		return [][]string{
			{name, value}, {strings.ToUpper(name), value},
			{"options", "-c " + escape.Replace(name+"="+value)},
			{"options", "--" + escape.Replace(strings.ReplaceAll(name, "_", "-")+"="+value)},
		}
	}
	for name, value := range allowed {
		for _, shape := range shapes(name, value) {
			c, err := take(shape...)
			if err != nil || !reflect.DeepEqual(c.Params, map[string]string{name: value}) {
				t.Errorf("%q: %v, %v", shape, c.Params, err)
			}
		}
	}
	for name, values := range dropped {
		for _, value := range values {
			for _, shape := range shapes(name, value) {
				c, err := take(shape...)
				if err != nil || len(c.Params) != 0 || len(c.Dropped) != 1 {
					t.Errorf("%q: %v, %v, %v", shape, c.Params, c.Dropped, err)
				}
			}
		}
	}
	for name, values := range forbidden {
		for _, value := range values {
			for i, shape := range shapes(name, value) {
				if i == 1 && (name == "User" || name == "DATABASE") {
					continue
				}
				c, err := take(shape...)
				var e *Error
				if !errors.As(err, &e) || e.Reason != ReasonParameter || e.Code != codeNotAllowed {
					t.Errorf("%q: %+v, %v", shape, c, err)
				}
			}
		}
	}
	// A parameter of its own wins over options, the last one in options over
	// those before it.
	c, err := take("TimeZone", "UTC", "options", "-c timezone=CET -c lock_timeout=1 --lock-timeout=2")
	if err != nil || c.Params["TimeZone"] != "UTC" || c.Params["lock_timeout"] != "2" {
		t.Errorf("%v, %v", c.Params, err)
	}
	for _, bad := range []string{"a\nb", "a\tb", "\x7f", "\x1b[31m", "\xff", "a\u202eb", "\u2028", "\u0085", "\u200b"} {
		for _, pair := range [][]string{{"application_name", bad}, {"database", bad}, {"options", "-c regate.purpose=" + bad}, {bad, "x"}} {
			if c, err := take(pair...); err == nil {
				t.Errorf("%q: %+v", pair, c)
			} else if text := err.Error(); !utf8.ValidString(text) || strings.ContainsAny(text, "\n\t\x1b\x7f") {
				t.Errorf("%q: error %q", pair, text)
			}
		}
	}
	for _, bad := range []string{"", "x", "PASSWORD"} {
		if c, err := take("regate.auth", bad); err == nil {
			t.Errorf("regate.auth %q: %+v", bad, c)
		}
	}
	// A message quotes no more than it needs.
	long := strings.Repeat("é", 1000)
	if _, err := take(long, "x"); err == nil || len(err.Error()) > 200 || !utf8.ValidString(err.Error()) {
		t.Errorf("got %v", err)
	}
	if _, err := take("replication", "false"); err == nil {
		t.Error("replication passed")
	}
}

// What passes is on the list and printable, whatever came.
func FuzzStartup(f *testing.F) {
	f.Add(startupPacket(version30, "user", "agent", "database", "x", "options", "-c role=x")[4:])
	f.Add(startupPacket(version32, "user", "agent", "_pq_.x", "1", "client_encoding", "UTF8")[4:])
	f.Add(startupPacket(version32, "user", "agent", "regate.purpose", "x", "DateStyle", "ISO")[4:])
	f.Add([]byte{0, 3, 0, 0})
	f.Fuzz(func(t *testing.T, body []byte) {
		if len(body) < 4 {
			return
		}
		c := &Client{front: &Front{Plaintext: true, OAuthBearer: true}}
		if err := c.startup(body); err != nil {
			var e *Error
			if !errors.As(err, &e) || !utf8.ValidString(e.Message) || unprintable(e.Message) != "" {
				t.Fatalf("%#v", err)
			}
			return
		}
		if c.User == "" || c.Database == "" || (c.Version != version30 && c.Version != version32) {
			t.Fatalf("%+v", c)
		}
		texts := []string{c.User, c.Database, c.Application}
		for name, value := range c.Params {
			if passed[strings.ToLower(name)] != name {
				t.Fatalf("%q passed", name)
			}
			texts = append(texts, value)
		}
		for name, value := range c.Asserted {
			if !strings.Contains(" purpose ticket task step ", " "+name+" ") {
				t.Fatalf("%q asserted", name)
			}
			texts = append(texts, value)
		}
		for _, text := range append(texts, c.Dropped...) {
			if unprintable(text) != "" {
				t.Fatalf("%q passed", text)
			}
		}
	})
}

// Escaping the arguments and splitting them again gives the same arguments.
func FuzzOptions(f *testing.F) {
	f.Add("-c a=b", "x y", `\`)
	f.Add("--a-b=c", "", "\t")
	f.Fuzz(func(t *testing.T, a, b, c string) {
		if _, err := splitOptions(a + " " + b); err != nil {
			var e *Error
			if !errors.As(err, &e) {
				t.Fatalf("%#v", err)
			}
		}
		var want []string
		var line strings.Builder
		for _, arg := range []string{a, b, c} {
			if arg == "" {
				continue // cannot be written
			}
			want = append(want, arg)
			for i := range len(arg) {
				line.WriteByte('\\')
				line.WriteByte(arg[i])
			}
			line.WriteByte(' ')
		}
		if got := splitArguments(line.String()); !reflect.DeepEqual(got, want) {
			t.Fatalf("got %q, want %q", got, want)
		}
	})
}

func FuzzBearer(f *testing.F) {
	f.Add([]byte("n,,\x01auth=Bearer abc\x01\x01"))
	f.Add([]byte("y,,\x01host=x\x01auth=bEaReR  a.b-c_d~e+f/g==\x01\x01"))
	f.Fuzz(func(t *testing.T, message []byte) {
		token, err := parseBearer(message)
		if err != nil {
			var e *Error
			if !errors.As(err, &e) || token != "" {
				t.Fatalf("%q %#v", token, err)
			}
			return
		}
		if !isToken(token) || strings.ContainsAny(token, " \x00\x01,") || !strings.Contains(string(message), token) {
			t.Fatalf("%q", token)
		}
	})
}
