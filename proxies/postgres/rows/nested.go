package rows

import "encoding/binary"

// rangeOf is the type of the bounds of ranges of numbers, whose bytes say
// nothing to a detector.
func rangeOf(oid uint32) (uint32, bool) {
	switch oid {
	case oidInt4Range:
		return oidInt4, true
	case oidInt8Range:
		return oidInt8, true
	case oidNumRange:
		return oidNumeric, true
	}
	return 0, false
}

// multirangeOf is the range type of a multirange.
func multirangeOf(oid uint32) (uint32, bool) {
	switch oid {
	case oidInt4Multi:
		return oidInt4Range, true
	case oidInt8Multi:
		return oidInt8Range, true
	case oidNumMulti:
		return oidNumRange, true
	}
	return 0, false
}

// The binary forms that hold values of other types. Each function calls look
// with every value, or with none where v does not have the form to its last
// byte: what type an unknown OID is can only be told by its form.

// fields reads values behind their lengths. It is false where v does not end
// with one; a negative length is a NULL.
func fields(v []byte, look func([]byte)) bool {
	for len(v) > 0 {
		if len(v) < 4 {
			return false
		}
		n := int(int32(binary.BigEndian.Uint32(v)))
		v = v[4:]
		if n > len(v) {
			return false
		}
		if n > 0 {
			if look != nil {
				look(v[:n])
			}
			v = v[n:]
		}
	}
	return true
}

// eachElement reads an array: dimensions, flags, element type, then size and
// lower bound of each dimension, then the elements.
func eachElement(v []byte, look func(oid uint32, v []byte)) {
	if len(v) < arrayHeaderSize {
		return
	}
	dimensions, flags := binary.BigEndian.Uint32(v), binary.BigEndian.Uint32(v[4:])
	oid := binary.BigEndian.Uint32(v[8:])
	v = v[arrayHeaderSize:]
	if dimensions > 6 || flags > 1 || len(v) < int(dimensions)*8 {
		return
	}
	if v = v[dimensions*8:]; fields(v, nil) {
		fields(v, func(v []byte) { look(oid, v) })
	}
}

// eachAttribute reads a composite: the number of attributes, then type, length
// and value of each.
func eachAttribute(v []byte, look func(oid uint32, v []byte)) {
	if len(v) < 4 {
		return
	}
	count := binary.BigEndian.Uint32(v)
	v = v[4:]
	if uint64(count)*8 > uint64(len(v)) {
		return
	}
	walk := func(v []byte, look func(oid uint32, v []byte)) bool {
		for range count {
			if len(v) < 8 {
				return false
			}
			oid := binary.BigEndian.Uint32(v)
			n := int(int32(binary.BigEndian.Uint32(v[4:])))
			v = v[8:]
			if n > len(v) {
				return false
			}
			if n > 0 {
				if look != nil {
					look(oid, v[:n])
				}
				v = v[n:]
			}
		}
		return len(v) == 0
	}
	if walk(v, nil) {
		walk(v, look)
	}
}

// eachBound reads a range: flags, then the bounds behind their lengths.
func eachBound(v []byte, look func([]byte)) {
	if len(v) > 1 && fields(v[1:], nil) {
		fields(v[1:], look)
	}
}

// eachRange reads a multirange: their number, then the ranges behind their
// lengths.
func eachRange(v []byte, look func([]byte)) {
	if len(v) > 4 && fields(v[4:], nil) {
		fields(v[4:], look)
	}
}

// blankLengths appends v, byte for byte as long, with what may be the length
// of the value after it turned into spaces: a length of 49 to 57 looks like a
// digit in front of a card number, and would hide it.
func blankLengths(dst, v []byte) []byte {
	base := len(dst)
	dst = append(dst, v...)
	out := dst[base:]
	for i := 0; i+4 < len(out); i++ {
		if out[i] != 0 {
			continue
		}
		n := int(binary.BigEndian.Uint32(out[i:]))
		if n > 0 && n <= len(out)-i-4 {
			copy(out[i:], "    ")
			i += 3
		}
	}
	return dst
}

// Signs of the binary form of numeric.
const (
	numericPositive = 0x0000
	numericNegative = 0x4000
)

// numericText appends the decimal digits of a numeric: number of digits,
// weight of the first, sign, scale, then digits of base 10,000. It is false
// for NaN, infinity and what is malformed.
func numericText(dst, v []byte) ([]byte, bool) {
	if len(v) < 8 {
		return dst, false
	}
	be := binary.BigEndian
	count, weight, sign := int(be.Uint16(v)), int(int16(be.Uint16(v[2:]))), be.Uint16(v[4:])
	if v = v[8:]; len(v) != count*2 || (sign != numericPositive && sign != numericNegative) {
		return dst, false
	}
	if sign == numericNegative {
		dst = append(dst, '-')
	}
	if weight < 0 {
		dst = append(dst, '0', '.')
		for range -weight - 1 {
			dst = append(dst, "0000"...)
		}
	}
	started := false
	for i := 0; i < count || i <= weight; i++ {
		var d uint16
		if i < count {
			d = be.Uint16(v[i*2:])
		}
		digits := [4]byte{byte('0' + d/1000%10), byte('0' + d/100%10), byte('0' + d/10%10), byte('0' + d%10)}
		first := 0
		for !started && weight >= 0 && first < 3 && digits[first] == '0' {
			first++
		}
		started = true
		dst = append(dst, digits[first:]...)
		if i == weight && i+1 < count {
			dst = append(dst, '.')
		}
	}
	return dst, true
}
