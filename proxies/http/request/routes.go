package request

import (
	"fmt"
	"slices"
	"strings"
)

// Operation is what an OpenAPI document says of one method of one path.
type Operation struct {
	Template   string // "/orders/{id}", as in the document
	ID         string // operationId, "" where there is none
	Tags       []string
	Deprecated bool
	Extensions map[string]any
	Lists      []string // query parameters and form fields that are lists
}

// Routes finds the operation of a request. It is a tree of path segments,
// built once: a look-up costs the length of the path and no more than the
// templates that begin alike. It is immutable.
type Routes struct {
	root node
	size int
}

type node struct {
	literal map[string]*node
	mixed   []edge // segments with a parameter and more, as {id}.json
	any     *node  // a segment that is a parameter
	here    map[string]*route
	slash   map[string]*route // of the template with "/" at its end
}

type edge struct {
	pattern string
	pieces  []string // literals around the parameters: "", ".json"
	next    *node
}

// route is an operation with the names of its parameters, in order.
type route struct {
	operation *Operation
	params    []string
}

// Len is the number of operations.
func (r *Routes) Len() int {
	if r == nil {
		return 0
	}
	return r.size
}

// add puts an operation in. prefix is what the server's URL has before the
// template.
func (r *Routes) add(method, prefix string, op *Operation) error {
	full := strings.TrimSuffix(prefix, "/") + op.Template
	at, params := &r.root, []string{}
	slash := strings.HasSuffix(full, "/") && full != "/"
	for segment := range strings.SplitSeq(strings.Trim(full, "/"), "/") {
		if segment == "" {
			break
		}
		pieces, names, err := splitTemplate(segment)
		if err != nil {
			return fmt.Errorf("path %q: %w", op.Template, err)
		}
		params = append(params, names...)
		switch {
		case len(names) == 0:
			if at.literal == nil {
				at.literal = map[string]*node{}
			}
			if at.literal[segment] == nil {
				at.literal[segment] = &node{}
			}
			at = at.literal[segment]
		case len(names) == 1 && pieces[0] == "" && pieces[1] == "":
			if at.any == nil {
				at.any = &node{}
			}
			at = at.any
		default:
			pattern := strings.Join(pieces, "{}")
			i := slices.IndexFunc(at.mixed, func(e edge) bool { return e.pattern == pattern })
			if i < 0 {
				at.mixed = append(at.mixed, edge{pattern: pattern, pieces: pieces, next: &node{}})
				i = len(at.mixed) - 1
			}
			at = at.mixed[i].next
		}
	}
	for i, name := range params {
		if slices.Contains(params[:i], name) {
			return fmt.Errorf("path %q has the parameter %s twice", op.Template, name)
		}
	}
	table := &at.here
	if slash {
		table = &at.slash
	}
	if *table == nil {
		*table = map[string]*route{}
	}
	if old := (*table)[method]; old != nil {
		return fmt.Errorf("paths %q and %q are the same to a request", old.operation.Template, op.Template)
	}
	(*table)[method] = &route{operation: op, params: params}
	r.size++
	return nil
}

// splitTemplate splits "a{x}b{y}" into "a", "b", "" and x, y.
func splitTemplate(segment string) (pieces, names []string, err error) {
	rest := segment
	for {
		before, after, found := strings.Cut(rest, "{")
		if strings.Contains(before, "}") {
			return nil, nil, fmt.Errorf("segment %q has a stray brace", segment)
		}
		pieces = append(pieces, before)
		if !found {
			return pieces, names, nil
		}
		name, more, closed := strings.Cut(after, "}")
		if !closed || name == "" || strings.Contains(name, "{") {
			return nil, nil, fmt.Errorf("segment %q has a stray brace", segment)
		}
		if len(names) > 0 && pieces[len(pieces)-1] == "" {
			return nil, nil, fmt.Errorf("segment %q has two parameters side by side", segment)
		}
		names, rest = append(names, name), more
	}
}

// match finds the operation for decoded segments, nil where there is none.
// The more literal template wins, segment by segment.
func (r *Routes) match(method string, segments []string, slash bool) (*Operation, map[string]string) {
	if r == nil {
		return nil, nil
	}
	found, values := find(&r.root, method, segments, slash, nil)
	if found == nil {
		return nil, nil
	}
	params := make(map[string]string, len(found.params))
	for i, name := range found.params {
		params[name] = values[i]
	}
	return found.operation, params
}

func find(n *node, method string, segments []string, slash bool, values []string) (*route, []string) {
	if len(segments) == 0 {
		first, second := n.here, n.slash
		if slash {
			first, second = second, first
		}
		if found := first[method]; found != nil {
			return found, values
		}
		// Most servers take one for the other: so does a policy.
		if found := second[method]; found != nil {
			return found, values
		}
		return nil, nil
	}
	head, rest := segments[0], segments[1:]
	if next := n.literal[head]; next != nil {
		if found, v := find(next, method, rest, slash, values); found != nil {
			return found, v
		}
	}
	for _, e := range n.mixed {
		if got, ok := e.match(head); ok {
			if found, v := find(e.next, method, rest, slash, append(values[:len(values):len(values)], got...)); found != nil {
				return found, v
			}
		}
	}
	if n.any != nil {
		return find(n.any, method, rest, slash, append(values[:len(values):len(values)], head))
	}
	return nil, nil
}

// match takes the parameters out of a segment; the shortest value wins.
func (e *edge) match(segment string) ([]string, bool) {
	rest, ok := strings.CutPrefix(segment, e.pieces[0])
	if !ok {
		return nil, false
	}
	var values []string
	for i, piece := range e.pieces[1:] {
		if i == len(e.pieces)-2 { // the last parameter takes what is left
			value, ok := strings.CutSuffix(rest, piece)
			if !ok || value == "" {
				return nil, false
			}
			return append(values, value), true
		}
		at := strings.Index(rest[min(1, len(rest)):], piece)
		if at < 0 || rest == "" {
			return nil, false
		}
		values, rest = append(values, rest[:at+1]), rest[at+1+len(piece):]
	}
	return nil, false
}
