package main

import "context"

// admin runs a command of regate against the gateway's admin API, as one of
// the identities.
func (s *stage) admin(ctx context.Context, who string, args ...string) (string, error) {
	return s.run(ctx, who, append(args, "--server", s.adminURL, "--profile", who)...)
}
