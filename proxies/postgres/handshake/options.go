package handshake

import (
	"fmt"
	"strings"
)

// splitOptions reads the startup parameter options: the server's command-line
// arguments, of which only those that name a setting are known here.
//
//	-c name=value   -cname=value   --name=value
//
// Arguments are separated by spaces; a backslash takes the next character as
// it is. A later setting wins over an earlier one of the same name.
func splitOptions(s string) ([]setting, error) {
	var out []setting
	args := splitArguments(s)
	for i := 0; i < len(args); i++ {
		arg := args[i]
		var text string
		switch {
		case arg == "-c":
			i++
			if i == len(args) {
				return nil, refused("options: -c has no setting after it", "")
			}
			text = args[i]
		case strings.HasPrefix(arg, "-c"):
			text = arg[2:]
		case strings.HasPrefix(arg, "--") && len(arg) > 2:
			text = arg[2:]
		default:
			return nil, refused(fmt.Sprintf("options: argument %s is not allowed", shown(arg)), "Only -c name=value and --name=value are.")
		}
		name, value, ok := strings.Cut(text, "=")
		if !ok || name == "" {
			return nil, refused(fmt.Sprintf("options: %s is not name=value", shown(text)), "")
		}
		// The server reads a dash in a name as an underscore.
		name = strings.ReplaceAll(name, "-", "_")
		switch strings.ToLower(name) {
		case "user", "database", "options", "replication":
			return nil, refused(fmt.Sprintf("options: %s is not a setting", shown(name)), "")
		}
		out = append(out, setting{name, value})
	}
	return out, nil
}

// splitArguments splits at white space, as isspace of the C locale knows it,
// that no backslash precedes. A backslash at the end stands for nothing.
func splitArguments(s string) []string {
	var out []string
	var word strings.Builder
	inWord, escaped := false, false
	for i := 0; i < len(s); i++ {
		b := s[i]
		switch {
		case escaped:
			word.WriteByte(b)
			escaped = false
		case b == '\\':
			escaped, inWord = true, true
		case b == ' ' || (b >= '\t' && b <= '\r'):
			if inWord {
				out = append(out, word.String())
				word.Reset()
				inWord = false
			}
		default:
			word.WriteByte(b)
			inWord = true
		}
	}
	if inWord {
		out = append(out, word.String())
	}
	return out
}
