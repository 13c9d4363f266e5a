package web

import (
	"bytes"
	"encoding/json"
	"html/template"
	"strings"
	"time"

	"github.com/alecthomas/chroma/v2"
	"github.com/alecthomas/chroma/v2/lexers"
)

const (
	// maxHighlight is how much text is coloured, maxShown how much is shown at
	// all, in bytes. Whoever needs more has the recording.
	maxHighlight = 32 << 10
	maxShown     = 128 << 10
	// highlightTime bounds the colouring of one text: lexers are made of patterns,
	// and agents choose the text.
	highlightTime = 30 * time.Millisecond
)

// lexersByName are the languages that pages show.
var lexersByName = map[string]chroma.Lexer{
	"sql":  chroma.Coalesce(lexers.Get("postgresql")),
	"json": chroma.Coalesce(lexers.Get("json")),
	"rego": chroma.Coalesce(lexers.Get("rego")),
	"http": chroma.Coalesce(lexers.Get("http")),
}

// highlight is code as HTML, with spans of chroma's short class names. What
// takes too long, or is too long, goes on without colour.
func highlight(language, code string) template.HTML {
	cut := ""
	if len(code) > maxShown {
		cut = "\n… " + byteSize(int64(len(code)-maxShown)) + " more"
		code = strings.ToValidUTF8(code[:maxShown], "")
	}
	var b strings.Builder
	rest := code
	if lexer := lexersByName[language]; lexer != nil && len(code) <= maxHighlight {
		rest = colour(&b, lexer, code)
	}
	writeVisible(&b, rest)
	writeVisible(&b, cut)
	return template.HTML(b.String()) // every character went through writeVisible
}

// colour writes what it has the time for and returns the rest.
func colour(b *strings.Builder, lexer chroma.Lexer, code string) (rest string) {
	tokens, err := lexer.Tokenise(&chroma.TokeniseOptions{State: "root"}, code)
	if err != nil {
		return code
	}
	end := time.Now().Add(highlightTime)
	for t := tokens(); t != chroma.EOF && time.Now().Before(end); t = tokens() {
		if !strings.HasPrefix(code, t.Value) {
			break // the lexer changed something: the rest is shown as it is
		}
		code = code[len(t.Value):]
		class := chroma.StandardTypes[t.Type]
		if class == "" || class == "w" || class == "err" {
			writeVisible(b, t.Value)
			continue
		}
		b.WriteString(`<span class="` + class + `">`)
		writeVisible(b, t.Value)
		b.WriteString("</span>")
	}
	return code
}

// prettyJSON is a JSON value, indented. What is none is shown as it is.
func prettyJSON(raw []byte) template.HTML {
	var out bytes.Buffer
	if len(raw) > maxShown || json.Indent(&out, raw, "", "  ") != nil {
		return highlight("", string(raw))
	}
	return highlight("json", out.String())
}
