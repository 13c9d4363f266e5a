package identity

import (
	"slices"
	"strings"
	"time"

	"github.com/regate-dev/regate/engine/input"
)

// lastDate is the end of the year 9999, the last that RFC 3339 can write.
const lastDate = 253402300799

// numericDate reads an RFC 7519 NumericDate. ok is false where the claim is
// there and is not one.
func numericDate(claims map[string]any, name string) (t time.Time, present, ok bool) {
	v, present := claims[name]
	if !present {
		return time.Time{}, false, true
	}
	f, ok := v.(float64)
	if !ok || !(f >= 0 && f <= lastDate) {
		return time.Time{}, true, false
	}
	sec := int64(f)
	return time.Unix(sec, int64((f-float64(sec))*1e9)), true, true
}

// validity is when a token may be used.
type validity struct {
	notBefore time.Time // zero: no bound
	issuedAt  time.Time // zero: not said
	expires   time.Time
}

func readValidity(claims map[string]any) (validity, error) {
	var v validity
	var present, ok bool
	if v.expires, present, ok = numericDate(claims, "exp"); !ok {
		return v, Refusal(ReasonMalformed, nil)
	} else if !present {
		return v, Refusal(ReasonMissingClaim, nil)
	}
	if v.notBefore, _, ok = numericDate(claims, "nbf"); !ok {
		return v, Refusal(ReasonMalformed, nil)
	}
	if v.issuedAt, _, ok = numericDate(claims, "iat"); !ok {
		return v, Refusal(ReasonMalformed, nil)
	}
	return v, nil
}

// check compares the validity with the clock.
func (v validity) check(now time.Time, skew, maxAge time.Duration) error {
	switch {
	case !now.Before(v.expires.Add(skew)):
		return Refusal(ReasonExpired, nil)
	case now.Add(skew).Before(v.notBefore):
		return Refusal(ReasonNotYetValid, nil)
	case now.Add(skew).Before(v.issuedAt):
		return Refusal(ReasonNotYetValid, nil)
	case maxAge > 0 && v.issuedAt.IsZero():
		return Refusal(ReasonMissingClaim, nil)
	case maxAge > 0 && now.Add(-skew).After(v.issuedAt.Add(maxAge)):
		return Refusal(ReasonTooOld, nil)
	}
	return nil
}

// audiences reads aud: a string or a list of strings. Nil where it is neither.
func audiences(claims map[string]any) []string {
	switch v := claims["aud"].(type) {
	case string:
		return []string{v}
	case []any:
		list := make([]string, 0, len(v))
		for _, e := range v {
			s, ok := e.(string)
			if !ok {
				return nil
			}
			list = append(list, s)
		}
		return list
	}
	return nil
}

// mapping is a parsed Claims.
type mapping struct {
	groups, scopes, clientID []claimPath
	prefix                   string
	derive                   func(claims map[string]any) []string // groups that the profile adds
}

// collect gathers the strings at the paths, each split by split when not nil,
// sorted and without duplicates. Never nil.
func collect(claims map[string]any, paths []claimPath, split func(string) []string) []string {
	list := []string{}
	add := func(v any) {
		s, ok := v.(string)
		switch {
		case !ok || s == "":
		case split != nil:
			list = append(list, split(s)...)
		default:
			list = append(list, s)
		}
	}
	for _, p := range paths {
		switch v := p.in(claims).(type) {
		case []any:
			for _, e := range v {
				add(e)
			}
		default:
			add(v)
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// principal maps claims to a Principal. issuer and id are set by the caller.
func (m mapping) principal(claims map[string]any, expires time.Time) input.Principal {
	p := input.Principal{
		Groups:    collect(claims, m.groups, nil),
		Scopes:    collect(claims, m.scopes, strings.Fields),
		Claims:    claims,
		ExpiresAt: expires.UTC().Format(time.RFC3339),
	}
	if m.derive != nil {
		p.Groups = append(p.Groups, m.derive(claims)...)
		slices.Sort(p.Groups)
		p.Groups = slices.Compact(p.Groups)
	}
	if m.prefix != "" {
		for i, g := range p.Groups {
			p.Groups[i] = m.prefix + g
		}
	}
	for _, path := range m.clientID {
		if s, ok := path.in(claims).(string); ok && s != "" {
			p.ClientID = s
			break
		}
	}
	return p
}

// actor reads the outermost act claim (RFC 8693 section 4.1). It must name a
// sub; its iss is taken only where the configuration lets this issuer speak
// for it, else one issuer could pose as another's actors.
func (m mapping) actor(claims map[string]any, issuer string, accepted []string, expires time.Time) (*input.Principal, error) {
	v, present := claims["act"]
	if !present {
		return nil, nil
	}
	act, ok := v.(map[string]any)
	if !ok {
		return nil, Refusal(ReasonActor, nil)
	}
	sub, ok := act["sub"].(string)
	if !ok || sub == "" {
		return nil, Refusal(ReasonActor, nil)
	}
	iss := issuer
	if v, present := act["iss"]; present {
		s, ok := v.(string)
		if !ok || (s != issuer && !slices.Contains(accepted, s)) {
			return nil, Refusal(ReasonActor, nil)
		}
		iss = s
	}
	m.derive = nil // made from claims of the token, not of its actor
	p := m.principal(act, expires)
	p.ID, p.Issuer = sub, iss
	return &p, nil
}
