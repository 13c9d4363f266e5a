// Package web is the console: the pages on which people see what agents do,
// decide on what is held, and look back. package console is the API beside it;
// the pages do everything through it, so that nobody can do more here than
// there.
//
//	GET  /signin, /signin/start, /signin/callback   OpenID Connect, authorization code with PKCE
//	POST /signout
//	GET  /activity                                  what happens now
//	GET  /events                                    server-sent events: what changed, never what it is
//	GET  /approvals, /approvals/{id}
//	POST /approvals/{id}/approve, /deny
//	GET  /sessions, /sessions/{id}                  search and replay
//	GET  /sessions/{id}/terminal/{turn}             a terminal, as an asciicast
//	GET  /decisions, /decisions/{id}                search and explain
//	GET  /policies, /targets, /health
//	POST /revocations, /revocations/{key}/restore
//	GET  /static/…                                  style and scripts, all of them in this binary
//
// Everything is rendered here: a page works without scripts, which add what is
// live, what is played and keys. Pages carry a policy that takes no inline
// script or style and nothing from elsewhere. What agents, databases and issuers
// say is text, with control and direction marks written out (see visible).
//
// A person's session is in a sealed cookie that holds who they are, not a
// token; roles and revocations are looked at on each request. Whatever changes
// something is a POST of this origin (http.CrossOriginProtection): following a
// link decides nothing.
package web
