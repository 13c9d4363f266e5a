package console

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/regate-dev/regate/engine/pin"
)

// Tool is what is known of one tool of an MCP server, and what has changed of it
// since somebody approved it.
type Tool struct {
	Server         string          `json:"server"`
	Name           string          `json:"name"`
	State          pin.State       `json:"state"`
	Digest         string          `json:"digest"` // of what the server says now: what to approve
	Definition     json.RawMessage `json:"definition"`
	FirstSeen      time.Time       `json:"first_seen"`
	SeenAt         time.Time       `json:"seen_at"`
	ApprovedDigest string          `json:"approved_digest,omitempty"`
	ApprovedAt     time.Time       `json:"approved_at,omitzero"`
	ApprovedBy     string          `json:"approved_by,omitempty"`
	Diff           string          `json:"diff,omitempty"` // unified, where the state is "changed"
}

func toolOf(e *pin.Entry) Tool {
	t := Tool{
		Server: e.Server, Name: e.Name, State: e.State(), FirstSeen: e.FirstSeen, SeenAt: e.SeenAt,
		ApprovedAt: e.ApprovedAt, ApprovedBy: e.ApprovedBy, Diff: e.Diff(),
	}
	if e.Seen != nil {
		t.Digest, t.Definition = e.Seen.Digest, e.Seen.JSON
	}
	if e.Approved != nil {
		t.ApprovedDigest = e.Approved.Digest
	}
	return t
}

// listTools shows the tools of all MCP servers. ?server=, ?name= and ?state=
// choose.
func (c *Console) listTools(_ context.Context, who *Caller, r *http.Request) (int, any, error) {
	q := r.URL.Query()
	list, err := c.Tools(who, q.Get("server"))
	if err != nil {
		return 0, nil, err
	}
	out := []Tool{}
	for _, t := range list {
		if (q.Get("name") == "" || q.Get("name") == t.Name) && (q.Get("state") == "" || q.Get("state") == string(t.State)) {
			out = append(out, t)
		}
	}
	return http.StatusOK, struct {
		Tools []Tool `json:"tools"`
	}{out}, nil
}

// Tools lists the tools of one MCP server, or of all for "".
func (c *Console) Tools(who *Caller, server string) ([]Tool, error) {
	if !who.Any() {
		return nil, forbidden("viewer")
	}
	out := []Tool{}
	if c.cfg.Tools == nil {
		return out, nil
	}
	for _, e := range c.cfg.Tools.List(server) {
		out = append(out, toolOf(e))
	}
	return out, nil
}

// ToolChoice names a tool, and for an approval what was looked at.
type ToolChoice struct {
	Server string `json:"server"`
	Name   string `json:"name"`
	Digest string `json:"digest,omitempty"`
}

func (c *Console) approveTool(ctx context.Context, who *Caller, r *http.Request) (int, any, error) {
	return c.changeTool(ctx, who, r, c.ApproveTool)
}

func (c *Console) withdrawTool(ctx context.Context, who *Caller, r *http.Request) (int, any, error) {
	return c.changeTool(ctx, who, r, c.WithdrawTool)
}

func (c *Console) changeTool(ctx context.Context, who *Caller, r *http.Request, change func(context.Context, *Caller, ToolChoice) (Tool, error)) (int, any, error) {
	if !who.Operator { // before the body is looked at
		return 0, nil, forbidden("operator")
	}
	var in ToolChoice
	if err := readJSON(r, &in, false); err != nil {
		return 0, nil, err
	}
	t, err := change(ctx, who, in)
	if err != nil {
		return 0, nil, err
	}
	return http.StatusOK, t, nil
}

// ApproveTool approves a tool's definition, once that is recorded: what has the
// digest, and nothing that the server has said since.
func (c *Console) ApproveTool(ctx context.Context, who *Caller, in ToolChoice) (Tool, error) {
	switch {
	case !who.Operator:
		return Tool{}, forbidden("operator")
	case in.Digest == "":
		return Tool{}, malformed("digest says which definition is approved")
	}
	if err := c.choice(in); err != nil {
		return Tool{}, err
	}
	detail := map[string]string{"server": in.Server, "tool": in.Name, "digest": in.Digest}
	if err := c.record(ctx, who, "tool.approve", detail); err != nil {
		return Tool{}, err
	}
	e, err := c.cfg.Tools.Approve(ctx, in.Server, in.Name, in.Digest, who.Identity.Subject.ID, who.Identity.Subject.Issuer)
	return c.changed(ctx, who, "tool.approve", detail, e, err)
}

// WithdrawTool takes an approval back: the tool is new again.
func (c *Console) WithdrawTool(ctx context.Context, who *Caller, in ToolChoice) (Tool, error) {
	if !who.Operator {
		return Tool{}, forbidden("operator")
	}
	if err := c.choice(in); err != nil {
		return Tool{}, err
	}
	// It narrows: a journal in trouble must not keep it from happening.
	e, err := c.cfg.Tools.Revoke(ctx, in.Server, in.Name)
	return c.changed(ctx, who, "tool.withdraw", map[string]string{"server": in.Server, "tool": in.Name}, e, err)
}

func (c *Console) choice(in ToolChoice) error {
	switch {
	case in.Server == "" || in.Name == "" || len(in.Server)+len(in.Name)+len(in.Digest) > maxText:
		return malformed("server and name say which tool is meant")
	case c.cfg.Tools == nil:
		return noTool()
	}
	return nil
}

func noTool() error {
	return newProblem(http.StatusNotFound, ReasonNotFound, "no server has told of such a tool", "It is there once an agent has asked for the server's tools.")
}

func (c *Console) changed(ctx context.Context, who *Caller, action string, detail map[string]string, e *pin.Entry, err error) (Tool, error) {
	switch {
	case err == nil:
		c.note(ctx, who, action, OutcomeOK, detail)
		return toolOf(e), nil
	case errors.Is(err, pin.ErrUnknown):
		c.note(ctx, who, action, ReasonNotFound, detail)
		return Tool{}, noTool()
	case errors.Is(err, pin.ErrOther):
		c.note(ctx, who, action, ReasonConflict, detail)
		return Tool{}, newProblem(http.StatusConflict, ReasonConflict, "the server says something else by now", "Look at it again.")
	}
	c.note(ctx, who, action, ReasonUnavailable, detail)
	return Tool{}, fmt.Errorf("%s: %w", action, err)
}
