package record

import "testing"

func TestRequestLine(t *testing.T) {
	for raw, want := range map[string]string{
		`{"method":"GET","scheme":"https","host":"a.example","port":443,"raw_path":"/x","raw_query":""}`:       "GET https://a.example/x",
		`{"method":"POST","scheme":"http","host":"a.example","port":8080,"raw_path":"/x","raw_query":"b=%20"}`: "POST http://a.example:8080/x?b=%20",
		`{"method":"tools/call","params":{"arguments":{"a":1},"name":"t"}}`:                                    `tools/call {"arguments":{"a":1},"name":"t"}`,
		`{"method":"ping","params":null}`: "ping",
		`null`:                            "",
	} {
		if got := requestLine([]byte(raw)); got != want {
			t.Errorf("%s: %q, want %q", raw, got, want)
		}
	}
}
