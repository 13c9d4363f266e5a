package rows

import (
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"
)

func TestParseRowDescription(t *testing.T) {
	message, err := (&pgproto3.RowDescription{Fields: []pgproto3.FieldDescription{
		{Name: []byte("id"), TableOID: 16385, TableAttributeNumber: 1, DataTypeOID: 23, DataTypeSize: 4, TypeModifier: -1},
		{Name: []byte(""), DataTypeOID: 25, DataTypeSize: -1, TypeModifier: -1, Format: 1},
		{Name: []byte("tableoid"), TableOID: 4000000000, TableAttributeNumber: 65530, DataTypeOID: 26, DataTypeSize: 4, TypeModifier: 7},
	}}).Encode(nil)
	if err != nil {
		t.Fatal(err)
	}
	body := message[5:]
	want := []FieldDescription{
		{Name: "id", TableOID: 16385, TableAttributeNumber: 1, TypeOID: 23, TypeSize: 4, TypeModifier: -1},
		{TypeOID: 25, TypeSize: -1, TypeModifier: -1, Format: 1},
		{Name: "tableoid", TableOID: 4000000000, TableAttributeNumber: -6, TypeOID: 26, TypeSize: 4, TypeModifier: 7},
	}
	got, err := ParseRowDescription(nil, body)
	if err != nil || len(got) != len(want) {
		t.Fatalf("%v, %v", got, err)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("%+v, want %+v", got[i], want[i])
		}
	}
	if n := testing.AllocsPerRun(100, func() { got, err = ParseRowDescription(got, body) }); n != 0 || err != nil {
		t.Errorf("%v allocations, %v", n, err)
	}
	for i := range body {
		if _, err := ParseRowDescription(nil, body[:i]); err == nil {
			t.Errorf("%d bytes of %d were taken", i, len(body))
		}
	}
	if _, err := ParseRowDescription(nil, append(body, 0)); err == nil {
		t.Error("a byte too many was taken")
	}
}

func TestParseCopyResponse(t *testing.T) {
	for body, want := range map[string]CopyResponse{
		"\x00\x00\x02\x00\x00\x00\x00": {Columns: 2},
		"\x01\x00\x01\x00\x01":         {Binary: true, Columns: 1},
		"\x00\x00\x00":                 {},
	} {
		if got, err := ParseCopyResponse([]byte(body)); err != nil || got != want {
			t.Errorf("%q: %+v, %v", body, got, err)
		}
	}
	for _, body := range []string{"", "\x00\x00", "\x02\x00\x00", "\x00\x00\x01", "\x00\x00\x01\x00\x01", "\x00\x00\x01\x00\x00\x00"} {
		if got, err := ParseCopyResponse([]byte(body)); err == nil {
			t.Errorf("%q: %+v", body, got)
		}
	}
}

func FuzzParseRowDescription(f *testing.F) {
	f.Add([]byte{0, 1, 'a', 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 25, 0, 4, 0, 0, 0, 0, 0, 1})
	f.Fuzz(func(t *testing.T, body []byte) {
		list, err := ParseRowDescription(nil, body)
		if err != nil && len(list) > 0 {
			t.Fatal("columns beside an error")
		}
		_, _ = ParseCopyResponse(body)
	})
}
