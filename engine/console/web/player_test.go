package web

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// TestPlayer plays a terminal in a real browser, under the policy of pages that
// have one: nothing of the player may need more.
func TestPlayer(t *testing.T) {
	path, err := exec.LookPath("chromium")
	if err != nil {
		t.Fatalf("no chromium: %v; .ci/setup chromium installs it", err)
	}
	all, err := loadAssets()
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("GET /static/", all)
	mux.HandleFunc("GET /cast", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte("{\"version\":2,\"width\":60,\"height\":5}\n[0.01,\"o\",\"\\u001b]0;x\\u0007<script>window.pwned=1</script>\\r\\n\"]\n[0.02,\"o\",\"the end\"]\n"))
	})
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Security-Policy", terminalPolicy)
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		fmt.Fprintf(w, `<!doctype html><link rel="icon" href="%s"><link rel="stylesheet" href="%s"><script src="%s" defer></script><script src="%s" defer></script>
<div id="player" data-length="0" hidden><button id="play"></button><button id="prev"></button><button id="next"></button><input type="range" id="seek"><output id="clock"></output>
<select id="speed"><option>1</select><input type="checkbox" id="idle"><button id="denial"></button></div><div id="timeline"><div class="terminal" data-cast="/cast"></div></div>`,
			all.paths["icon.svg"], all.paths["asciinema-player.css"], all.paths["asciinema-player.min.js"], all.paths["replay.js"])
	})
	server := httptest.NewServer(mux)
	defer server.Close()
	ctx, cancel := chromedp.NewExecAllocator(t.Context(), chromedp.ExecPath(path), chromedp.Headless, chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.NoFirstRun, chromedp.NoDefaultBrowserCheck, chromedp.UserDataDir(t.TempDir()), chromedp.Flag("disable-quic", true),
		chromedp.Flag("disable-background-networking", true), chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-sync", true))
	defer cancel()
	ctx, cancel = chromedp.NewContext(ctx)
	defer cancel()
	messages := chromedp.Console(ctx)
	if err := chromedp.Do(ctx, chromedp.Navigate(server.URL), chromedp.WaitVisible(chromedp.CSS(".ap-player")), chromedp.Click(chromedp.CSS(".ap-player"))); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		got, err := chromedp.Run(ctx, chromedp.Evaluate[string](`document.querySelector(".ap-player").innerText + "|" + String(window.pwned)`))
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(got, "the end") && strings.Contains(got, "<script>") {
			if !strings.Contains(got, "|undefined") {
				t.Error("the terminal's text ran:", got)
			}
			break
		}
		if time.Now().After(end) {
			t.Errorf("the terminal shows %q", got)
			break
		}
	}
	cancel()
	for m, err := range messages {
		if err != nil {
			break
		}
		t.Errorf("the browser says: %s", m)
	}
}
