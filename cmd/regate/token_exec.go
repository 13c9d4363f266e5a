package main

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/pkg/apis/clientauthentication/v1"
)

// execCredential is a token as Kubernetes' clients take it from a program that
// their kubeconfig names. They ask again when it has expired.
func execCredential(token string) ([]byte, error) {
	c := v1.ExecCredential{
		TypeMeta: metav1.TypeMeta{APIVersion: v1.SchemeGroupVersion.String(), Kind: "ExecCredential"},
		Status:   &v1.ExecCredentialStatus{Token: token},
	}
	if at := tokenExpiry(token); !at.IsZero() {
		c.Status.ExpirationTimestamp = &metav1.Time{Time: at}
	}
	return json.Marshal(c)
}

// tokenExpiry reads when a JWT expires, without verifying it: the gateway does
// that. It is zero for a token that does not say.
func tokenExpiry(token string) time.Time {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return time.Time{}
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return time.Time{}
	}
	var claims struct {
		Expires float64 `json:"exp"`
	}
	if json.Unmarshal(payload, &claims) != nil || claims.Expires <= 0 {
		return time.Time{}
	}
	return time.Unix(int64(claims.Expires), 0).UTC()
}
