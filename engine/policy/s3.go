package policy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/topdown"
)

// s3Signer signs requests with given credentials. OPA's own plugin takes them
// from the environment, files and services only; its signing is reached here
// through the built-in function of the same code.
type s3Signer struct {
	accessKey, secretKey, region string
}

const signBuiltin = "providers.aws.sign_req"

func (s *s3Signer) sign(r *http.Request, now time.Time) error {
	sign := topdown.GetBuiltin(signBuiltin)
	if sign == nil {
		return errors.New("sign request: OPA has no " + signBuiltin)
	}
	request := map[string]any{"method": r.Method, "url": r.URL.String(), "headers": map[string]any{}}
	config := map[string]any{
		"aws_service": "s3", "aws_region": s.region, "aws_access_key": s.accessKey, "aws_secret_access_key": s.secretKey,
	}
	var operands []*ast.Term
	for _, v := range []any{request, config, now.UnixNano()} {
		value, err := ast.InterfaceToValue(v)
		if err != nil {
			return fmt.Errorf("sign request: %w", err)
		}
		operands = append(operands, ast.NewTerm(value))
	}
	var signed struct {
		Headers map[string]string `json:"headers"`
	}
	err := sign(topdown.BuiltinContext{Context: context.WithoutCancel(r.Context())}, operands, func(t *ast.Term) error {
		v, err := ast.JSON(t.Value)
		if err != nil {
			return err
		}
		raw, err := json.Marshal(v)
		if err != nil {
			return err
		}
		return json.Unmarshal(raw, &signed)
	})
	if err != nil {
		return fmt.Errorf("sign request: %w", err)
	}
	if signed.Headers["Authorization"] == "" {
		return errors.New("sign request: no signature came back")
	}
	for k, v := range signed.Headers {
		if k != "host" && k != "Host" {
			r.Header.Set(k, v)
		}
	}
	return nil
}
