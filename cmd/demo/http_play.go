package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

func (h *httpShow) steps() []step {
	return []step{
		{"The agent reads customers. It has its own token, and no key of the API", h.read},
		{"The agent tries to delete one", h.remove},
		{"The agent changes a customer. Somebody else has to approve", h.change},
		{"The agent goes elsewhere, by the forward proxy", h.elsewhere},
		{"What happened can be seen again, and proved", h.replay},
	}
}

// answer is what came back.
type answer struct {
	status int
	body   string
}

// reason is that of a refusal.
func (a answer) reason() string {
	var p struct{ Reason string }
	_ = json.Unmarshal([]byte(a.body), &p)
	return p.Reason
}

// ask sends a request as the agent does, by the forward proxy where through is
// set, and shows what came back.
func (h *httpShow) ask(ctx context.Context, through bool, task, method, url, body string) (answer, error) {
	line := method + " " + url
	if body != "" {
		line += "  " + body
	}
	if through {
		line += "  (by the proxy)"
	}
	h.out.act("agent", line)
	a, err := h.send(ctx, through, task, method, url, body)
	if err == nil {
		h.out.output(fmt.Sprintf("%d %s", a.status, a.body))
	}
	return a, err
}

func (h *httpShow) send(ctx context.Context, through bool, task, method, url, body string) (answer, error) {
	req, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	client, header := http.DefaultClient, "Authorization"
	if through {
		header = "Proxy-Authorization"
		if client, err = h.client(); err != nil {
			return answer{}, err
		}
	}
	req.Header.Set(header, "Bearer "+h.token)
	req.Header.Set("Regate-Task", task)
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := client.Do(req)
	if err != nil {
		return answer{}, fmt.Errorf("%s %s: %w", method, url, err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	return answer{resp.StatusCode, string(bytes.TrimSpace(raw))}, err
}

// direct asks the API itself, past the gateway.
func (h *httpShow) direct(ctx context.Context, path string, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, h.api+path, nil)
	if err != nil {
		return err
	}
	req.Header.Set("X-Api-Key", h.key)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("ask the API itself: %w", err)
	}
	defer resp.Body.Close()
	return json.NewDecoder(resp.Body).Decode(into)
}

const task = "quarterly-report"

func (h *httpShow) read(ctx context.Context) error {
	var err error
	if h.token, err = h.stage.token(ctx, agent); err != nil {
		return err
	}
	a, err := h.ask(ctx, false, task, "GET", h.reverse+"/customers", "")
	if err != nil {
		return err
	}
	var got []struct{ Name, Email, Card string }
	if err := json.Unmarshal([]byte(a.body), &got); err != nil || len(got) != len(customers) {
		return fmt.Errorf("%d %s: %w", a.status, a.body, err)
	}
	for i, want := range customers {
		if got[i].Name != want.name || got[i].Email != want.maskedEmail || got[i].Card != want.maskedCard {
			return fmt.Errorf("customer %d: %+v", want.id, got[i])
		}
	}
	var real struct{ Email, Card string }
	if err := h.direct(ctx, "/customers/1", &real); err != nil {
		return err
	}
	if real.Email != customers[0].email || real.Card != customers[0].card {
		return fmt.Errorf("the API itself holds %+v", real)
	}
	h.out.check("e-mail addresses and cards are masked; the API holds %s and %s", real.Email, real.Card)
	h.out.check("the gateway has added the API's key; the agent's token went no further")
	return nil
}

func (h *httpShow) remove(ctx context.Context) error {
	a, err := h.ask(ctx, false, task, "DELETE", h.reverse+"/customers/2", "")
	if err != nil {
		return err
	}
	if a.status != http.StatusForbidden || a.reason() != "acme.api/delete" {
		return fmt.Errorf("not refused as it should be: %d %s", a.status, a.body)
	}
	if a, err = h.ask(ctx, false, task, "DELETE", h.reverse+"/notes/..%2fcustomers/2", ""); err != nil {
		return err
	}
	if a.status != http.StatusBadRequest {
		return fmt.Errorf("not refused as it should be: %d %s", a.status, a.body)
	}
	var left []any
	if err := h.direct(ctx, "/customers", &left); err != nil {
		return err
	}
	if len(left) != len(customers) {
		return fmt.Errorf("%d customers are left", len(left))
	}
	h.out.check("refused with the reason, and by another spelling, too; the %d customers are there", len(left))
	return nil
}

func (h *httpShow) change(ctx context.Context) error {
	type end struct {
		answer
		err error
	}
	done := make(chan end, 1)
	const body = `{"credit": 10}`
	h.out.act("agent", "PATCH "+h.reverse+"/customers/2  "+body)
	go func() {
		a, err := h.send(ctx, false, task, "PATCH", h.reverse+"/customers/2", body)
		done <- end{a, err}
	}()
	id, err := h.pending(ctx)
	if err != nil {
		return err
	}
	h.held = id
	h.out.say("It waits. Nothing has reached the API. Lena looks at it and approves:")
	if _, err := h.as(ctx, lead, "approvals", "show", id); err != nil {
		return err
	}
	if _, err := h.as(ctx, lead, "approvals", "approve", id); err != nil {
		return err
	}
	select {
	case e := <-done:
		if e.err != nil || e.status != http.StatusOK {
			return errors.Join(fmt.Errorf("the approved change: %d %s", e.status, e.body), e.err)
		}
		h.out.output(fmt.Sprintf("%d %s", e.status, e.body))
	case <-time.After(patience):
		return errors.New("the approved change did not run")
	}
	var c struct{ Credit int }
	if err := h.direct(ctx, "/customers/2", &c); err != nil || c.Credit != 10 {
		return errors.Join(fmt.Errorf("the credit is %d", c.Credit), err)
	}
	h.out.check("approved by another identity, and done once")
	return nil
}

// pending waits for the one request that is held.
func (h *httpShow) pending(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		out, err := h.quiet(ctx, "approvals", "list", "--profile", lead, "-o", "json")
		if err != nil {
			return "", err
		}
		if id := approvalID.FindString(out); id != "" {
			return id, nil
		}
		select {
		case <-ctx.Done():
			return "", errors.New("the change was not held")
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func (h *httpShow) elsewhere(ctx context.Context) error {
	h.out.say("The same server stands for the rest of the internet here: it answers 401, as the gateway has no key for it.")
	a, err := h.ask(ctx, true, task, "GET", h.api+"/notes", "")
	if err != nil {
		return err
	}
	if a.status != http.StatusUnauthorized || a.reason() != "" {
		return fmt.Errorf("reading was not let through: %d %s", a.status, a.body)
	}
	for _, c := range []struct{ task, body, reason string }{
		{task, `{"text": "customers: 3"}`, "acme.api/no-way-out"},
		{"something-else", `{"text": "pay with ` + customers[0].card + `"}`, "regate.http_no_leaks/found"},
	} {
		if a, err = h.ask(ctx, true, c.task, "POST", h.api+"/notes", c.body); err != nil {
			return err
		}
		if a.status != http.StatusForbidden || a.reason() != c.reason {
			return fmt.Errorf("not refused as it should be (%s): %d %s", c.reason, a.status, a.body)
		}
	}
	h.out.check("it may read there; a task that has read customers sends nothing, and no card goes out")
	return nil
}

func (h *httpShow) replay(ctx context.Context) error {
	id, err := h.ended(ctx)
	if err != nil {
		return err
	}
	out, err := h.run(ctx, operator, "sessions", "replay", id)
	if err != nil {
		return err
	}
	for _, want := range []string{customers[0].maskedEmail, customers[0].maskedCard, "acme.api/delete", h.held} {
		if !strings.Contains(out, want) {
			return fmt.Errorf("the replay does not show %q", want)
		}
	}
	for _, secret := range []string{customers[0].email, customers[0].card, h.key, h.token} {
		if strings.Contains(out, secret) {
			return fmt.Errorf("the replay shows what must not be there: %s", secret)
		}
	}
	h.out.check("the recording shows what the agent saw, masked")
	if _, err := h.run(ctx, operator, "verify"); err != nil {
		return err
	}
	h.out.check("nothing in it was changed, removed or added since")
	return nil
}

// ended ends the agent's session, whose recording is then archived: HTTP has no
// end of its own.
func (h *httpShow) ended(ctx context.Context) (string, error) {
	id, err := tokenID(h.token)
	if err != nil {
		return "", err
	}
	if _, err := h.as(ctx, operator, "revoke", "token", id, "--reason", "the task is done"); err != nil {
		return "", err
	}
	return h.archived(ctx, agent, func(s session) bool { return s.Denials > 0 && s.Holds > 0 })
}
