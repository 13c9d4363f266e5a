package console

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/sirupsen/logrus"

	"github.com/regate-dev/regate/engine/pin"
	"github.com/regate-dev/regate/engine/state"
)

func TestTools(t *testing.T) {
	st, err := state.Open(t.Context(), state.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = st.Close(context.Background()) })
	kv, err := st.KV(t.Context(), pin.Bucket())
	if err != nil {
		t.Fatal(err)
	}
	store, err := pin.Open(t.Context(), kv, nil, logrus.New())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(store.Close)
	a := newAPI(t, func(c *Config) { c.Tools = store })
	says := func(text string) {
		t.Helper()
		d := pin.Definition{Digest: "sha256:" + text, JSON: json.RawMessage(`{"description":"` + text + `","name":"read"}`)}
		if _, err := store.Note(t.Context(), "files", "read", d, false); err != nil {
			t.Fatal(err)
		}
	}
	says("reads")
	viewer, operator := a.token("v", "viewers"), a.token("root")
	const path = "/api/v1/mcp/tools"
	for _, c := range []struct {
		method, path, token, body string
		status                    int
		want                      string
	}{
		{"GET", path, a.token("nobody"), "", http.StatusForbidden, "console/forbidden"},
		{"GET", path + "?server=files&name=read&state=new", viewer, "", http.StatusOK, `"state":"new"`},
		{"GET", path + "?server=mail", viewer, "", http.StatusOK, `"tools":[]`},
		{"POST", path + "/approve", viewer, `{"server":"files","name":"read","digest":"sha256:reads"}`, http.StatusForbidden, "console/forbidden"},
		{"POST", path + "/approve", operator, `{"server":"files","name":"read"}`, http.StatusBadRequest, "digest"},
		{"POST", path + "/approve", operator, `{"server":"files","digest":"x"}`, http.StatusBadRequest, "which tool"},
		{"POST", path + "/approve", operator, `{"server":"files","name":"read","digest":"sha256:else"}`, http.StatusConflict, "console/conflict"},
		{"POST", path + "/approve", operator, `{"server":"files","name":"write","digest":"sha256:else"}`, http.StatusNotFound, "console/not-found"},
		{"POST", path + "/approve", operator, `{"server":"files","name":"read","digest":"sha256:reads"}`, http.StatusOK, `"approved_by":"root"`},
	} {
		got := a.do(c.method, c.path, c.token, c.body)
		if got.Status != c.status || !strings.Contains(got.Raw, c.want) {
			t.Errorf("%s %s %s: %d %s", c.method, c.path, c.body, got.Status, got.Raw)
		}
	}
	says("reads and sends")
	if got := a.do("GET", path+"?state=changed", viewer, ""); !strings.Contains(got.Raw, `+  \"description\": \"reads and sends\"`) {
		t.Errorf("%s", got.Raw)
	}
	if got := a.do("POST", path+"/withdraw", operator, `{"server":"files","name":"read"}`); got.Status != http.StatusOK || !strings.Contains(got.Raw, `"state":"new"`) {
		t.Errorf("%d %s", got.Status, got.Raw)
	}
	if got := a.actions(); !strings.Contains(got, "tool.approve") || !strings.Contains(got, "tool.withdraw") {
		t.Error(got)
	}
	// What is not recorded is not approved.
	a.breakAudit(http.ErrAbortHandler)
	if got := a.do("POST", path+"/approve", operator, `{"server":"files","name":"read","digest":"sha256:reads and sends"}`); got.Status != http.StatusServiceUnavailable {
		t.Errorf("%d %s", got.Status, got.Raw)
	}
	if e, _ := store.Get("files", "read"); e.State() != pin.New {
		t.Errorf("%s", e.State())
	}
}
