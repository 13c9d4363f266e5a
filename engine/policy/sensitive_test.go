package policy

import (
	"slices"
	"strings"
	"testing"
)

func TestSensitiveFields(t *testing.T) {
	with := func(data string) *Engine {
		return startEngine(t, Config{Bundles: []Bundle{{Name: "t", URL: folder(t, map[string]string{
			"p.rego": module("t.p", `allow contains {"id": "t.p/all"} if true`), "data.json": data,
		})}}})
	}
	e := with(`{"regate": {"settings": {"sensitive": {"fields": ["public.users.email", "public.users.card"]}}}}`)
	if got := e.Sensitive(); !slices.Equal(got, []string{"public.users.email", "public.users.card"}) || e.Ready() != nil {
		t.Errorf("%v, %v", got, e.Ready())
	}
	for _, none := range []string{`{}`, `{"regate": {"settings": {}}}`, `{"regate": {"settings": {"sensitive": {}}}}`} {
		if e := with(none); len(e.Sensitive()) > 0 || e.Ready() != nil {
			t.Errorf("%s: %v, %v", none, e.Sensitive(), e.Ready())
		}
	}
	for _, bad := range []string{
		`{"regate": {"settings": {"sensitive": []}}}`,
		`{"regate": {"settings": {"sensitive": {"fields": "public.users.email"}}}}`,
		`{"regate": {"settings": {"sensitive": {"fields": {"public.users.email": true}}}}}`,
		`{"regate": {"settings": {"sensitive": {"fields": [1]}}}}`,
	} {
		e := with(bad)
		if problems := strings.Join(e.Status().Bundles[0].Errors, "\n"); e.Ready() == nil || !strings.Contains(problems, "regate_sensitive_error") {
			t.Errorf("%s is taken: %s", bad, problems)
		}
	}
}
