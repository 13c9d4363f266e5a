// Package identitytest is an OpenID Connect issuer for tests: it serves
// discovery, keys and introspection on loopback, and mints any token, well
// formed or not. Tests turn its keys, take them away, and switch it off.
//
// It is for tests only and imports no other room of regate.
package identitytest
