package console

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
)

func TestExplain(t *testing.T) {
	entered, leave := make(chan struct{}), make(chan struct{})
	a := newAPI(t, func(c *Config) {
		c.Explain = func(_ context.Context, id, stage string) (any, error) {
			switch id {
			case "none":
				return nil, fmt.Errorf("%w: %s", ErrNoDecision, id)
			case "later":
				return nil, ErrNotExplained
			case "broken":
				return nil, errors.New("open /secret/place: permission denied")
			case "slow":
				close(entered)
				<-leave
			}
			return map[string]string{"id": id, "stage": stage}, nil
		}
	})
	ops, auditor := a.token("olga", "operators"), a.token("alan", "auditors")
	for _, c := range []struct {
		id, token string
		status    int
		want      string
	}{
		{"01J-2", ops, http.StatusOK, `"id":"01J-2","stage":"response"`},
		{"01J-2", auditor, http.StatusOK, `"stage":"response"`},
		{"01J-2", a.token("vera", "viewers"), http.StatusForbidden, ReasonForbidden},
		{"01J-2", a.token("anybody"), http.StatusForbidden, ReasonForbidden},
		{"01J-2", "", http.StatusUnauthorized, ""},
		{"none", ops, http.StatusNotFound, ErrNoDecision.Error()},
		{"later", ops, http.StatusServiceUnavailable, ReasonUnavailable},
		{"broken", ops, http.StatusServiceUnavailable, ReasonUnavailable},
	} {
		got := a.do("GET", "/api/v1/decisions/"+c.id+"/explain?stage=response", c.token, "")
		if got.Status != c.status || !strings.Contains(got.Raw, c.want) || strings.Contains(got.Raw, "/secret/place") {
			t.Errorf("%s: %d %s, want %d %s", c.id, got.Status, got.Raw, c.status, c.want)
		}
	}
	// One at a time.
	done := make(chan answer)
	go func() { done <- a.do("GET", "/api/v1/decisions/slow/explain", ops, "") }()
	<-entered
	if got := a.do("GET", "/api/v1/decisions/01J-2/explain", ops, ""); got.Status != http.StatusServiceUnavailable || got.Reason != ReasonBusy {
		t.Errorf("beside another: %d %s", got.Status, got.Raw)
	}
	close(leave)
	if got := <-done; got.Status != http.StatusOK {
		t.Errorf("the first: %d %s", got.Status, got.Raw)
	}

	without := newAPI(t, nil)
	if got := without.do("GET", "/api/v1/decisions/01J-2/explain", without.token("olga", "operators"), ""); got.Status != http.StatusNotFound {
		t.Errorf("without recordings: %d %s", got.Status, got.Raw)
	}
}
