package scaffold

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf16"

	"github.com/open-policy-agent/opa/v1/format"
)

// TestCase is one input document that becomes a test.
type TestCase struct {
	// Name is made a Rego name, and a unique one: "DELETE users" becomes
	// delete_users and test_delete_users.
	Name string
	// Comment stands above the test: the statement, say. Any text.
	Comment string
	Input   json.RawMessage // an object
	// Say is what the package under test says of the input: the ids in each of
	// its sets, see Say. Empty where that is not known; then the test only holds
	// what the input is, and says what to add.
	Say map[string][]string
}

// surface are the sets that a policy package may have.
var surface = []string{"allow", "deny", "label", "limit", "mask", "record", "require_approval"}

// maxCases bounds the tests in one module: more would be no help to a reader,
// and take opa minutes to format.
const maxCases = 1000

// TestModule writes a Rego test module of the package that tests pkg, such as
// "regate.policies.acme.sql". It stands for itself: stock opa runs it, and it
// is as opa fmt would have it.
func TestModule(pkg string, cases []TestCase) ([]byte, error) {
	if err := checkPackage(pkg); err != nil {
		return nil, err
	}
	if len(cases) > maxCases {
		return nil, fmt.Errorf("%d documents are too many for one test module, which takes %d", len(cases), maxCases)
	}
	last := pkg[strings.LastIndexByte(pkg, '.')+1:]
	var b bytes.Buffer
	fmt.Fprintf(&b, "package %s_test\n\n", pkg)
	if slices.ContainsFunc(cases, func(c TestCase) bool { return len(c.Say) > 0 }) {
		fmt.Fprintf(&b, "import data.%s\n\n", pkg)
	}
	used := map[string]int{last: 1}
	for _, c := range cases {
		if err := c.write(&b, pkg, last, unique(ruleName(c.Name), used)); err != nil {
			return nil, err
		}
	}
	out, err := format.SourceWithOpts("test.rego", b.Bytes(), format.Opts{})
	if err != nil {
		return nil, fmt.Errorf("format the test: %w", err)
	}
	return visible(out), nil
}

func (c TestCase) write(b *bytes.Buffer, pkg, last, name string) error {
	var facts struct {
		Complete *bool `json:"complete"`
		Action   struct {
			Verb *string `json:"verb"`
		} `json:"action"`
	}
	if err := json.Unmarshal(c.Input, &facts); err != nil {
		return fmt.Errorf("input of %s: %w", name, err)
	}
	for line := range strings.Lines(c.Comment) {
		fmt.Fprintf(b, "# %s\n", commentLine(line))
	}
	fmt.Fprintf(b, "%s := ", name)
	if err := indent(b, c.Input); err != nil {
		return fmt.Errorf("input of %s: %w", name, err)
	}
	fmt.Fprintf(b, "\n\ntest_%s if {\n", name)
	if len(c.Say) > 0 {
		for _, set := range surface {
			ids, known := c.Say[set]
			if !known {
				continue
			}
			want := "set()"
			if len(ids) > 0 {
				quoted := make([]string, 0, len(ids))
				for _, id := range slices.Compact(slices.Sorted(slices.Values(ids))) {
					raw, err := json.Marshal(id)
					if err != nil {
						return err
					}
					quoted = append(quoted, string(raw))
				}
				want = "{" + strings.Join(quoted, ", ") + "}"
			}
			fmt.Fprintf(b, "\t{said.id | some said in %s.%s} == %s with input as %s\n", last, set, want, name)
		}
		fmt.Fprint(b, "}\n\n")
		return nil
	}
	fmt.Fprintf(b, "\t# What your policy should say of it, e.g.\n\t# count(data.%s.deny) > 0 with input as %s\n", pkg, name)
	if facts.Complete != nil {
		fmt.Fprintf(b, "\t%s.complete == %t\n", name, *facts.Complete)
	}
	if facts.Action.Verb != nil {
		verb, err := json.Marshal(*facts.Action.Verb)
		if err != nil {
			return err
		}
		fmt.Fprintf(b, "\t%s.action.verb == %s\n", name, verb)
	}
	if facts.Complete == nil && facts.Action.Verb == nil {
		fmt.Fprintf(b, "\tis_object(%s)\n", name)
	}
	fmt.Fprint(b, "}\n\n")
	return nil
}

// indent writes the document as a Rego object, with short lists in one line.
func indent(b *bytes.Buffer, doc json.RawMessage) error {
	var flat bytes.Buffer
	if err := json.Compact(&flat, doc); err != nil {
		return err
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(flat.Bytes(), &members); err != nil {
		return err
	}
	return indentAt(b, flat.Bytes(), 0)
}

// visible escapes, in Rego that is formatted, what a reader would not see or a
// terminal would obey: text in a policy's test must not look like something
// else. Outside of strings there is none of it.
func visible(source []byte) []byte {
	if bytes.IndexFunc(source, hides) < 0 {
		return source
	}
	var b bytes.Buffer
	for _, r := range string(source) {
		switch {
		case !hides(r):
			b.WriteRune(r)
		case r > 0xffff:
			hi, lo := utf16.EncodeRune(r)
			fmt.Fprintf(&b, "\\u%04x\\u%04x", hi, lo)
		default:
			fmt.Fprintf(&b, "\\u%04x", r)
		}
	}
	return b.Bytes()
}

func hides(r rune) bool { return r >= 0x80 && !unicode.IsGraphic(r) }

// lineWidth is how much of an object or a list may stand in one line.
const lineWidth = 100

func indentAt(b *bytes.Buffer, value []byte, depth int) error {
	if value[0] != '{' && value[0] != '[' || len(value)+4*depth <= lineWidth {
		return spaced(b, value)
	}
	dec := json.NewDecoder(bytes.NewReader(value))
	if _, err := dec.Token(); err != nil {
		return err
	}
	b.WriteByte(value[0])
	b.WriteByte('\n')
	for dec.More() {
		b.WriteString(strings.Repeat("\t", depth+1))
		if value[0] == '{' {
			key, err := dec.Token()
			if err != nil {
				return err
			}
			raw, err := jsonText(key)
			if err != nil {
				return err
			}
			b.Write(raw)
			b.WriteString(": ")
		}
		var member json.RawMessage
		if err := dec.Decode(&member); err != nil {
			return err
		}
		if err := indentAt(b, member, depth+1); err != nil {
			return err
		}
		b.WriteString(",\n")
	}
	b.WriteString(strings.Repeat("\t", depth))
	b.WriteByte(value[len(value)-1])
	return nil
}

// spaced writes compact JSON in one line, with a space after each comma and
// colon.
func spaced(b *bytes.Buffer, value []byte) error {
	inString := false
	for i := 0; i < len(value); i++ {
		c := value[i]
		b.WriteByte(c)
		switch {
		case inString && c == '\\':
			i++
			b.WriteByte(value[i])
		case c == '"':
			inString = !inString
		case !inString && (c == ',' || c == ':'):
			b.WriteByte(' ')
		}
	}
	return nil
}

func jsonText(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	err := enc.Encode(v)
	return bytes.TrimSpace(b.Bytes()), err
}

// commentLine makes any text one line of a comment.
func commentLine(line string) string {
	return strings.TrimRight(strings.Map(func(r rune) rune {
		switch {
		case r == '\t':
			return ' '
		case !unicode.IsGraphic(r):
			return -1
		}
		return r
	}, line), " ")
}

// reserved are words that name no rule.
var reserved = []string{
	"as", "contains", "default", "else", "every", "false", "if", "import", "in", "input", "data", "not", "null", "package", "some", "true", "with",
}

// maxName bounds a rule's name, in bytes.
const maxName = 60

// ruleName makes a Rego name of any text.
func ruleName(text string) string {
	var b strings.Builder
	gap := false
	for _, r := range strings.ToLower(text) {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			if gap && b.Len() > 0 {
				b.WriteByte('_')
			}
			b.WriteRune(r)
			gap = false
		} else {
			gap = true
		}
		if b.Len() >= maxName {
			break
		}
	}
	name := b.String()
	if name == "" || name[0] >= '0' && name[0] <= '9' || slices.Contains(reserved, name) {
		name = strings.TrimSuffix("request_"+name, "_")
	}
	return name
}

// unique makes a name that is not used yet. used counts how often a name was
// asked for.
func unique(name string, used map[string]int) string {
	tried := name
	for used[tried] > 0 {
		used[name]++
		tried = fmt.Sprintf("%s_%d", name, used[name])
	}
	used[tried]++
	return tried
}

// checkPackage refuses what is no package of policies: a dotted path of plain
// names.
func checkPackage(pkg string) error {
	parts := strings.Split(pkg, ".")
	for _, part := range parts {
		if ok := part != "" && !slices.Contains(reserved, part); !ok || strings.Trim(part, "abcdefghijklmnopqrstuvwxyz0123456789_") != "" || part[0] >= '0' && part[0] <= '9' {
			return fmt.Errorf("%q is not a package: names of lower-case letters, digits and _, divided by dots", pkg)
		}
	}
	return nil
}
