package policy

import (
	"errors"
	"fmt"

	"github.com/open-policy-agent/opa/v1/ast"
)

// maxProblems bounds what a status lists.
const maxProblems = 100

// problemList takes an error apart into one text a problem, "file:line: code:
// message" where the place is known.
func problemList(err error) []string {
	var out []string
	var add func(error)
	add = func(err error) {
		if err == nil {
			return
		}
		if list, ok := errors.AsType[ast.Errors](err); ok {
			for _, e := range list {
				out = append(out, e.Error())
			}
			return
		}
		if joined, ok := err.(interface{ Unwrap() []error }); ok {
			for _, e := range joined.Unwrap() {
				add(e)
			}
			return
		}
		out = append(out, err.Error())
	}
	add(err)
	if len(out) > maxProblems {
		out = append(out[:maxProblems], fmt.Sprintf("and %d more", len(out)-maxProblems))
	}
	return out
}
