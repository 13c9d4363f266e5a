// Package kubernetes is the front for agents that speak the Kubernetes API:
// every request is decoded as the API server decodes it (package request
// below), decided by the gate, sent on with the gateway's own credential, and
// its answer masked and recorded before the agent sees it.
//
// It imports engine, engine/input, engine/mask and Kubernetes' client libraries.
// It knows nothing of OPA and reads no configuration.
package kubernetes
