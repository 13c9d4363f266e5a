package web

import (
	"fmt"
	"html/template"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// visible is text of agents, databases and issuers as HTML. What has no shape of
// its own, or would turn the direction of what follows (control characters,
// zero-width and bidirectional marks), is written out and marked; line ends and
// tabs stay.
func visible(s string) template.HTML {
	var b strings.Builder
	writeVisible(&b, s)
	return template.HTML(b.String()) // every character went through writeVisible
}

func writeVisible(b *strings.Builder, s string) {
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && n == 1:
			fmt.Fprintf(b, `<span class="esc">\x%02x</span>`, s[i])
		case r == '<':
			b.WriteString("&lt;")
		case r == '>':
			b.WriteString("&gt;")
		case r == '&':
			b.WriteString("&amp;")
		case r == '"':
			b.WriteString("&#34;")
		case r == '\'':
			b.WriteString("&#39;")
		case r == '\r' && strings.HasPrefix(s[i:], "\r\n"):
		case r == '\n' || r == '\t' || plain(r):
			b.WriteRune(r)
		case r < 0x80:
			fmt.Fprintf(b, `<span class="esc">\x%02x</span>`, r)
		case r < 0x10000:
			fmt.Fprintf(b, `<span class="esc">\u%04x</span>`, r)
		default:
			fmt.Fprintf(b, `<span class="esc">\U%08x</span>`, r)
		}
		i += n
	}
}

// plain reports whether a character is shown as it is.
func plain(r rune) bool {
	return unicode.IsGraphic(r) && !unicode.Is(unicode.Other_Default_Ignorable_Code_Point, r) && !unicode.Is(unicode.Variation_Selector, r) ||
		r == '\u200d' || r == '\ufe0f' // they join and colour emoji
}

// oneLine is visible text without line ends, for lists.
func oneLine(s string, limit int) template.HTML {
	return visible(clip(strings.Join(strings.Fields(clip(s, limit*4)), " "), limit))
}

// clip cuts text at a number of characters and says so.
func clip(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	n := 0
	for i := range s {
		if n == limit {
			return s[:i] + "…"
		}
		n++
	}
	return s
}

func ago(now, t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	d := now.Sub(t)
	suffix := " ago"
	if d < 0 {
		d, suffix = -d, ""
	}
	var text string
	switch {
	case d < time.Second:
		return "now"
	case d < time.Minute:
		text = strconv.Itoa(int(d.Seconds())) + " s"
	case d < time.Hour:
		text = strconv.Itoa(int(d.Minutes())) + " min"
	case d < 48*time.Hour:
		text = strconv.Itoa(int(d.Hours())) + " h"
	default:
		text = strconv.Itoa(int(d.Hours()/24)) + " days"
	}
	if suffix == "" {
		return "in " + text
	}
	return text + suffix
}

// shortDuration rounds to what a person reads.
func shortDuration(d time.Duration) string {
	switch {
	case d >= time.Minute:
		return strings.TrimSuffix(d.Round(time.Second).String(), "0s")
	case d >= time.Second:
		return strconv.FormatFloat(d.Seconds(), 'f', 1, 64) + " s"
	case d >= time.Millisecond:
		return strconv.Itoa(int(d.Milliseconds())) + " ms"
	case d > 0:
		return strconv.Itoa(int(d.Microseconds())) + " µs"
	}
	return "0 s"
}

func byteSize(n int64) string {
	for _, u := range []struct {
		size int64
		name string
	}{{1 << 30, "GiB"}, {1 << 20, "MiB"}, {1 << 10, "KiB"}} {
		if n >= u.size {
			return strconv.FormatFloat(float64(n)/float64(u.size), 'f', 1, 64) + " " + u.name
		}
	}
	return strconv.FormatInt(n, 10) + " B"
}

func counted(n any, noun string) string {
	text := number(n)
	if text != "1" {
		noun += "s"
	}
	return text + " " + noun
}

// number is a count with its thousands set apart.
func number(n any) string {
	text := fmt.Sprint(n)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "\u202f" + text[i:]
	}
	return text
}

// shortID is enough of an id to tell two apart.
func shortID(id string) string {
	if len(id) <= 14 {
		return id
	}
	return id[:4] + "…" + id[len(id)-6:]
}

func shortDigest(d string) string {
	d = strings.TrimPrefix(d, "sha256:")
	return d[:min(len(d), 12)]
}

func effectWord(effect string) string {
	switch effect {
	case "allow":
		return "allowed"
	case "deny":
		return "denied"
	case "require_approval":
		return "held"
	case "":
		return "undecided"
	}
	return effect
}

func protocolWord(protocol any) string {
	switch p := fmt.Sprint(protocol); p {
	case "postgres":
		return "PostgreSQL"
	case "kubernetes":
		return "Kubernetes"
	case "http":
		return "HTTP"
	case "mcp":
		return "MCP"
	case "regate":
		return "audit"
	default:
		return p
	}
}
