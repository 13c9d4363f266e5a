package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
)

// show is one demonstration: what is behind the gateway, and what is done with
// it. Its methods are called in this order; the stage does the rest.
type show interface {
	// people are who take part.
	people() []person
	// open starts what is behind the gateway; stage.spawn starts processes that
	// are stopped with everything else.
	open(ctx context.Context, s *stage) error
	// bundles are the folders with policies, from the repository's root.
	bundles() []string
	// config is the protocol's part of the gateway's configuration, env what it
	// needs in its environment. The gateway's addresses are from stage.address.
	config() (string, error)
	env() []string
	// intro says what is there.
	intro()
	steps() []step
	// invite says how to try what runs.
	invite()
	close(ctx context.Context) error
}

// shows are the demonstrations by name.
var shows = map[string]func() show{
	"http":       func() show { return &httpShow{} },
	"kubernetes": func() show { return &kubernetesShow{} },
	"mcp":        func() show { return &mcpShow{} },
	"postgres":   func() show { return &postgresShow{} },
}

// person is an identity: a client of the issuer, and a profile of that name for
// regate's commands.
type person struct {
	name, group string
	roles       []string // at the gateway's admin API
}

// step is one scene of a show.
type step struct {
	title string
	do    func(context.Context) error
}

// patience is how long a step waits for something that must happen.
const patience = 20 * time.Second

// play does every step and checks it.
func (s *stage) play(ctx context.Context) error {
	for _, step := range s.show.steps() {
		s.out.step(step.title)
		stepCtx, cancel := context.WithTimeout(ctx, 90*time.Second)
		err := step.do(stepCtx)
		cancel()
		for _, p := range s.processes {
			err = errors.Join(err, p.ended())
		}
		if err != nil {
			return fmt.Errorf("step %d: %w", s.out.steps, err)
		}
	}
	return nil
}

// as runs a command of regate against the gateway's admin API with the token
// of one of the people.
func (s *stage) as(ctx context.Context, who string, args ...string) (string, error) {
	return s.run(ctx, who, append(args, "--profile", who)...)
}

// session is what `regate sessions list` tells of a session.
type session struct {
	ID      string `json:"id"`
	Denials int    `json:"denials"`
	Holds   int    `json:"holds"`
	State   string `json:"state"`
}

// archived waits until a session of a subject that fits is in the archive.
func (s *stage) archived(ctx context.Context, subject string, fits func(session) bool) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	last := "no session yet"
	for {
		out, err := s.quiet(ctx, "sessions", "list", "--subject", subject, "-o", "json")
		if err != nil {
			return "", err
		}
		var list []session
		if err := json.Unmarshal([]byte(out), &list); err != nil {
			return "", fmt.Errorf("regate sessions list: %w: %s", err, out)
		}
		for _, got := range list {
			if fits(got) {
				if last = got.State; got.State == "archived" {
					return got.ID, nil
				}
			}
		}
		select {
		case <-ctx.Done():
			return "", fmt.Errorf("wait for the recording: %w (%s)", ctx.Err(), last)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// tokenID is the id of a token: its claim jti.
func tokenID(token string) (string, error) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return "", errors.New("the token is not a JWT")
	}
	raw, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return "", fmt.Errorf("the token's claims: %w", err)
	}
	var claims struct {
		ID string `json:"jti"`
	}
	if err := json.Unmarshal(raw, &claims); err != nil {
		return "", fmt.Errorf("the token's claims: %w", err)
	}
	if claims.ID == "" {
		return "", errors.New("the token has no id")
	}
	return claims.ID, nil
}
