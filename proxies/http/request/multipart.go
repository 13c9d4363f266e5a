package request

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"strings"
	"unicode/utf8"

	"github.com/regate-dev/regate/engine/input"
)

// Bounds of a multipart body.
const (
	maxParts = 200
	maxValue = 64 << 10 // of a field that is shown to policies
)

// readMultipart reads a multipart/form-data body.
func readMultipart(body []byte, boundary string, b *input.HTTPBody, lists []string) error {
	bad := func(why string) error {
		return refuse(ReasonMultipart, "Send it as a browser's form would be.", "the multipart body cannot be read: %s", why)
	}
	if boundary == "" || len(boundary) > 70 {
		return bad("its boundary is missing or too long")
	}
	if !bytes.HasPrefix(body, []byte("--"+boundary+"\r\n")) && !bytes.Equal(bytes.TrimRight(body, "\r\n"), []byte("--"+boundary+"--")) {
		return bad("something comes before the first part")
	}
	if end := bytes.TrimRight(body, "\r\n"); !bytes.HasSuffix(end, []byte("\r\n--"+boundary+"--")) && !bytes.Equal(end, []byte("--"+boundary+"--")) {
		return bad("something comes after the last part, or it has no end")
	}
	// A line that begins as a boundary does and goes on is one to some readers.
	for line := range bytes.SplitSeq(body, []byte("\n")) {
		rest, found := bytes.CutPrefix(line, []byte("--"+boundary))
		if found && string(rest) != "\r" && string(rest) != "--\r" && string(rest) != "--" {
			return bad("a line is a boundary and more")
		}
	}
	r := multipart.NewReader(bytes.NewReader(body), boundary)
	for {
		part, err := r.NextRawPart()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return bad("a part has no proper head or end")
		}
		if len(b.Parts) >= maxParts {
			return refuse(ReasonTooLong, "", "the body has more than %d parts", maxParts)
		}
		for name, values := range part.Header {
			switch {
			case len(values) > 1:
				return bad("a part has the header " + clip(name) + " twice")
			case name == "Content-Transfer-Encoding" && !strings.EqualFold(values[0], "binary") && !strings.EqualFold(values[0], "8bit") && !strings.EqualFold(values[0], "7bit"):
				return bad("a part has a Content-Transfer-Encoding")
			case name != "Content-Disposition" && name != "Content-Type" && name != "Content-Transfer-Encoding" && name != "Content-Length":
				return bad("a part has the header " + clip(name))
			}
		}
		disposition := part.Header.Get("Content-Disposition")
		kind, params, err := mime.ParseMediaType(disposition)
		name, named := params["name"]
		switch {
		case err != nil || kind != "form-data" || !named || name == "":
			return bad("a part has no name")
		case strings.Contains(strings.ToLower(disposition), "name*"):
			return bad("a part has its name in an encoding of its own")
		case !utf8.ValidString(disposition):
			return bad("a part's name is not UTF-8")
		}
		media, mediaParams, err := mime.ParseMediaType(part.Header.Get("Content-Type"))
		if part.Header.Get("Content-Type") != "" && err != nil || strings.HasPrefix(media, "multipart/") || strings.HasPrefix(media, "message/") {
			return bad("a part has a content type that is not proper, or is multipart itself")
		}
		if !utf8Charset(mediaParams["charset"]) {
			return bad("a part is of another charset than UTF-8")
		}
		content, err := io.ReadAll(part)
		if err != nil {
			return bad("a part has no end")
		}
		entry := input.HTTPPart{Name: name, Type: media, Size: int64(len(content)), Digest: input.Digest(sha256.Sum256(content)).String()}
		if filename, ok := params["filename"]; ok {
			entry.Filename = &filename
		} else {
			if !utf8.Valid(content) {
				return bad("the field " + clip(name) + " is not UTF-8")
			}
			if len(content) > maxValue {
				return refuse(ReasonBodyTooLarge, "", "the field %s is longer than %d bytes", clip(name), maxValue)
			}
			if len(b.Form[name]) > 0 && !mayRepeat(name, lists) {
				return bad("the field " + clip(name) + " is there twice")
			}
			b.Form[name] = append(b.Form[name], string(content))
		}
		b.Parts = append(b.Parts, entry)
	}
}

func utf8Charset(charset string) bool {
	return charset == "" || strings.EqualFold(charset, "utf-8") || strings.EqualFold(charset, "utf8") || strings.EqualFold(charset, "us-ascii")
}
