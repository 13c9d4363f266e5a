package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"
)

func (m *mcpShow) steps() []step {
	return []step{
		{"The agent asks for tools. Nobody has approved any, so there are none", m.quarantine},
		{"The operator looks at what the server says of its tools, and approves it", m.approveTools},
		{"The agent reads a document, without people's addresses", m.read},
		{"The agent writes a document. An editor has to approve", m.write},
		{"The other server, over HTTP", m.other},
		{"The agent is cut off. What happened can be seen again, and proved", m.replay},
	}
}

func (m *mcpShow) quarantine(ctx context.Context) error {
	if err := m.clients(); err != nil {
		return err
	}
	names, err := m.tools(ctx, "files")
	if err != nil {
		return err
	}
	if names != "" {
		return fmt.Errorf("the agent sees %s", names)
	}
	text, failed, err := m.call(ctx, "files", "read_text_file", "path="+m.path("documents/letter.txt"))
	if err != nil {
		return err
	}
	if !failed || !strings.Contains(text, "mcp/tool-new") {
		return fmt.Errorf("the call was not refused: %s", text)
	}
	m.out.check("neither listed nor called, and the model reads why")
	return nil
}

func (m *mcpShow) approveTools(ctx context.Context) error {
	out, err := m.as(ctx, keeper, "tools", "list", "--server", "files")
	if err != nil {
		return err
	}
	if !strings.Contains(out, "read_text_file") || !strings.Contains(out, "new") {
		return fmt.Errorf("the tools are not there: %s", out)
	}
	if _, err := m.as(ctx, keeper, "tools", "approve", "files", "--all"); err != nil {
		return err
	}
	names, err := m.tools(ctx, "files")
	if err != nil {
		return err
	}
	if !strings.Contains(names, "read_text_file") || strings.Contains(names, "move_file") {
		return fmt.Errorf("the agent sees %s", names)
	}
	m.out.check("approved by their digests; of them the agent sees those that policy lets it use")
	return nil
}

func (m *mcpShow) read(ctx context.Context) error {
	text, failed, err := m.call(ctx, "files", "read_text_file", "path="+m.path("documents/letter.txt"))
	if err != nil {
		return err
	}
	if failed || !strings.Contains(text, "Dear Ann") || strings.Contains(text, "ann.example@") {
		return fmt.Errorf("the agent reads: %s", text)
	}
	m.out.check("the address is masked in what the model reads; the file holds it")
	text, failed, err = m.call(ctx, "files", "read_text_file", "path="+m.path("documents/.env"))
	if err != nil {
		return err
	}
	if !failed || !strings.Contains(text, "acme.files/secrets") {
		return fmt.Errorf("the file with secrets: %s", text)
	}
	text, failed, err = m.call(ctx, "files", "read_text_file", "path="+m.path("documents/letter.txt"), "token=x", "head=-x")
	if err != nil {
		return err
	}
	if !failed || !strings.Contains(text, "mcp/arguments") {
		return fmt.Errorf("arguments that the tool does not take: %s", text)
	}
	m.out.check("decided by its arguments, which have to fit the tool's schema")
	return nil
}

func (m *mcpShow) write(ctx context.Context) error {
	name := m.path("documents/answer.txt")
	type end struct {
		text   string
		failed bool
		err    error
	}
	done := make(chan end, 1)
	go func() {
		text, failed, err := m.call(ctx, "files", "write_file", "path="+name, "content=On my way.")
		done <- end{text, failed, err}
	}()
	deadline := time.Now().Add(patience)
	for m.first == "" {
		out, err := m.quiet(ctx, "approvals", "list", "--profile", editor)
		if err != nil {
			return err
		}
		for word := range strings.FieldsSeq(out) {
			if strings.HasPrefix(word, "ap-") {
				m.first = word
			}
		}
		if m.first == "" && time.Now().After(deadline) {
			return errors.New("the call is not held")
		}
		time.Sleep(100 * time.Millisecond)
	}
	if _, err := os.Stat(name); err == nil {
		return errors.New("the file was written before anybody approved it")
	}
	m.out.say("It waits. Edith looks at it and approves:")
	if _, err := m.as(ctx, editor, "approvals", "show", m.first); err != nil {
		return err
	}
	if _, err := m.as(ctx, editor, "approvals", "approve", m.first); err != nil {
		return err
	}
	select {
	case e := <-done:
		if e.err != nil || e.failed {
			return fmt.Errorf("the approved call: %w: %s", e.err, e.text)
		}
	case <-time.After(patience):
		return errors.New("the approved call does not end")
	}
	raw, err := os.ReadFile(name)
	if err != nil || string(raw) != "On my way." {
		return fmt.Errorf("the file holds %q: %w", raw, err)
	}
	m.out.check("approved by another identity with the very arguments, and written")
	return nil
}

func (m *mcpShow) other(ctx context.Context) error {
	names, err := m.tools(ctx, "everything")
	if err != nil {
		return err
	}
	if names != "echo" {
		return fmt.Errorf("the agent sees %s", names)
	}
	text, failed, err := m.call(ctx, "everything", "echo", "message=hello")
	if err != nil {
		return err
	}
	if failed || !strings.Contains(text, "hello") {
		return fmt.Errorf("echo: %s", text)
	}
	m.out.check("one of its tools is for this agent, the others it does not know of")
	return nil
}

func (m *mcpShow) replay(ctx context.Context) error {
	if _, err := m.as(ctx, keeper, "revoke", "subject", assistant, "--reason", "demo"); err != nil {
		return err
	}
	if out, err := m.inspect(ctx, "files", "--method", "tools/list"); err == nil || !strings.Contains(err.Error(), "revoked") {
		return fmt.Errorf("the agent was not cut off: %w %s", err, out)
	}
	m.out.check("the agent is cut off, and its session has ended")
	id, err := m.archived(ctx, assistant, func(s session) bool { return s.Holds > 0 })
	if err != nil {
		return err
	}
	out, err := m.quiet(ctx, "sessions", "show", id)
	if err != nil {
		return err
	}
	if !strings.Contains(out, m.first) {
		return fmt.Errorf("the recording does not show the approval %s: %s", m.first, out)
	}
	if strings.Contains(out, "ann.example@") {
		return errors.New("the recording shows what was masked")
	}
	m.out.check("the recording of session %s has the approval, and no address", id)
	if _, err := m.run(ctx, keeper, "verify"); err != nil {
		return err
	}
	m.out.check("nothing in it was changed, removed or added since")
	return nil
}
