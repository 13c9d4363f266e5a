package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// mcpShow is an agent that works with MCP servers: the reference server for
// files, which the gateway starts, and the reference server "everything" over
// HTTP. The agent's client is the inspector's command line.
type mcpShow struct {
	*stage
	packages string // folder of the npm packages
	port     string // of the server everything
	front    string // the gateway's address for agents
	first    string // the approval id of the file
}

// The people of the show.
const (
	assistant = "assistant" // an AI agent that helps a writer
	editor    = "edith"     // looks at what is written
	keeper    = "oscar"     // operates the gateway
)

func (m *mcpShow) people() []person {
	return []person{
		{assistant, "assistants", nil},
		{editor, "editors", []string{"viewer", "approver"}},
		{keeper, "operators", []string{"viewer", "auditor", "operator"}},
	}
}

func (m *mcpShow) bundles() []string { return []string{"bundles/mcp", "policies/lib"} }

func (m *mcpShow) env() []string { return nil }

// letter is a document with what the agent is not to see.
const letter = "Dear Ann,\nplease write to ann.example@example.com before Friday.\n"

func (m *mcpShow) open(ctx context.Context, s *stage) error {
	m.stage = s
	var err error
	if m.packages, err = filepath.Abs("testdata/mcp/servers/node_modules"); err != nil {
		return err
	}
	if _, err := os.Stat(m.program("mcp-inspector")); err != nil {
		return fmt.Errorf("the npm packages are missing: run make demo-mcp, or npm ci in testdata/mcp/servers: %w", err)
	}
	if err := os.MkdirAll(s.path("documents"), 0o755); err != nil {
		return err
	}
	for name, text := range map[string]string{"letter.txt": letter, ".env": "KEY=secret\n"} {
		if err := os.WriteFile(s.path("documents/"+name), []byte(text), 0o600); err != nil {
			return err
		}
	}
	address, err := freeAddress()
	if err != nil {
		return err
	}
	if _, m.port, err = net.SplitHostPort(address); err != nil {
		return err
	}
	server, err := s.spawn("everything", append(s.env(), "PORT="+m.port), "node", m.program("mcp-server-everything"), "streamableHttp")
	if err != nil {
		return err
	}
	for { // it answers no plain GET with 200
		conn, err := net.DialTimeout("tcp", "127.0.0.1:"+m.port, time.Second)
		if err == nil {
			_ = conn.Close()
			break
		}
		if err := server.ended(); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the server everything does not begin: %w", err)
		case <-time.After(100 * time.Millisecond):
		}
	}
	m.front, err = freeAddress()
	return err
}

func (m *mcpShow) program(name string) string { return filepath.Join(m.packages, ".bin", name) }

func (m *mcpShow) config() (string, error) {
	return fmt.Sprintf(`mcp:
  listeners: [{address: %q}]
  targets:
    - name: files
      command: [node, %q, %q]
    - name: everything
      upstream: "http://127.0.0.1:%s/mcp"
      pinning: first_use
`, m.front, m.program("mcp-server-filesystem"), m.path("documents"), m.port), nil
}

func (m *mcpShow) intro() {
	m.out.line(m.out.paint(bold, "regate") + " stands between an agent and MCP servers. Everything below is real:")
	m.out.say("files       the reference server for files, which the gateway starts, for %s", m.shown("documents"))
	m.out.say("everything  the reference server of that name, over HTTP on port %s", m.port)
	m.out.say("client      the MCP inspector, with regate mcp-stdio as its server")
	m.out.say("gateway     http://%s, policies from bundles/mcp, configuration in %s", m.front, m.shown("regate.yaml"))
}

// clients is the configuration of an MCP client: its servers are regate's.
func (m *mcpShow) clients() error {
	servers := map[string]any{}
	for _, name := range []string{"files", "everything"} {
		servers[name] = map[string]any{
			"command": m.regate, "args": []string{"mcp-stdio", "http://" + m.front + "/mcp/" + name},
			"env": map[string]string{"REGATE_TOKEN_CONFIG": m.path("token.yaml"), "REGATE_TOKEN_PROFILE": assistant, "XDG_CACHE_HOME": m.path("cache")},
		}
	}
	raw, err := json.MarshalIndent(map[string]any{"mcpServers": servers}, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(m.path("mcp.json"), raw, 0o600)
}

// inspect runs the inspector as the agent's client would, and returns what it
// prints.
func (m *mcpShow) inspect(ctx context.Context, server string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	m.out.act(assistant, "mcp-inspector --cli --config "+m.shown("mcp.json")+" --server "+server+" "+strings.Join(args, " "))
	cmd := exec.CommandContext(ctx, "node", append([]string{m.program("mcp-inspector"), "--cli", "--config", m.path("mcp.json"), "--server", server}, args...)...)
	cmd.Env = m.stage.env()
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	out, err := cmd.Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			err = fmt.Errorf("%w: %s", err, bytes.TrimSpace(exit.Stderr))
		}
		return string(out), fmt.Errorf("mcp-inspector: %w: %s", err, bytes.TrimSpace(out))
	}
	return string(out), nil
}

// call calls a tool and shows what the agent's model would read.
func (m *mcpShow) call(ctx context.Context, server, tool string, args ...string) (string, bool, error) {
	list := []string{"--method", "tools/call", "--tool-name", tool}
	for _, a := range args {
		list = append(list, "--tool-arg", a)
	}
	out, err := m.inspect(ctx, server, list...)
	if err != nil {
		return "", false, err
	}
	var result struct {
		Content []struct {
			Text string `json:"text"`
		} `json:"content"`
		IsError bool `json:"isError"`
	}
	if err := json.Unmarshal([]byte(out), &result); err != nil || len(result.Content) == 0 {
		return "", false, fmt.Errorf("the result of %s: %w: %s", tool, err, out)
	}
	m.out.output(result.Content[0].Text)
	return result.Content[0].Text, result.IsError, nil
}

// tools are the names of the tools that the agent gets to see.
func (m *mcpShow) tools(ctx context.Context, server string) (string, error) {
	out, err := m.inspect(ctx, server, "--method", "tools/list")
	if err != nil {
		return "", err
	}
	var list struct {
		Tools []struct {
			Name string `json:"name"`
		} `json:"tools"`
	}
	if err := json.Unmarshal([]byte(out), &list); err != nil {
		return "", fmt.Errorf("the list of tools: %w: %s", err, out)
	}
	var names []string
	for _, t := range list.Tools {
		names = append(names, t.Name)
	}
	m.out.output("tools: " + strings.Join(names, ", "))
	return strings.Join(names, " "), nil
}

func (m *mcpShow) invite() {
	regate := m.command()
	m.out.line(fmt.Sprintf("  node %s --cli --config %s --server files --method tools/list", "testdata/mcp/servers/node_modules/.bin/mcp-inspector", m.shown("mcp.json")))
	m.out.line(fmt.Sprintf("  %s tools list --profile %s", regate, keeper))
	m.out.line(fmt.Sprintf("  %s approvals list --profile %s", regate, editor))
}

func (m *mcpShow) close(context.Context) error { return nil }
