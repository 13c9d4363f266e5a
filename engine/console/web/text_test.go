package web

import (
	"strings"
	"testing"
	"time"
)

// TestVisible: whatever agents and databases say is text, and nothing of it is
// unseen.
func TestVisible(t *testing.T) {
	for in, want := range map[string]string{
		"plain":                     "plain",
		"<script>alert(1)</script>": "&lt;script&gt;alert(1)&lt;/script&gt;",
		`"quoted" & 'so'`:           "&#34;quoted&#34; &amp; &#39;so&#39;",
		"a\x1b[2Jb":                 `a<span class="esc">\x1b</span>[2Jb`,
		"user\u202egnp.exe":         `user<span class="esc">\u202e</span>gnp.exe`,
		"ad\u200bmin":               `ad<span class="esc">\u200b</span>min`,
		"\U000e0041tag":             `<span class="esc">\U000e0041</span>tag`,
		"bad\xffbyte":               `bad<span class="esc">\xff</span>byte`,
		"nul\x00":                   `nul<span class="esc">\x00</span>`,
		"two\r\nlines":              "two\nlines",
		"back\rover":                `back<span class="esc">\x0d</span>over`,
		"عربي 中文":                   "عربي 中文",
	} {
		if got := string(visible(in)); got != want {
			t.Errorf("%q: %s, want %s", in, got, want)
		}
	}
}

// TestHighlight: colours change nothing of what is read, whatever the text.
func TestHighlight(t *testing.T) {
	plainText := func(html string) string {
		var b strings.Builder
		for {
			before, rest, ok := strings.Cut(html, "<")
			b.WriteString(before)
			if !ok {
				break
			}
			_, html, _ = strings.Cut(rest, ">")
		}
		return strings.NewReplacer("&lt;", "<", "&gt;", ">", "&#34;", `"`, "&#39;", "'", "&amp;", "&").Replace(b.String())
	}
	for _, in := range []string{
		"SELECT id FROM users WHERE name = 'a<b' -- <script>\n", "", "SELECT $1::text, \"Weird\" FROM t; /* open", "\n\n  SELECT 1",
		"SELECT '" + strings.Repeat("((((", 2000) + "'", "DO $$ BEGIN RAISE 'x'; END $$", "not sql at all \\ ` ~", strings.Repeat("select ", 5000),
	} {
		if got := plainText(string(highlight("sql", in))); got != in {
			t.Errorf("%.80q became %.80q", in, got)
		}
	}
	if got := string(highlight("sql", "SELECT 1")); !strings.Contains(got, `<span class="k">SELECT</span>`) {
		t.Error("no colours:", got)
	}
	begin := time.Now()
	huge := string(highlight("sql", strings.Repeat("x", 10<<20)))
	if len(huge) > 2*maxShown || !strings.Contains(huge, "9.9 MiB more") {
		t.Errorf("%d bytes of HTML, %s", len(huge), time.Since(begin))
	}
}

// TestLocal: after a sign-in a browser is sent nowhere else.
func TestLocal(t *testing.T) {
	for in, want := range map[string]string{
		"/approvals/ap-1": "/approvals/ap-1", "/sessions?effect=deny&before=1": "/sessions?effect=deny&before=1",
		"": "/", "//evil.example": "/", "https://evil.example/": "/", `/\evil.example`: "/", "javascript:alert(1)": "/",
		"/\tx": "/", "/signin?out=1": "/", "evil": "/", "/a\r\nb": "/", "http:/x": "/",
	} {
		if got := local(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}
