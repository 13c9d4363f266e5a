package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"regate": main})
}

// TestScripts runs testdata/script/*.txtar: the command as people use it, in a
// process of its own. Each script has $PORT1 to $PORT4, which were free when it
// began.
//
// Commands beside testscript's own:
//
//	expand file...                     replaces $NAME in files by the script's variables
//	capture NAME                       puts the last standard output into $NAME
//	await url status [token]           waits until url answers with status
//	bearer token method url [body]     calls url; status and body are the standard output
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:           "testdata/script",
		UpdateScripts: *update,
		Setup: func(env *testscript.Env) error {
			// Nothing of the person who runs the tests may count.
			env.Setenv("HOME", env.WorkDir)
			env.Setenv("XDG_CONFIG_HOME", env.WorkDir+"/.config")
			env.Setenv("XDG_CACHE_HOME", env.WorkDir+"/.cache")
			for i := 1; i <= 4; i++ {
				ln, err := net.Listen("tcp", "127.0.0.1:0")
				if err != nil {
					return err
				}
				defer ln.Close()
				env.Setenv(fmt.Sprintf("PORT%d", i), fmt.Sprint(ln.Addr().(*net.TCPAddr).Port))
			}
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"expand": expand, "capture": capture, "await": await, "bearer": bearer,
		},
	})
}

func expand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: expand file...")
	}
	for _, name := range args {
		name = ts.MkAbs(name)
		ts.Check(os.WriteFile(name, []byte(os.Expand(ts.ReadFile(name), ts.Getenv)), 0o600))
	}
}

func capture(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: capture NAME")
	}
	ts.Setenv(args[0], strings.TrimSpace(ts.ReadFile("stdout")))
}

// awaitFor is how long a script waits for a server: long enough for the race
// detector on a busy machine, and no part of any assertion.
const awaitFor = 60 * time.Second

func await(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 || len(args) > 3 {
		ts.Fatalf("usage: await url status [token]")
	}
	var last string
	for end := time.Now().Add(awaitFor); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		status, _, err := call(strings.Join(args[2:], ""), "GET", args[0], "")
		last = fmt.Sprint(status, err)
		if err == nil && fmt.Sprint(status) == args[1] {
			return
		}
	}
	ts.Fatalf("%s does not answer %s: %s", args[0], args[1], last)
}

func bearer(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 3 || len(args) > 4 {
		ts.Fatalf("usage: bearer token method url [body]")
	}
	status, body, err := call(args[0], args[1], args[2], strings.Join(args[3:], ""))
	ts.Check(err)
	fmt.Fprintf(ts.Stdout(), "%d\n%s", status, body)
}

func call(token, method, url, body string) (status int, answer string, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), awaitFor)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	req.Header.Set("Content-Type", "application/json")
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(raw), err
}
