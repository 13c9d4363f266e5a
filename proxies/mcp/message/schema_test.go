package message

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

func toolWith(t *testing.T, schema string) *Tool {
	t.Helper()
	tool, err := ReadTool([]byte(`{"name":"a","inputSchema":` + schema + `}`))
	if err != nil {
		t.Fatal(err)
	}
	return tool
}

func TestFits(t *testing.T) {
	for _, c := range []struct{ schema, arguments, want string }{
		{`{"type":"object","properties":{"n":{"type":"integer","minimum":1}},"required":["n"],"additionalProperties":false}`, `{"n":1}`, "true"},
		{`{"type":"object","properties":{"n":{"type":"integer","minimum":1}},"required":["n"],"additionalProperties":false}`, `{"n":0}`, "false"},
		{`{"type":"object","properties":{"n":{"type":"integer"}},"required":["n"]}`, ``, "false"},
		{`{"$schema":"http://json-schema.org/draft-07/schema#","type":"object","definitions":{"s":{"type":"string"}},"properties":{"a":{"$ref":"#/definitions/s"}}}`, `{"a":1}`, "false"},
		{`{"type":"object","properties":{"a":{"$ref":"https://evil.example/schema"}}}`, `{"a":1}`, "unknown"},
		{`{"$schema":"https://json-schema.org/draft/2030/schema","type":"object"}`, `{"a":1}`, "unknown"},
		{`null`, `{"a":1}`, "unknown"},
		{`{"type":"object","$defs":{"l":{"type":"object","properties":{"next":{"$ref":"#/$defs/l"}},"additionalProperties":false}},"$ref":"#/$defs/l"}`, `{"next":{"next":{}}}`, "true"},
	} {
		fits, _ := toolWith(t, c.schema).Fits([]byte(c.arguments))
		got := "unknown"
		if fits != nil {
			got = fmt.Sprint(*fits)
		}
		if got != c.want {
			t.Errorf("%s of %s: %s, want %s", c.arguments, c.schema, got, c.want)
		}
	}
}

// A schema whose references multiply is not followed.
func TestSchemaThatMultiplies(t *testing.T) {
	var defs []string
	for i := range 40 {
		defs = append(defs, fmt.Sprintf(`"d%d":{"allOf":[{"$ref":"#/$defs/d%d"},{"$ref":"#/$defs/d%d"}]}`, i, i+1, i+1))
	}
	defs = append(defs, `"d40":{"type":"object"}`)
	tool := toolWith(t, `{"$defs":{`+strings.Join(defs, ",")+`},"$ref":"#/$defs/d0"}`)
	done := make(chan *bool, 1)
	go func() {
		fits, _ := tool.Fits([]byte(`{}`))
		done <- fits
	}()
	select {
	case fits := <-done:
		if fits != nil {
			t.Errorf("%v", *fits)
		}
	case <-time.After(time.Minute):
		t.Fatal("it takes too long")
	}
	deep := strings.Repeat(`{"next":`, 50) + "{}" + strings.Repeat("}", 50)
	tool = toolWith(t, `{"$defs":{"l":{"properties":{"next":{"allOf":[{"$ref":"#/$defs/l"},{"$ref":"#/$defs/l"}]}}}},"$ref":"#/$defs/l"}`)
	if fits, _ := tool.Fits([]byte(deep)); fits != nil {
		t.Errorf("deep: %v", *fits)
	}
}
