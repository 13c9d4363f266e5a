package analyze_test

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/regate-dev/regate/proxies/postgres/analyze"
)

// TestPsql runs psql's commands that describe a database, and analyses the
// queries that they send: all of them are resolved in full.
func TestPsql(t *testing.T) {
	d, snap := database(t)
	args := []string{"--no-psqlrc", "--echo-hidden", "--dbname", d.URL()}
	for _, c := range strings.Fields(`\d \d+ \dt \dt+ \dv \dm \di \ds \df \da \du \dg \dn+ \l+ \dp \ddp \dx \dT \do \dC \db \dd \det \dF \dFd \dO \dL \dRp \dRs \drds \dP \dX \dy \dD \dE \dew \des`) {
		args = append(args, "--command", c)
	}
	args = append(args, "--command", `\d customers`, "--command", `\d+ v_cust`, "--command", `\sf get_email`, "--command", `\sv v_cust`, "--command", `\df+ get_email`)
	out, err := exec.Command(filepath.Join(d.Bin, "psql"), args...).Output()
	if err != nil {
		t.Fatal(err)
	}
	a := analyze.New(analyze.Options{})
	n := 0
	for _, part := range strings.Split(string(out), "********* QUERY **********\n")[1:] {
		sql, _, _ := strings.Cut(part, "**************************")
		batch, err := a.Analyze(sql, snap, settings)
		if err != nil {
			t.Errorf("%v: %s", err, sql)
			continue
		}
		for _, s := range batch.Statements {
			n++
			if !s.Complete || !s.OutputsKnown || s.Facts.Action.Writes {
				t.Errorf("unknown %v, columns known %v, writes %v: %s", s.Facts.Unknown, s.OutputsKnown, s.Facts.Action.Writes, s.Text)
			}
		}
	}
	t.Logf("%d queries of psql", n)
	if n < 50 {
		t.Error("too few")
	}
}
