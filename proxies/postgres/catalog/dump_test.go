package catalog_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/regate-dev/regate/proxies/postgres/catalog"
	"github.com/regate-dev/regate/proxies/postgres/pgtest"
)

// TestDump: what is read from a dump is what was read from the database, and
// dumps are the same to the byte. Package analyze holds that statements mean
// the same with either.
func TestDump(t *testing.T) {
	d := pgtest.Shared(t)
	schema, err := os.ReadFile(filepath.Join("testdata", "schema.sql"))
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Run(t.Context(), string(schema)); err != nil {
		t.Fatal(err)
	}
	live := load(t, d)
	by := catalog.Session{User: "agent", SearchPath: []string{"pg_catalog", "app"}}
	var first, second bytes.Buffer
	if err := live.WriteDump(&first, by); err != nil {
		t.Fatal(err)
	}
	read, session, err := catalog.ReadDump(bytes.NewReader(first.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := describe(read), describe(live); got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
	if session.User != by.User || !slices.Equal(session.SearchPath, by.SearchPath) {
		t.Errorf("session %+v", session)
	}
	if read.ServerVersion != live.ServerVersion || read.Version != live.Version || read.Database != live.Database || read.ID == live.ID {
		t.Errorf("%s %d %s %s", read.ServerVersion, read.Version, read.Database, read.ID)
	}
	if err := read.WriteDump(&second, session); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(first.Bytes(), second.Bytes()) {
		t.Error("the dump of a dump differs")
	}
	t.Logf("%d bytes", first.Len())
}

func TestBadDumps(t *testing.T) {
	valid := `{"format":"regate.catalog/v1","version":150000,"server_version":"15","database":"d","user":"u","search_path":[],"schemas":{},%s}`
	for _, c := range []struct{ name, dump, want string }{
		{"empty", "", "EOF"},
		{"spaces", " \n\t", "EOF"},
		{"pg_dump", "--\n-- PostgreSQL database dump\n--\nCREATE TABLE t (id int);", "Restore it into an empty database"},
		{"another format", `{"format":"x"}`, `its format is "x"`},
		{"no format", `{}`, `its format is ""`},
		{"an unknown key", `{"format":"regate.catalog/v1","extra":1}`, `unknown field "extra"`},
		{"a wrong type", `{"format":1}`, "cannot unmarshal"},
		{"cut off", `{"format":"regate.catalog/v1","relations":[`, "EOF"},
		{"something behind it", fmt.Sprintf(valid, `"relations":[]`) + "{}", "something follows"},
		{"a function that is not there", fmt.Sprintf(valid, `"casts":[{"source":1,"target":2,"function":3}]`), "function 3 is referred to"},
		{"a relation that is not there", fmt.Sprintf(valid, `"relations":[{"oid":1,"schema":"s","name":"r","kind":"table","parents":[9]}]`), "relation 9 is referred to"},
	} {
		t.Run(c.name, func(t *testing.T) {
			snap, _, err := catalog.ReadDump(strings.NewReader(c.dump))
			if err == nil || snap != nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v", err)
			}
		})
	}
	if _, _, err := catalog.ReadDump(strings.NewReader(fmt.Sprintf(valid, `"relations":[]`) + "\n\n")); err != nil {
		t.Error(err)
	}
}
