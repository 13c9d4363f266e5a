// Package devissuer is an OpenID Connect issuer for development: people who
// try regate, the demo, and tests. It keeps everything in memory and listens
// on loopback only.
//
// It is built on the op package of github.com/zitadel/oidc, a certified
// library: client credentials, authorization code with PKCE, token exchange
// (RFC 8693), introspection, revocation. Access tokens are JWTs with groups.
// Keys turn on request.
//
// It is no identity provider for production: people choose who they are from a
// list. It imports no other room of regate.
package devissuer
