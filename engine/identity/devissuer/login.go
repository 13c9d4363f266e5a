package devissuer

import (
	"html/template"
	"net/http"
)

// page is the login page. It needs no script.
var page = template.Must(template.New("login").Parse(`<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Log in · regate development issuer</title>
<style>
body{font:16px/1.5 system-ui,sans-serif;max-width:28rem;margin:4rem auto;padding:0 1rem}
form{margin:.5rem 0;padding:.75rem 1rem;border:1px solid #8888;border-radius:.5rem;display:flex;gap:.75rem;align-items:center}
span{flex:1}small{display:block;opacity:.7}.error{color:#b00020}
</style></head><body>
<h1>Who are you?</h1>
<p>This is regate's development issuer: choose a user. Never use it beyond your own machine.</p>
{{with .Error}}<p class="error" role="alert">{{.}}</p>{{end}}
{{$id := .ID}}
{{range .Users}}<form method="post" action="/login">
<input type="hidden" name="id" value="{{$id}}"><input type="hidden" name="user" value="{{.ID}}">
<span>{{.Name}}<small>{{range $i, $g := .Groups}}{{if $i}}, {{end}}{{$g}}{{else}}no groups{{end}}</small></span>
{{if .Password}}<input type="password" name="password" aria-label="Password of {{.Name}}" required size="12">{{end}}
<button>Log in</button></form>
{{else}}<p>No users are configured: start the issuer with <code>--user name:group1,group2</code>.</p>
{{end}}</body></html>
`))

func (i *Issuer) showLogin(w http.ResponseWriter, r *http.Request) {
	i.loginPage(w, http.StatusOK, r.URL.Query().Get("id"), "")
}

func (i *Issuer) loginPage(w http.ResponseWriter, status int, id, problem string) {
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'")
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = page.Execute(w, map[string]any{"ID": id, "Users": i.storage.cfg.Users, "Error": problem})
}

func (i *Issuer) doLogin(w http.ResponseWriter, r *http.Request) {
	id := r.PostFormValue("id")
	if err := i.storage.login(id, r.PostFormValue("user"), r.PostFormValue("password")); err != nil {
		i.loginPage(w, http.StatusForbidden, id, err.Error())
		return
	}
	http.Redirect(w, r, i.callback(id), http.StatusSeeOther)
}
