package console

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
)

// decodeStrict reads exactly one JSON value without unknown fields.
func decodeStrict(raw []byte, into any) error {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields()
	if err := dec.Decode(into); err != nil {
		return newProblem(http.StatusBadRequest, ReasonMalformed, jsonMistake(err), "")
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return newProblem(http.StatusBadRequest, ReasonMalformed, "there is something after the JSON value", "")
	}
	return nil
}

// jsonMistake says what is wrong with a body without Go's names of types.
func jsonMistake(err error) string {
	var syntax *json.SyntaxError
	var wrong *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		return fmt.Sprintf("the body is not JSON (at byte %d)", syntax.Offset)
	case errors.As(err, &wrong):
		return fmt.Sprintf("%q cannot be a %s", wrong.Field, wrong.Value)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "the body ends too early"
	default:
		return "the body has a field that is not known or a value that cannot be read"
	}
}
