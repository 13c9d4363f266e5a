package config

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/txtar"
	"github.com/spf13/pflag"
)

var update = flag.Bool("update", false, "rewrite the golden parts of testdata/*.txtar")

// TestFiles loads each testdata/*.txtar: regate.yaml is the configuration
// (absent: none), env and flags hold one setting a line, every other file is
// put beside it; problems and print are what must come out. A first comment
// line "mode 644" makes the configuration readable by others.
func TestFiles(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no test files: %v", err)
	}
	for _, name := range files {
		name, err := filepath.Abs(name)
		if err != nil {
			t.Fatal(err)
		}
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txtar"), func(t *testing.T) { testFile(t, name) })
	}
}

func testFile(t *testing.T, name string) {
	ar, err := txtar.ParseFile(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(t.TempDir())
	o := Options{}
	goldens := map[string]int{}
	for i, f := range ar.Files {
		switch f.Name {
		case "problems", "print":
			goldens[f.Name] = i
		case "env":
			o.Env = strings.Fields(string(f.Data))
		case "flags":
			o.Flags = pflag.NewFlagSet("test", pflag.ContinueOnError)
			RegisterFlags(o.Flags)
			if err := o.Flags.Parse(strings.Fields(string(f.Data))); err != nil {
				t.Fatal(err)
			}
		default:
			mode := os.FileMode(0o600)
			if f.Name == "regate.yaml" {
				o.File = f.Name
				if bytes.HasPrefix(ar.Comment, []byte("mode 644\n")) {
					mode = 0o644
				}
			}
			if strings.HasPrefix(f.Name, "public/") {
				mode = 0o644
			}
			if err := os.MkdirAll(filepath.Dir(f.Name), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(f.Name, f.Data, mode); err != nil {
				t.Fatal(err)
			}
		}
	}
	cfg, problems := Load(o)
	var got strings.Builder
	for _, p := range problems {
		fmt.Fprintln(&got, p)
	}
	compare(t, ar, goldens, "problems", got.String())
	if _, ok := goldens["print"]; ok {
		var b bytes.Buffer
		if err := cfg.Print(&b); err != nil {
			t.Fatal(err)
		}
		host, _ := os.Hostname()
		dir, _ := os.Getwd()
		compare(t, ar, goldens, "print", strings.NewReplacer(dir, "$DIR", gatewayName(host), "$HOST").Replace(b.String()))
	}
	if *update {
		if err := os.WriteFile(name, txtar.Format(ar), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func compare(t *testing.T, ar *txtar.Archive, goldens map[string]int, name, got string) {
	i, ok := goldens[name]
	if !ok {
		ar.Files = append(ar.Files, txtar.File{Name: name})
		i = len(ar.Files) - 1
	}
	if want := string(ar.Files[i].Data); got != want && !*update {
		t.Errorf("%s:\n--- got\n%s--- want\n%s", name, got, want)
	}
	ar.Files[i].Data = []byte(got)
}

// minimal is the least configuration without problems.
const minimal = `
identity: {issuers: [{name: corp, url: "https://id.example", audiences: [regate]}]}
policy: {bundles: [{name: main, url: "https://bundles.example/main.tar.gz"}]}
postgres: {listeners: [{address: "127.0.0.1:6432"}]}
targets: [{name: shop, address: "db.example:5432", database: shop, user: regate, auth: [trust]}]
`

func write(t testing.TB, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "regate.yaml")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestMinimal(t *testing.T) {
	cfg, problems := Load(Options{File: write(t, minimal)})
	if len(problems) != 0 {
		t.Fatal(problems)
	}
	l := cfg.Postgres.Listeners[0]
	if !l.Plaintext || !l.OAuthBearer.Enabled || l.Limits.HandshakeTimeout != 10*time.Second || cfg.Postgres.MaxMessageBytes != 16<<20 {
		t.Errorf("listener defaults: %+v", l)
	}
	if !slices.Equal(l.Targets, []string{"shop"}) {
		t.Errorf("listener serves %v", l.Targets)
	}
	tg := cfg.Targets[0]
	if tg.TLS.Mode != TLSVerifyFull || tg.TLS.ServerName != "db.example" || tg.Role.Name != "" || !slices.Equal(tg.Match.Databases, []string{"shop"}) {
		t.Errorf("target defaults: %+v", tg)
	}
	if cfg.Record.Mode != "strict" || cfg.Admin.Address != "127.0.0.1:8411" {
		t.Errorf("defaults: %+v %+v", cfg.Record, cfg.Admin)
	}
}

// TestPrecedence: flags win over variables, and variables over the file.
func TestPrecedence(t *testing.T) {
	file := write(t, minimal+"log: {level: warn, format: json}\nrecord: {mode: best_effort}\n")
	fs := pflag.NewFlagSet("test", pflag.ContinueOnError)
	RegisterFlags(fs)
	if err := fs.Parse([]string{"--log-level=debug"}); err != nil {
		t.Fatal(err)
	}
	cfg, problems := Load(Options{File: file, Flags: fs, Env: []string{
		"REGATE_LOG_LEVEL=error", "REGATE_LOG_FORMAT=text", "REGATE_ADMIN_ROLES_VIEWER_GROUPS=a, b", "REGATE_RECORD_MODE=",
	}})
	if len(problems) != 0 {
		t.Fatal(problems)
	}
	if cfg.Log.Level != "debug" || cfg.Log.Format != "text" || cfg.Record.Mode != "best_effort" {
		t.Errorf("got %+v %+v", cfg.Log, cfg.Record)
	}
	if !slices.Equal(cfg.Admin.Roles.Viewer.Groups, []string{"a", "b"}) {
		t.Errorf("list variable: %v", cfg.Admin.Roles.Viewer.Groups)
	}
	for key, want := range map[string]string{"log.level": "--log-level", "log.format": "REGATE_LOG_FORMAT", "record.mode": file + ":7"} {
		if got := cfg.origins[key].String(); got != want {
			t.Errorf("%s came from %s, want %s", key, got, want)
		}
	}
}

// TestPrintRoundTrip: what Print writes, Load reads back as the same Config.
func TestPrintRoundTrip(t *testing.T) {
	t.Setenv("PW", "hunter2")
	env := []string{"PW=hunter2hunter2hunter2hunter2hunter2"}
	text := minimal + `
policy:
  mask_key: env:PW
`
	text = strings.Replace(text, "policy: {bundles", "policy: {mask_key: env:PW, bundles", 1)
	text = text[:strings.LastIndex(text, "\npolicy:")]
	first, problems := Load(Options{File: write(t, text), Env: env})
	if len(problems) != 0 {
		t.Fatal(problems)
	}
	var b bytes.Buffer
	if err := first.Print(&b); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(b.String(), "hunter2") {
		t.Fatalf("the secret is printed:\n%s", b.String())
	}
	second, problems := Load(Options{File: write(t, b.String()), Env: env})
	for _, p := range problems {
		if p.Severity == Error {
			t.Errorf("%v\n%s", p, b.String())
		}
	}
	first.origins, second.origins = nil, nil
	second.file = first.file
	if !reflect.DeepEqual(first, second) {
		t.Errorf("not the same:\n%+v\n%+v", first, second)
	}
}

// TestSecretNeverPrints goes through the ways in which a struct is printed.
func TestSecretNeverPrints(t *testing.T) {
	const value = "hunter2"
	cfg := Config{Targets: []Target{{Password: NewSecret(value)}}}
	js, err := json.Marshal(cfg)
	if err != nil {
		t.Fatal(err)
	}
	s := cfg.Targets[0].Password
	for _, out := range []string{
		fmt.Sprint(cfg), fmt.Sprintf("%+v", cfg), fmt.Sprintf("%#v", cfg), fmt.Sprintf("%v %s %q %x %d", s, s, s, s, s),
		fmt.Sprintf("%+v", &cfg.Targets[0]), string(js), s.Ref(), s.String(),
	} {
		if strings.Contains(out, value) || strings.Contains(out, fmt.Sprintf("%x", value)) {
			t.Errorf("printed: %s", out)
		}
	}
	if s.Reveal() != value {
		t.Error("Reveal does not")
	}
}

// TestKeys: every setting has a description, and no two share a variable or a
// flag.
func TestKeys(t *testing.T) {
	seen := map[string]string{}
	for _, k := range Keys() {
		if k.Doc == "" {
			t.Errorf("%s has no doc", k.Path)
		}
		for _, name := range []string{k.Env, k.Flag} {
			if name == "" {
				continue
			}
			if other, ok := seen[name]; ok {
				t.Errorf("%s and %s share %s", k.Path, other, name)
			}
			seen[name] = k.Path
		}
	}
	if len(seen) < 20 {
		t.Errorf("only %d variables", len(seen))
	}
}

func TestSize(t *testing.T) {
	for in, want := range map[string]Size{"0B": 0, "1B": 1, "16MiB": 16 << 20, "4 GiB": 4 << 30, "1GB": 1e9, "2kB": 2000, "1TiB": 1 << 40} {
		got, err := ParseSize(in)
		if err != nil || got != want {
			t.Errorf("ParseSize(%q) = %d, %v", in, got, err)
		}
		if again, err := ParseSize(got.String()); err != nil || again != got {
			t.Errorf("%q prints as %q, read back as %d, %v", in, got, again, err)
		}
	}
	for _, in := range []string{"", "16", "MiB", "-1B", "1.5GiB", "99999999999TiB", "1XB", "0x10B"} {
		if got, err := ParseSize(in); err == nil {
			t.Errorf("ParseSize(%q) = %d", in, got)
		}
	}
}
