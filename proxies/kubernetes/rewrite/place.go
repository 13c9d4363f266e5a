package rewrite

import "github.com/regate-dev/regate/engine"

// place is where in an object a value is.
type place struct {
	node *node             // masks that lead further down from here; nil: none
	rule *engine.FieldRule // what masks that name this place, or one above it, make of values; nil: none does
	spot spot
}

// spot says what stands at a place whatever the masks are.
type spot uint8

const (
	spotElse        spot = iota
	spotRoot             // the object itself
	spotIdentity         // a value that clients cannot do without, and that the path of a request has anyway
	spotMetadata         // /metadata
	spotAnnotations      // /metadata/annotations
	spotApplied          // in it, what kubectl apply keeps
	spotData             // the map whose strings are base64 of what they stand for, which typed clients insist on
	spotCoded            // one of those
)

// plain reports whether nothing here or below is treated in a way of its own.
func (s spot) plain() bool {
	switch s {
	case spotRoot, spotMetadata, spotAnnotations, spotApplied:
		return false
	}
	return true
}

// top is the place of an object.
func (n *node) top() place { return place{node: n, rule: n.rule, spot: spotRoot} }

// below is the place of a member of an object of a type. Elements of a list are
// where the list is.
func (p place) below(typ string, key []byte) place {
	next := place{rule: p.rule}
	if p.node != nil {
		if child := p.node.children[string(key)]; child != nil {
			next.node, next.rule = child, child.rule
		}
	}
	switch p.spot {
	case spotRoot:
		switch string(key) {
		case "metadata":
			next.spot = spotMetadata
		case "kind", "apiVersion":
			next.spot = spotIdentity
		case "data":
			if typ == "secrets" {
				next.spot = spotData
			}
		case "binaryData":
			if typ == "configmaps" {
				next.spot = spotData
			}
		}
	case spotMetadata:
		switch string(key) {
		case "name", "namespace", "uid", "resourceVersion":
			next.spot = spotIdentity
		case "annotations":
			next.spot = spotAnnotations
		}
	case spotAnnotations:
		if string(key) == lastApplied {
			next.spot = spotApplied
		}
	case spotData:
		next.spot = spotCoded
	}
	return next
}
