package request

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"strings"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/zstd"
)

// maxRatio is how much larger a body may get when its coding is taken off.
const maxRatio = 100

// zstdWindow bounds the memory of one zstd reader, in bytes.
const zstdWindow = 8 << 20

// Decoded returns a reader of r without its content coding. The error is a
// *Refusal: the coding is not known, or there is more than one.
func Decoded(r io.Reader, coding string) (io.ReadCloser, error) {
	switch strings.ToLower(strings.TrimSpace(coding)) {
	case "", "identity":
		return io.NopCloser(r), nil
	case "gzip", "x-gzip":
		z, err := gzip.NewReader(r)
		if err != nil {
			return nil, refuse(ReasonBodyCoding, "", "the body is not gzip")
		}
		return z, nil
	case "br":
		return io.NopCloser(brotli.NewReader(r)), nil
	case "zstd":
		z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(zstdWindow))
		if err != nil {
			return nil, refuse(ReasonBodyCoding, "", "the body is not zstd")
		}
		return z.IOReadCloser(), nil
	}
	return nil, refuse(ReasonBodyCoding, "Send the body as it is, or in gzip, br or zstd.", "the content coding %q cannot be taken off", clip(coding))
}

// decode takes the content coding off a whole body, of at most limit bytes
// then.
func decode(body []byte, coding string, limit int64) ([]byte, error) {
	if coding == "" || strings.EqualFold(coding, "identity") {
		return body, nil
	}
	r, err := Decoded(bytes.NewReader(body), coding)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	ratio := int64(len(body)+1024) * maxRatio
	out, err := io.ReadAll(io.LimitReader(r, min(limit, ratio)+1))
	switch {
	case int64(len(out)) > limit:
		return nil, refuse(ReasonBodyTooLarge, "Send less in one request.", "the body is larger than %d bytes without its coding", limit)
	case int64(len(out)) > ratio:
		return nil, refuse(ReasonBodyRatio, "", "the body grows more than %d times when its coding is taken off", maxRatio)
	case errors.Is(err, zstd.ErrWindowSizeExceeded):
		return nil, refuse(ReasonBodyRatio, "", "the body's coding needs too much memory")
	case err != nil:
		return nil, refuse(ReasonBodyCoding, "", "the body is not what its content coding says")
	}
	return out, nil
}
