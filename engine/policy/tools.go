package policy

import (
	"fmt"
	"slices"

	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/regate-dev/regate/engine/input"
)

// EntryNames returns the names of the sets through which a package speaks.
func EntryNames() []string { return slices.Clone(entryNames[:]) }

// CheckElement reports what is wrong with one element of an entry, as the
// gateway would when the element is said: there it denies with engine/error.
// name is one of EntryNames. It is for tools that know an element before it is
// evaluated. detectKinds are those of Config.
func CheckElement(name string, protocol input.Protocol, detectKinds []string, element ast.Value) error {
	e := slices.Index(entryNames[:], name)
	if e < 0 {
		return fmt.Errorf("%s is not one of %v", name, entryNames)
	}
	d := decoder{protocol: protocol, detectKinds: detectKinds}
	return d.element(&elements{}, entry(e), "regate.policies", element)
}

// RemovedBuiltins returns the names of the built-in functions that a policy may
// not call.
func RemovedBuiltins() []string { return slices.Clone(removedBuiltins) }

// ReadsClock reports whether calling the built-in can give another value for
// the same input at another time.
func ReadsClock(b *ast.Builtin) bool { return readsClock(b) }

// StrictCompiler returns a compiler that demands what an activation demands of the
// modules: strict mode, the published capabilities, the schemas of the input.
func StrictCompiler() (*ast.Compiler, error) {
	schemas, err := schemaSet()
	if err != nil {
		return nil, err
	}
	return ast.NewCompiler().
		SetErrorLimit(0).
		WithStrict(true).
		WithCapabilities(capabilities()).
		WithSchemas(schemas).
		WithUseTypeCheckAnnotations(true), nil
}

// CheckPackages reports what is wrong with the policy packages of modules that
// were compiled: their names, their METADATA, their entries.
func CheckPackages(compiler *ast.Compiler) Problems {
	_, bad := findPackages(compiler.Modules, compiler.GetAnnotationSet())
	return problemsOf("", bad)
}
