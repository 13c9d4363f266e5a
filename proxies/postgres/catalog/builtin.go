package catalog

import (
	_ "embed"
	"fmt"
	"strings"
	"sync"
)

//go:embed builtin.txt
var builtinText string

// builtins are the categories of pg_catalog's functions, by name.
var builtins = sync.OnceValue(func() map[string]Category {
	list, err := parseBuiltins(builtinText)
	if err != nil {
		panic("catalog: builtin.txt: " + err.Error()) // a test reads it too
	}
	return list
})

func parseBuiltins(text string) (map[string]Category, error) {
	list := map[string]Category{}
	for n, line := range strings.Split(text, "\n") {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		word, names, found := strings.Cut(line, ":")
		category := Category(word)
		switch category {
		case Safe, ReadsCatalog, SessionState, Writes, Carries, Dangerous:
		default:
			found = false
		}
		if !found {
			return nil, fmt.Errorf("line %d: %q is not a category", n+1, word)
		}
		for _, name := range strings.Fields(names) {
			if known, ok := list[name]; ok && known != category {
				return nil, fmt.Errorf("line %d: %s is %s and %s", n+1, name, known, category)
			}
			list[name] = category
		}
	}
	return list, nil
}

// BuiltinCategory is the category of a function of pg_catalog.
func BuiltinCategory(name string) Category { return builtins()[name] }

// safeExtensions are contrib extensions whose C functions compute from their
// arguments alone. What such an extension holds in another language was put
// there by someone else.
var safeExtensions = map[string]bool{
	"btree_gin": true, "btree_gist": true, "citext": true, "cube": true, "earthdistance": true,
	"fuzzystrmatch": true, "hstore": true, "intarray": true, "isn": true, "ltree": true,
	"pg_trgm": true, "pgcrypto": true, "seg": true, "unaccent": true, "uuid-ossp": true,
	"vector": true,
}

// stateful are functions of those extensions that do more.
var stateful = map[string]bool{"set_limit": true}

func categorize(f *Function) Category {
	switch {
	case f.OID < firstUserOID && f.Schema == "pg_catalog":
		return BuiltinCategory(f.Name)
	case f.OID < firstUserOID && f.Schema == "information_schema":
		return ReadsCatalog // _pg_expandarray and its like: all of them SQL over the catalogue
	case f.Extension != "" && safeExtensions[f.Extension] && f.Language == "c" && !stateful[f.Name]:
		return Safe
	}
	return Unknown
}
