package httpproxy_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	httpproxy "github.com/regate-dev/regate/proxies/http"
)

// Clients that nobody here has written, each told of the proxy and its authority
// in its own way, do the same: read what is masked, send a body, and are told why
// something is refused. Each prints one line of JSON: [status, body] three times.
func TestForwardClients(t *testing.T) {
	secure, trust := secureUpstream(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			echo(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"mail": "jane@example.com", "proto": "` + r.Proto + `"}`))
	})
	g := start(t, preamble+`allow contains {"id": "test/all"} if { input.stage == "request"; input.action.verb in {"get", "post"}; input.resource.path != "/denied" }
mask contains {"id": "test/mail", "field": "mail", "method": "redact"} if input.action.verb == "get"
`, secure.URL, func(c *httpproxy.Config) { c.Forward.TLS = trust })
	ca := filepath.Join(t.TempDir(), "ca.pem")
	must(t, os.WriteFile(ca, g.ca, 0o600))
	proxy, err := url.Parse(g.proxy)
	must(t, err)
	proxy.User = url.UserPassword("x", g.token("alice"))
	body := strings.Repeat("0123456789", 20_000)
	sent := filepath.Join(t.TempDir(), "body")
	must(t, os.WriteFile(sent, []byte(body), 0o600))
	for name, args := range map[string][]string{
		"curl": {"/bin/sh", "-c", `
one() { out=$(curl -sS --max-time 60 -o "$TMP/out" -w '%{http_code}' "$@") && printf '[%s,' "$out" && python3 -c 'import json,sys; sys.stdout.write(json.dumps(open(sys.argv[1]).read()))' "$TMP/out" && printf ']'; }
printf '['; one "$URL/a"; printf ','; one --data-binary "@$SENT" -H 'Content-Type: text/plain' "$URL/a"; printf ','; one "$URL/denied"; printf ']'`},
		"python": {"python3", "-c", `
import json, os, urllib.request, urllib.error
url = os.environ["URL"]
def one(*args, **more):
    try:
        r = urllib.request.urlopen(urllib.request.Request(*args, **more), timeout=60)
    except urllib.error.HTTPError as e:
        r = e
    return [r.status, r.read().decode()]
print(json.dumps([one(url + "/a"), one(url + "/a", data=open(os.environ["SENT"], "rb").read(), headers={"Content-Type": "text/plain"}), one(url + "/denied")]))`},
		"node": {"node", "-e", `
const http = require("http"), https = require("https"), tls = require("tls"), fs = require("fs")
const proxy = new URL(process.env.HTTPS_PROXY), url = new URL(process.env.URL)
const auth = "Basic " + Buffer.from(decodeURIComponent(proxy.username) + ":" + decodeURIComponent(proxy.password)).toString("base64")
const one = (path, body) => new Promise((done, fail) => {
  const connect = http.request({ host: proxy.hostname, port: proxy.port, method: "CONNECT", path: url.host, headers: { "Proxy-Authorization": auth } })
  connect.on("error", fail)
  connect.on("connect", (res, socket) => {
    if (res.statusCode !== 200) return fail(new Error("CONNECT " + res.statusCode))
    const secure = tls.connect({ socket, host: url.hostname }, () => {
      const req = https.request({ createConnection: () => secure, host: url.hostname, port: url.port, path, method: body ? "POST" : "GET", headers: body ? { "Content-Type": "text/plain", "Content-Length": body.length } : {} }, r => {
        let text = ""
        r.setEncoding("utf8")
        r.on("data", d => text += d)
        r.on("end", () => { secure.destroy(); done([r.statusCode, text]) })
      })
      req.on("error", fail)
      req.end(body)
    })
    secure.on("error", fail)
  })
  connect.end()
});
(async () => console.log(JSON.stringify([await one("/a"), await one("/a", fs.readFileSync(process.env.SENT)), await one("/denied")])))().catch(e => { console.error(e); process.exit(1) })`},
	} {
		t.Run(name, func(t *testing.T) {
			program, err := exec.LookPath(args[0])
			if err != nil {
				t.Fatal(err)
			}
			cmd := exec.CommandContext(t.Context(), program, args[1:]...)
			cmd.Env = []string{
				"PATH=" + os.Getenv("PATH"), "URL=" + secure.URL, "SENT=" + sent, "TMP=" + t.TempDir(),
				"HTTPS_PROXY=" + proxy.String(), "https_proxy=" + proxy.String(),
				"SSL_CERT_FILE=" + ca, "CURL_CA_BUNDLE=" + ca, "NODE_EXTRA_CA_CERTS=" + ca,
			}
			var stderr strings.Builder
			cmd.Stderr = &stderr
			out, err := cmd.Output()
			if err != nil {
				t.Fatalf("%v\n%s\n%s", err, out, stderr.String())
			}
			var got [3][2]any
			if err := json.Unmarshal(out, &got); err != nil {
				t.Fatalf("%v\n%s\n%s", err, out, stderr.String())
			}
			if text, _ := got[0][1].(string); got[0][0] != 200.0 || !strings.Contains(text, `"mail": "[REDACTED]"`) {
				t.Errorf("read: %v", got[0])
			}
			if text, _ := got[1][1].(string); got[1][0] != 200.0 || !strings.HasPrefix(text, "POST /a\n") || !strings.Contains(text, body) {
				t.Errorf("sent: %v %.300v", got[1][0], got[1][1])
			}
			if text, _ := got[2][1].(string); got[2][0] != 403.0 || !strings.Contains(text, "engine/no-allow") {
				t.Errorf("refused: %v", got[2])
			}
		})
	}
}
