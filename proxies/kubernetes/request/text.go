package request

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/textproto"
	"strings"
)

// Read reads a request as it stands on the wire, or in a file that a person
// wrote: lines may end with LF alone, and the body is what follows the empty
// line, whatever Content-Length says.
func Read(text []byte) (Raw, error) {
	in := bufio.NewReader(bytes.NewReader(text))
	lines := textproto.NewReader(in)
	first, err := lines.ReadLine()
	if err != nil {
		return Raw{}, errors.New("read request: it is empty")
	}
	method, rest, ok := strings.Cut(first, " ")
	target, version, versioned := strings.Cut(rest, " ")
	if !ok || method == "" || target == "" || versioned && !strings.HasPrefix(version, "HTTP/") {
		return Raw{}, fmt.Errorf("read request: the first line is %q, want e.g. GET /api/v1/namespaces/default/pods HTTP/1.1", first)
	}
	header, err := lines.ReadMIMEHeader()
	if err != nil && !errors.Is(err, io.EOF) {
		return Raw{}, fmt.Errorf("read request: headers: %w", err)
	}
	body, err := io.ReadAll(in)
	if err != nil {
		return Raw{}, fmt.Errorf("read request: body: %w", err)
	}
	return Raw{Method: method, Target: target, Header: http.Header(header), Body: body}, nil
}
