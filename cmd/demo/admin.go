package main

import "context"

// as runs a command of regate against the gateway's admin API with the token
// of one of the identities.
func (s *stage) as(ctx context.Context, who string, args ...string) (string, error) {
	return s.run(ctx, who, append(args, "--profile", who)...)
}
