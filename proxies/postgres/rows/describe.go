package rows

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

// FieldDescription is one column of a RowDescription message.
type FieldDescription struct {
	Name                 string
	TableOID             uint32 // 0: not a column of a table
	TableAttributeNumber int16  // 0: not a column of a table, or a whole row
	TypeOID              uint32
	TypeSize             int16 // bytes; negative: variable
	TypeModifier         int32
	Format               int16 // 0 text, 1 binary
}

// fieldSize is a FieldDescription after its name.
const fieldSize = 4 + 2 + 4 + 2 + 4 + 2

// ParseRowDescription reads the body of a RowDescription message into dst[:0].
// Where dst held a column of the same name before, nothing is allocated.
func ParseRowDescription(dst []FieldDescription, body []byte) ([]FieldDescription, error) {
	old := dst[:cap(dst)]
	dst = dst[:0]
	be := binary.BigEndian
	if len(body) < 2 {
		return dst, fmt.Errorf("%w: RowDescription of %d bytes", ErrMalformed, len(body))
	}
	n, b := int(be.Uint16(body)), body[2:]
	for i := range n {
		end := bytes.IndexByte(b, 0)
		if end < 0 || len(b)-end-1 < fieldSize {
			return dst[:0], fmt.Errorf("%w: RowDescription ends within column %d of %d", ErrMalformed, i+1, n)
		}
		var f FieldDescription
		if name := b[:end]; i < len(old) && old[i].Name == string(name) {
			f.Name = old[i].Name
		} else {
			f.Name = string(name)
		}
		b = b[end+1:]
		f.TableOID, f.TableAttributeNumber = be.Uint32(b), int16(be.Uint16(b[4:]))
		f.TypeOID, f.TypeSize = be.Uint32(b[6:]), int16(be.Uint16(b[10:]))
		f.TypeModifier, f.Format = int32(be.Uint32(b[12:])), int16(be.Uint16(b[16:]))
		if f.Format != 0 && f.Format != 1 {
			return dst[:0], fmt.Errorf("%w: format %d of column %d", ErrMalformed, f.Format, i+1)
		}
		b = b[fieldSize:]
		dst = append(dst, f)
	}
	if len(b) > 0 {
		return dst[:0], fmt.Errorf("%w: %d bytes after the last column of a RowDescription", ErrMalformed, len(b))
	}
	return dst, nil
}

// CopyResponse is a CopyOutResponse or CopyInResponse message.
type CopyResponse struct {
	Binary  bool // every column is
	Columns int
}

// ParseCopyResponse reads the body of a CopyOutResponse or CopyInResponse.
// COPY has one format for all columns; anything else is an error.
func ParseCopyResponse(body []byte) (CopyResponse, error) {
	if len(body) < 3 || body[0] > 1 {
		return CopyResponse{}, fmt.Errorf("%w: CopyResponse", ErrMalformed)
	}
	r := CopyResponse{Binary: body[0] == 1, Columns: int(binary.BigEndian.Uint16(body[1:]))}
	codes := body[3:]
	if len(codes) != r.Columns*2 {
		return CopyResponse{}, fmt.Errorf("%w: CopyResponse of %d columns in %d bytes", ErrMalformed, r.Columns, len(body))
	}
	for i := range r.Columns {
		if binary.BigEndian.Uint16(codes[i*2:]) != uint16(body[0]) {
			return CopyResponse{}, fmt.Errorf("%w: CopyResponse with different formats", ErrMalformed)
		}
	}
	return r, nil
}

// putLength writes a message's length, which counts itself.
func putLength(b []byte, n int) { binary.BigEndian.PutUint32(b, uint32(n)) }
