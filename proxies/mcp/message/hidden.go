package message

import (
	"regexp"
	"slices"
	"unicode"
)

// The findings of Hidden.
const (
	FoundTags         = "tag-characters" // U+E0000–E007F: ASCII that nobody sees
	FoundZeroWidth    = "zero-width"
	FoundBidi         = "bidi" // text that reads in another order than it is
	FoundANSI         = "ansi" // escape sequences of terminals
	FoundControl      = "control"
	FoundInstructions = "instructions" // words that speak to the model instead of about the tool
)

func invisible(r rune) bool {
	switch {
	case r >= 0xE0000 && r <= 0xE0FFF, r >= 0x200B && r <= 0x200F, r >= 0x202A && r <= 0x202E, r >= 0x2060 && r <= 0x2069, r == 0xFEFF, r == 0xAD, r == 0x180E, r == 0x034F:
		return true
	}
	return false
}

// instructions are how descriptions that poison a tool speak. It is a net, not
// a wall: what a model may be told has no end.
var instructions = regexp.MustCompile(`(?i)<\s*/?\s*(important|system|instructions?|secret|hidden|admin)\s*>|ignore (all |any |the )?(previous|prior|above|earlier)|disregard (all |any |the )?(previous|prior|above)|do not (tell|mention|inform|reveal|show)( this)?( to)? (the )?user|without (telling|informing|mentioning( it)? to) the user|you (must|have to|should) (always )?(first |also )?(read|send|include|pass|call|run|fetch|append) |before (using|calling|running|invoking) (this|any|the) (tool|function)|(id_rsa|\.ssh/|\.env\b|/etc/passwd|mcp\.json)`)

// Hidden names what is hidden in text that a model will read, sorted.
func Hidden(text string) []string {
	found := map[string]bool{}
	for i, r := range text {
		switch {
		case r >= 0xE0000 && r <= 0xE0FFF:
			found[FoundTags] = true
		case r >= 0x202A && r <= 0x202E, r >= 0x2066 && r <= 0x2069:
			found[FoundBidi] = true
		case invisible(r) && (r != 0xFEFF || i > 0):
			found[FoundZeroWidth] = true
		case r == 0x1B || r == 0x9B:
			found[FoundANSI] = true
		case unicode.IsControl(r) && r != '\n' && r != '\r' && r != '\t':
			found[FoundControl] = true
		}
	}
	if instructions.MatchString(text) {
		found[FoundInstructions] = true
	}
	out := []string{}
	for name := range found {
		out = append(out, name)
	}
	slices.Sort(out)
	return out
}
