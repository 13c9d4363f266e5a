// Package identity turns a bearer token into the principals that a policy
// sees: whose authority it is (the subject) and who acts for them (the actor).
//
// A Verifier trusts several OpenID Connect issuers at once. It accepts signed
// JWTs only: access tokens (RFC 9068), ID tokens, Kubernetes service-account
// tokens, GitHub Actions tokens and SPIFFE JWT-SVIDs, each by configuration.
// go-oidc does discovery and checks the signature's frame and the issuer; this
// package adds what it leaves open: any-of audiences, `typ`, required claims,
// duplicate members, and a key set that forgets withdrawn keys and bounds how
// often a stranger's token makes regate fetch keys.
//
// Revocations are a live, local copy of a key-value bucket: who was cut off,
// and since when.
//
// Everything fails closed. An error of Verify is always an *Error with a stable
// reason id, and holds nothing of the token.
//
// Imports of regate: engine/input only.
package identity
