package rows

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

// FieldDescription is one column of a RowDescription message.
type FieldDescription struct {
	Name     []byte // part of the message's body
	TableOID uint32 // 0: not a column of a table
	Column   int16  // attribute number; 0: not a column of a table, or a whole row
	TypeOID  uint32
	TypeSize int16 // bytes; negative: variable
	TypeMod  int32
	Binary   bool // format code 1
}

// fieldSize is a FieldDescription after its name.
const fieldSize = 4 + 2 + 4 + 2 + 4 + 2

// ParseRowDescription reads the body of a RowDescription message into dst[:0].
// Names are parts of body.
func ParseRowDescription(dst []FieldDescription, body []byte) ([]FieldDescription, error) {
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
		f := FieldDescription{Name: b[:end:end]}
		b = b[end+1:]
		f.TableOID, f.Column = be.Uint32(b), int16(be.Uint16(b[4:]))
		f.TypeOID, f.TypeSize, f.TypeMod = be.Uint32(b[6:]), int16(be.Uint16(b[10:])), int32(be.Uint32(b[12:]))
		switch code := be.Uint16(b[16:]); code {
		case 0:
		case 1:
			f.Binary = true
		default:
			return dst[:0], fmt.Errorf("%w: format %d of column %d", ErrMalformed, code, i+1)
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
	if codes := body[3:]; len(codes) != r.Columns*2 {
		return CopyResponse{}, fmt.Errorf("%w: CopyResponse of %d columns in %d bytes", ErrMalformed, r.Columns, len(body))
	} else {
		for i := range r.Columns {
			if binary.BigEndian.Uint16(codes[i*2:]) != uint16(body[0]) {
				return CopyResponse{}, fmt.Errorf("%w: CopyResponse with different formats", ErrMalformed)
			}
		}
	}
	return r, nil
}

// putLength writes a message's length, which counts itself.
func putLength(b []byte, n int) { binary.BigEndian.PutUint32(b, uint32(n)) }
