package mask

import (
	"regexp"
	"strings"
	"testing"

	"github.com/zricethezav/gitleaks/v8/config"
	"pgregory.net/rapid"
)

// An upgrade of gitleaks in go.mod is an upgrade of the rules.
func TestRulesAreThoseOfTheModule(t *testing.T) {
	if gitleaksTOML != config.DefaultConfig {
		t.Error("gitleaks/gitleaks.toml is not the rule set of the gitleaks module in go.mod: copy it from there")
	}
}

func TestRules(t *testing.T) {
	set, err := keyRules()
	if err != nil {
		t.Fatal(err)
	}
	seen, assigned, headed := map[*rule]bool{}, 0, 0
	var slow []string
	for _, rules := range set.byWord {
		for _, r := range rules {
			if seen[r] {
				continue
			}
			seen[r] = true
			switch {
			case r.assigned:
				assigned++
			case r.heads != nil:
				headed++
			default:
				slow = append(slow, r.id)
			}
		}
	}
	// Rules that no hand-made check precedes cost a regexp for each keyword.
	t.Logf("%d rules: %d by assignment, %d by their head, %d by regexp alone: %s", len(seen), assigned, headed, len(slow), strings.Join(slow, " "))
	if len(seen) < 210 || assigned < 88 || headed < 90 {
		t.Errorf("%d rules, %d by assignment, %d by their head", len(seen), assigned, headed)
	}
}

// Whatever a rule's own regexp, entropy and allow-lists take, the detector
// finds: what is checked by hand before them loses nothing.
func TestRulesFindWhatTheyMatch(t *testing.T) {
	set, err := keyRules()
	if err != nil {
		t.Fatal(err)
	}
	seen := map[*rule]bool{}
	for _, rules := range set.byWord {
		for _, r := range rules {
			if seen[r] {
				continue
			}
			seen[r] = true
			expr := strings.TrimPrefix(r.re.expr, `\A`)
			original := regexp.MustCompile(expr)
			// A generator has no word boundaries, and no use for long tails.
			sample := strings.NewReplacer(`SDK.`, `SDK\.`, `\b`, ``, `\z`, ``, `{100,}`, `{100,200}`, `{250,}`, `{250,300}`).Replace(expr)
			strs := rapid.StringMatching(sample)
			tried := 0
			for seed := range 15 {
				// The Kelvin sign and the long s are letters only to a regexp.
				text := []byte(strings.NewReplacer("\u212a", "k", "\u017f", "s").Replace(strs.Example(seed)))
				m := original.FindSubmatchIndex(text)
				if m == nil {
					continue
				}
				secret := [2]int{m[0], m[1]}
				if r.group > 0 {
					secret = [2]int{m[2*r.group], m[2*r.group+1]}
				} else {
					for k := 2; k < len(m); k += 2 {
						if m[k+1] > m[k] {
							secret = [2]int{m[k], m[k+1]}
							break
						}
					}
				}
				mentions := false
				for i := range text {
					for w := range set.words.list {
						mentions = mentions || set.words.at(text, i, uint16(w)) && contains(set.byWord[w], r)
					}
				}
				if !mentions || !set.secret(r, text, secret, [2]int{m[0], m[1]}) {
					continue
				}
				tried++
				covered := false
				for _, f := range set.find(text, nil) {
					covered = covered || f.Start <= secret[0] && f.End >= secret[1]
				}
				if !covered {
					t.Errorf("%s: %q is not found in %q", r.id, text[secret[0]:secret[1]], text)
				}
			}
			if testing.Verbose() && tried == 0 {
				t.Logf("%s: no sample", r.id)
			}
		}
	}
}

func contains(list []*rule, r *rule) bool {
	for _, other := range list {
		if other == r {
			return true
		}
	}
	return false
}
