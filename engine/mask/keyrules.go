package mask

import (
	_ "embed"
	"fmt"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"
	"sync"

	"github.com/pelletier/go-toml/v2"
)

//go:embed gitleaks/gitleaks.toml
var gitleaksTOML string

// keyRules parses the rules once: they are the same for every detector.
var keyRules = sync.OnceValues(func() (*ruleSet, error) { return parseRules(gitleaksTOML) })

// Rules that are kinds of their own here.
const (
	ruleJWT        = "jwt"
	rulePrivateKey = "private-key"
)

// maxKey is how far a rule looks to the right of its keyword, in bytes. The
// longest tokens with a stated length reach 1,000; those without one are cut
// here.
const maxKey = 4 << 10

// ruleFile is the part of gitleaks' configuration that is read.
type ruleFile struct {
	Allowlist allowTable  `toml:"allowlist"`
	Rules     []ruleTable `toml:"rules"`
}

type ruleTable struct {
	ID          string       `toml:"id"`
	Regex       string       `toml:"regex"`
	Path        string       `toml:"path"`
	SecretGroup int          `toml:"secretGroup"`
	Entropy     float64      `toml:"entropy"`
	Keywords    []string     `toml:"keywords"`
	Allowlists  []allowTable `toml:"allowlists"`
}

type allowTable struct {
	Condition   string   `toml:"condition"`
	Paths       []string `toml:"paths"`
	RegexTarget string   `toml:"regexTarget"`
	Regexes     []string `toml:"regexes"`
	Stopwords   []string `toml:"stopwords"`
}

// ruleSet is the rules with their keywords in one matcher.
type ruleSet struct {
	words  *words
	byWord [][]*rule
	global allowlist
}

// rule is one kind of key.
type rule struct {
	id      string
	group   int
	entropy float64
	allow   []allowlist
	re      lazyRegexp

	// heads hold what the first bytes of a match can be, where every match
	// starts with a keyword: most false hits end here. bounded: no letter, digit
	// or underscore stands before it.
	heads   [][]byteSet
	bounded bool
	// assigned: the rule is gitleaks' `name operator value`, and a value has
	// minValue to maxValue bytes (0: any). The operator is looked for by hand.
	assigned           bool
	minValue, maxValue int
	before, after      int // bytes around the keyword that the regexp is run on
}

// lazyRegexp compiles at the first use: a process meets few of the rules.
type lazyRegexp struct {
	expr string
	once sync.Once
	re   *regexp.Regexp
}

func (l *lazyRegexp) get() *regexp.Regexp {
	l.once.Do(func() { l.re = regexp.MustCompile(l.expr) })
	return l.re
}

// assignment is how gitleaks writes an operator and the start of a value,
// after widen.
const assignment = `(?:=|>|:{1,3}=|\|\||:|=>|\?=|,)[\x60'"\s=\\]{0,5}(`

// widen lets the rules, which are written for source code, find more in data:
// a key also ends at a comma, a bracket or an ampersand, and its name and value
// may be quoted by \" as in JSON within JSON.
var widen = strings.NewReplacer(
	`(?:[\x60'"\s;]|\\[nr]|$)`, `(?:[\x60'"\s;,)\]}<>&]|\\|$)`,
	`[\s'"]{0,3}`, `[\s'"\\]{0,3}`,
	`[\x60'"\s=]{0,5}`, `[\x60'"\s=\\]{0,5}`,
)

func parseRules(text string) (*ruleSet, error) {
	var file ruleFile
	if err := toml.Unmarshal([]byte(text), &file); err != nil {
		return nil, fmt.Errorf("read rules: %w", err)
	}
	set := &ruleSet{global: newAllowlist(file.Allowlist)}
	index := map[string]int{}
	var list []string
	for _, t := range file.Rules {
		// Rules on a file's path have nothing to look at here.
		if t.Path != "" || t.Regex == "" || t.ID == ruleJWT || t.ID == rulePrivateKey {
			continue
		}
		if len(t.Keywords) == 0 {
			return nil, fmt.Errorf("rule %s has no keywords", t.ID)
		}
		r, err := newRule(t)
		if err != nil {
			return nil, fmt.Errorf("rule %s: %w", t.ID, err)
		}
		for _, word := range t.Keywords {
			word = strings.ToLower(word)
			i, ok := index[word]
			if !ok {
				i = len(list)
				index[word] = i
				list = append(list, word)
				set.byWord = append(set.byWord, nil)
			}
			set.byWord[i] = append(set.byWord[i], r)
		}
	}
	var err error
	set.words, err = newWords(list)
	return set, err
}

func newRule(t ruleTable) (*rule, error) {
	t.Regex = widen.Replace(t.Regex)
	tree, err := syntax.Parse(t.Regex, syntax.Perl)
	if err != nil {
		return nil, err
	}
	r := &rule{id: t.ID, group: t.SecretGroup, entropy: t.Entropy, re: lazyRegexp{expr: t.Regex}}
	for _, a := range t.Allowlists {
		if strings.EqualFold(a.Condition, "AND") && len(a.Paths) > 0 {
			continue // asks for a path: never holds here
		}
		r.allow = append(r.allow, newAllowlist(a))
	}
	_, high := width(tree)
	r.before, r.after = 300, maxKey
	if high >= 0 {
		r.after = min(high+8, maxKey)
	}
	if name, _, ok := strings.Cut(t.Regex, assignment); ok && tree.Op != syntax.OpAlternate && named(name, t.Keywords) {
		if value := capture(tree, max(1, t.SecretGroup)); value != nil {
			r.assigned, r.re.expr = true, anchored(t.Regex)
			r.minValue, r.maxValue = width(value)
			return r, nil
		}
	}
	all := leads(nil, []*syntax.Regexp{tree})
	for _, head := range all {
		if !slices.ContainsFunc(t.Keywords, func(word string) bool { return startsWith(head, strings.ToLower(word)) }) {
			return r, nil
		}
	}
	if len(all) > 0 {
		r.heads, r.re.expr = all, anchored(t.Regex)
		r.bounded = strings.HasPrefix(t.Regex, `\b`) || strings.HasPrefix(t.Regex, `(?i)\b`)
	}
	return r, nil
}

// anchored lets a regexp match at the start of a window alone. A boundary of
// words there is checked by hand, since a window has nothing before it.
func anchored(expr string) string { return `\A(?:` + expr + `)` }

// named tells whether the keywords are words of the name, not of the value.
func named(name string, keywords []string) bool {
	loose := strings.NewReplacer(`[_-]?`, "", "-", "", "_", "", `(?:or)?`, "", "or", "")
	name = loose.Replace(strings.ToLower(name))
	if strings.Contains(name, ",|") {
		return false // a name that ends with what could be the operator
	}
	for _, word := range keywords {
		if !strings.Contains(name, loose.Replace(strings.ToLower(word))) {
			return false
		}
	}
	return true
}

// startsWith tells whether a match with this head starts with the word: its
// first two letters can be nothing else.
func startsWith(head []byteSet, word string) bool {
	if len(head) < 2 {
		return false
	}
	for i := range min(len(head), len(word)) {
		var want byteSet
		c := word[i]
		want.add(c)
		if 'a' <= c && c <= 'z' {
			want.add(c &^ 0x20)
		}
		if !head[i].meets(want) || i < 2 && !head[i].within(want) {
			return false
		}
	}
	return true
}

// allowlist says which findings are not secrets.
type allowlist struct {
	target  string // "" the secret, "match" or "line"
	regexes []*lazyRegexp
	stop    *words
}

func newAllowlist(t allowTable) allowlist {
	a := allowlist{target: t.RegexTarget}
	for _, expr := range t.Regexes {
		a.regexes = append(a.regexes, &lazyRegexp{expr: expr})
	}
	if len(t.Stopwords) > 0 {
		var list []string
		for _, word := range t.Stopwords {
			list = append(list, strings.ToLower(word))
		}
		// Words too short for the matcher are not left out quietly: a stop word
		// that is not seen means one more value masked, never one less.
		if stop, err := newWords(list); err == nil {
			a.stop = stop
		}
	}
	return a
}

func (a *allowlist) allows(text []byte, secret, match [2]int) bool {
	if a.stop != nil && a.stop.contains(text[secret[0]:secret[1]]) {
		return true
	}
	target := text[secret[0]:secret[1]]
	switch a.target {
	case "match":
		target = text[match[0]:match[1]]
	case "line":
		target = line(text, match)
	}
	for _, l := range a.regexes {
		if l.get().Match(target) {
			return true
		}
	}
	return false
}

// lineReach is how far an allow-list looks at the line beside a match.
const lineReach = 256

// line returns the line around a match, up to lineReach bytes to either side.
func line(text []byte, match [2]int) []byte {
	from, to := match[0], match[1]
	for from > 0 && from > match[0]-lineReach && text[from-1] != '\n' {
		from--
	}
	for to < len(text) && to < match[1]+lineReach && text[to] != '\n' {
		to++
	}
	return text[from:to]
}
