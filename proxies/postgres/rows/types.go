package rows

// Object ids of PostgreSQL's own types, from its pg_type.dat. They never
// change between versions.
const (
	oidBool         = 16
	oidBytea        = 17
	oidName         = 19
	oidInt8         = 20
	oidInt2         = 21
	oidInt4         = 23
	oidText         = 25
	oidOID          = 26
	oidJSON         = 114
	oidXML          = 142
	oidFloat4       = 700
	oidFloat8       = 701
	oidUnknown      = 705
	oidBPChar       = 1042
	oidVarchar      = 1043
	oidDate         = 1082
	oidTime         = 1083
	oidTimestamp    = 1114
	oidTimestampTZ  = 1184
	oidInterval     = 1186
	oidTimeTZ       = 1266
	oidNumeric      = 1700
	oidRefcursor    = 1790
	oidRecord       = 2249
	oidCstring      = 2275
	oidUUID         = 2950
	oidJSONB        = 3802
	oidInt4Range    = 3904
	oidNumRange     = 3906
	oidInt8Range    = 3926
	oidInt4Multi    = 4451
	oidNumMulti     = 4532
	oidInt8Multi    = 4536
	arrayHeaderSize = 12 // dimensions, flags, element type: int32 each
)

// class is what a column's values may be replaced by.
type class uint8

const (
	classOther class = iota // nothing but NULL
	classText               // any text, the same in both formats
	classJSON               // a JSON string
	classJSONB              // a JSON string, in binary format after a version byte
)

func classify(c *Column) class {
	switch c.TypeOID {
	case oidText, oidVarchar, oidBPChar, oidName, oidXML, oidUnknown, oidRefcursor, oidCstring:
		return classText
	case oidJSON:
		return classJSON
	case oidJSONB:
		return classJSONB
	}
	if c.Text {
		return classText
	}
	return classOther
}

// barren types cannot hold what a detector looks for: truth values, dates and
// times. Looking there would only find phone numbers in timestamps.
func barren(oid uint32) bool {
	switch oid {
	case oidBool, oidDate, oidTime, oidTimeTZ, oidTimestamp, oidTimestampTZ, oidInterval:
		return true
	}
	return false
}
