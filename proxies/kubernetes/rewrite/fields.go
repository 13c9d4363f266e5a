package rewrite

import (
	"slices"
	"strings"

	"github.com/regate-dev/regate/engine"
)

// node is a place in an object that masks lead to or through.
type node struct {
	children map[string]*node
	fields   []string          // masks whose path ends here
	rule     *engine.FieldRule // what these and those above make of values; nil: there are none
}

// bind sets the rules from here down. above are the masks that hold here
// already. Without a tree the rules say nothing but that there is one.
func (n *node) bind(tree *engine.Tree, above []string) {
	reached := append(slices.Clip(above), n.fields...)
	if len(reached) > 0 {
		rule := tree.Rule(reached...)
		n.rule = &rule
	}
	for _, child := range n.children {
		child.bind(tree, reached)
	}
}

// compile builds the tree of the masks' paths that are for a type, such as
// "pods" or "pods/status". A field for "pods" is for its subresources too: they
// answer with the pod.
func compile(fields []string, typ string) *node {
	root := &node{}
	plain, _, _ := strings.Cut(typ, "/")
	for _, field := range fields {
		of, path, ok := strings.Cut(field, "/")
		if !ok {
			continue // no path: engine/input refuses it
		}
		switch of {
		case "", typ + ":", plain + ":":
		default:
			// The type may have a slash itself: "serviceaccounts/token:/status".
			rest, found := strings.CutPrefix(field, typ+":/")
			if !found {
				continue
			}
			path = rest
		}
		at := root
		for _, segment := range segments(path) {
			if at.children == nil {
				at.children = map[string]*node{}
			}
			next := at.children[segment]
			if next == nil {
				next = &node{}
				at.children[segment] = next
			}
			at = next
		}
		at.fields = append(at.fields, field)
	}
	return root
}

var unescape = strings.NewReplacer("~1", "/", "~0", "~")

// segments are the names of a path without its first slash. "" is none: the
// whole object.
func segments(path string) []string {
	if path == "" {
		return nil
	}
	out := strings.Split(path, "/")
	for i, s := range out {
		out[i] = unescape.Replace(s)
	}
	return out
}

// empty reports whether no mask leads anywhere.
func (n *node) empty() bool { return len(n.children) == 0 && len(n.fields) == 0 }

// harmless are the paths that no column of kubectl's own tables shows.
var harmless = map[string]bool{"data": true, "stringData": true, "binaryData": true, "annotations": true, "managedFields": true, "env": true, "envFrom": true}

// shownInTables reports whether some masked field may be in the cells of a
// table of a type. A custom resource's own columns can show any field.
func (n *node) shownInTables(typ string) bool {
	custom := strings.Contains(strings.SplitN(typ, "/", 2)[0], ".") && !builtin(typ)
	var walk func(n *node, safe bool) bool
	walk = func(n *node, safe bool) bool {
		if len(n.fields) > 0 && !safe {
			return true
		}
		for key, child := range n.children {
			if walk(child, safe || harmless[key] && !custom) {
				return true
			}
		}
		return false
	}
	return walk(n, false)
}

// builtin reports whether a type is of one of Kubernetes' own groups, whose
// tables are made by the API server's code.
func builtin(typ string) bool {
	plain, _, _ := strings.Cut(typ, "/")
	_, group, _ := strings.Cut(plain, ".")
	switch group {
	case "", "apps", "batch", "autoscaling", "policy", "extensions":
		return true
	}
	return strings.HasSuffix(group, ".k8s.io")
}
