//go:build tools

// Package helm names helm's program, so that go.mod and go.sum have what it
// needs.
package helm

import _ "helm.sh/helm/v4/cmd/helm"
