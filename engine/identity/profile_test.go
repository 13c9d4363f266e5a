package identity_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/regate-dev/regate/engine/identity"
	"github.com/regate-dev/regate/engine/identity/identitytest"
)

// The claims below have the shape of real tokens: the names, types and forms
// that each issuer documents, with made-up values.

// kubernetesToken is a projected service-account token as the API server of
// Kubernetes 1.32 issues it: no typ in the header, a list in aud.
func kubernetesToken(t *testing.T, iss *identitytest.Issuer, now time.Time, change map[string]any) string {
	claims := map[string]any{
		"aud": []string{audience}, "exp": now.Add(time.Hour).Unix(), "iat": now.Unix(), "iss": iss.URL,
		"jti": "6e2b9a52-6c4e-4d2f-9b0b-0c0a0f6f7b11",
		"kubernetes.io": map[string]any{
			"namespace":      "reporting",
			"node":           map[string]any{"name": "worker-2", "uid": "5f7d8d0e-3f7e-4f0a-8a0e-2a3c7f0f0b22"},
			"pod":            map[string]any{"name": "agent-7c9f6d5b8-x2k4q", "uid": "0b9d1f0c-7f59-4f57-a9f5-0f8f6d1c2a33"},
			"serviceaccount": map[string]any{"name": "agent", "uid": "a7c1c0de-55ab-4f7e-9d0a-6f1f5a2b3c44"},
			"warnafter":      now.Add(50 * time.Minute).Unix(),
		},
		"nbf": now.Unix(), "sub": "system:serviceaccount:reporting:agent",
	}
	return sign(t, iss, map[string]any{"alg": "RS256"}, claims, change)
}

// githubToken is what GitHub Actions gives a job with `id-token: write`.
func githubToken(t *testing.T, iss *identitytest.Issuer, now time.Time, change map[string]any) string {
	claims := map[string]any{
		"jti": "0e1e0c6b-7f0c-4b5e-8d0e-4d7b6a5c3d55", "sub": "repo:acme/reports:environment:prod", "aud": audience,
		"ref": "refs/heads/main", "sha": "1b6453892473a467d07372d45eb05abc2031647a", "repository": "acme/reports",
		"repository_owner": "acme", "repository_owner_id": "65", "repository_id": "74", "run_id": "1234567890", "run_number": "10", "run_attempt": "2",
		"repository_visibility": "private", "actor_id": "12", "actor": "octo", "workflow": "nightly", "head_ref": "", "base_ref": "",
		"event_name": "schedule", "ref_protected": "true", "ref_type": "branch", "environment": "prod",
		"workflow_ref": "acme/reports/.github/workflows/nightly.yml@refs/heads/main", "job_workflow_ref": "acme/automation/.github/workflows/agent.yml@refs/tags/v3",
		"runner_environment": "github-hosted", "enterprise": "acme-inc", "iss": iss.URL,
		"nbf": now.Add(-10 * time.Minute).Unix(), "exp": now.Add(5 * time.Minute).Unix(), "iat": now.Unix(),
	}
	return sign(t, iss, map[string]any{"alg": "RS256", "typ": "JWT", "x5t": "eBZ_cn3sXYAd0ch4THBKHIgOwOE"}, claims, change)
}

// svid is a JWT-SVID as SPIRE issues it: no jti, and iss only where configured.
func svid(t *testing.T, iss *identitytest.Issuer, now time.Time, change map[string]any) string {
	claims := map[string]any{
		"aud": []string{audience}, "exp": now.Add(5 * time.Minute).Unix(), "iat": now.Unix(), "sub": "spiffe://acme.example/ns/reporting/sa/agent",
	}
	return sign(t, iss, map[string]any{"alg": "RS256", "typ": "JWT"}, claims, change)
}

func sign(t *testing.T, iss *identitytest.Issuer, header, claims, change map[string]any) string {
	t.Helper()
	for k, v := range change {
		claims[k] = v
		if v == nil {
			delete(claims, k)
		}
	}
	k := iss.Key()
	header["kid"] = k.KID
	return k.Sign(t, header, claims)
}

func rsaIssuer(t *testing.T) *identitytest.Issuer {
	iss := identitytest.New(t)
	iss.AddKey(identitytest.NewKey(t, "rsa", "RS256"))
	return iss
}

func TestKubernetesServiceAccount(t *testing.T) {
	iss, c := rsaIssuer(t), newClock()
	cfg := config(iss)
	cfg.Profile = identity.ProfileKubernetes
	cfg.RequiredClaims = map[string][]string{"/kubernetes.io/namespace": {"reporting", "team-*"}}
	v := open(t, c, cfg)
	id, err := v.Verify(t.Context(), kubernetesToken(t, iss, c.Now(), nil))
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(id.Subject.ID, id.Subject.ClientID, id.Subject.Groups); got != "system:serviceaccount:reporting:agentsystem:serviceaccount:reporting:agent[system:authenticated system:serviceaccounts system:serviceaccounts:reporting]" {
		t.Error(got)
	}
	for name, change := range map[string]map[string]any{
		"another namespace":         {"kubernetes.io": map[string]any{"namespace": "default"}, "sub": "system:serviceaccount:default:agent"},
		"a user":                    {"sub": "alice"},
		"no kubernetes.io":          {"kubernetes.io": nil},
		"a dotted name in its way ": {"kubernetes.io": nil, "kubernetes": map[string]any{"io": map[string]any{"namespace": "reporting"}}},
		"a Secret's, without exp":   {"exp": nil},
	} {
		token := kubernetesToken(t, iss, c.Now(), change)
		_, err := v.Verify(t.Context(), token)
		if err == nil {
			t.Errorf("%s: accepted", name)
			continue
		}
		refused(t, err, identity.ReasonMissingClaim, token)
	}
}

func TestGitHubActions(t *testing.T) {
	iss, c := rsaIssuer(t), newClock()
	cfg := config(iss)
	cfg.Profile = identity.ProfileGitHubActions
	cfg.RequiredClaims = map[string][]string{
		"repository_owner_id": {"65"},
		"sub":                 {"repo:acme/*:environment:prod", "repo:acme/*:ref:refs/heads/main"},
	}
	v := open(t, c, cfg)
	id, err := v.Verify(t.Context(), githubToken(t, iss, c.Now(), nil))
	if err != nil {
		t.Fatal(err)
	}
	want := "[environment:prod event_name:schedule job_workflow_ref:acme/automation/.github/workflows/agent.yml@refs/tags/v3 ref:refs/heads/main repository:acme/reports repository_owner:acme repository_visibility:private runner_environment:github-hosted]"
	if got := fmt.Sprint(id.Subject.Groups); got != want || id.Subject.ClientID != "acme/reports" || id.Subject.ID != "repo:acme/reports:environment:prod" {
		t.Errorf("%s %+v", got, id.Subject)
	}
	for name, change := range map[string]map[string]any{
		"another owner":             {"repository_owner_id": "66"},
		"an owner of the same name": {"repository_owner_id": "650"},
		"a pull request":            {"sub": "repo:acme/reports:pull_request"},
		"a name that starts alike":  {"sub": "repo:acme-evil/reports:environment:prod"},
		"an environment alike":      {"sub": "repo:acme/reports:environment:production"},
		"no repository":             {"repository": nil},
	} {
		token := githubToken(t, iss, c.Now(), change)
		_, err := v.Verify(t.Context(), token)
		if err == nil {
			t.Errorf("%s: accepted", name)
			continue
		}
		refused(t, err, identity.ReasonMissingClaim, token)
	}
}

func TestSPIFFE(t *testing.T) {
	iss, other, c := rsaIssuer(t), rsaIssuer(t), newClock()
	cfg := identity.Issuer{
		Name: "spire", Profile: identity.ProfileSPIFFE, TrustDomain: "acme.example", JWKSURL: iss.URL + "/keys", Audiences: []string{audience}, InsecureHTTP: true,
	}
	federated := cfg
	federated.Name, federated.TrustDomain, federated.JWKSURL, federated.URL = "other", "other.example", other.URL+"/keys", other.URL
	v := open(t, c, cfg, federated)
	id, err := v.Verify(t.Context(), svid(t, iss, c.Now(), nil))
	if err != nil {
		t.Fatal(err)
	}
	if s := id.Subject; s.ID != "spiffe://acme.example/ns/reporting/sa/agent" || s.Issuer != "spiffe://acme.example" || s.ClientID != s.ID || id.IssuerName != "spire" {
		t.Errorf("got %+v of %s", s, id.IssuerName)
	}
	for _, change := range []map[string]any{nil, {"iss": other.URL}} {
		if change == nil {
			change = map[string]any{}
		}
		change["sub"] = "spiffe://other.example/agent"
		if id, err = v.Verify(t.Context(), svid(t, other, c.Now(), change)); err != nil || id.IssuerName != "other" || id.Subject.Issuer != other.URL {
			t.Errorf("the other trust domain with %v: %+v, %v", change, id, err)
		}
	}
	for name, tc := range map[string]struct {
		by     *identitytest.Issuer
		change map[string]any
		want   string
	}{
		"of a trust domain by another's key":   {other, nil, identity.ReasonBadSignature},
		"of another's domain under its iss":    {other, map[string]any{"iss": other.URL}, identity.ReasonMissingClaim},
		"a trust domain that starts alike":     {iss, map[string]any{"sub": "spiffe://acme.example.evil/x"}, identity.ReasonUnknownIssuer},
		"an unknown trust domain":              {iss, map[string]any{"sub": "spiffe://evil.example/x"}, identity.ReasonUnknownIssuer},
		"a sub that is no SPIFFE ID":           {iss, map[string]any{"sub": "agent"}, identity.ReasonUnknownIssuer},
		"no audience":                          {iss, map[string]any{"aud": nil}, identity.ReasonWrongAudience},
		"no exp":                               {iss, map[string]any{"exp": nil}, identity.ReasonMissingClaim},
		"no sub":                               {iss, map[string]any{"sub": nil}, identity.ReasonUnknownIssuer},
		"an iss that is not configured for it": {iss, map[string]any{"iss": iss.URL}, identity.ReasonUnknownIssuer},
	} {
		t.Run(name, func(t *testing.T) {
			token := svid(t, tc.by, c.Now(), tc.change)
			_, err := v.Verify(t.Context(), token)
			refused(t, err, tc.want, token)
		})
	}
	// A bundle marks its keys with use jwt-svid, and has X.509 keys beside.
	bundle := identitytest.New(t)
	key := identitytest.NewKey(t, "svid-key", "ES256")
	bundle.AddKey(key)
	raw := string(key.JWK())
	bundle.SetDocument([]byte(`{"spiffe_sequence":1,"spiffe_refresh_hint":300,"keys":[` +
		strings.Replace(raw, `"use":"sig"`, `"use":"jwt-svid"`, 1) + `,` + strings.Replace(string(identitytest.NewKey(t, "", "ES256").JWK()), `"use":"sig"`, `"use":"x509-svid"`, 1) + `]}`))
	cfg.JWKSURL = bundle.URL + "/keys"
	token := key.Sign(t, map[string]any{"alg": "ES256", "kid": "svid-key"}, map[string]any{
		"aud": audience, "exp": c.Now().Add(time.Minute).Unix(), "sub": "spiffe://acme.example/agent",
	})
	if _, err := open(t, c, cfg).Verify(t.Context(), token); err != nil {
		t.Errorf("a key of a SPIFFE bundle: %v", err)
	}
}
