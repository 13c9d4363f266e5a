package config

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"net/url"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

var namePattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$`)

// text checks a string against its tags and returns it with paths resolved.
func (d *decoder) text(key, s string, tag reflect.StructTag) string {
	if one := tag.Get("oneof"); one != "" {
		values := strings.Fields(one)
		if !slices.Contains(values, s) {
			fix := "one of " + strings.Join(values, ", ")
			if near := nearest(s, values); near != "" {
				fix = "did you mean " + near + "? " + fix
			}
			d.fail(key, IDInvalid, fmt.Sprintf("%q is not possible", s), fix)
		}
		return s
	}
	is, arg, _ := strings.Cut(tag.Get("is"), ":")
	if is == "" {
		return s
	}
	if s == "" {
		d.fail(key, IDInvalid, "must not be empty", "remove the key")
		return s
	}
	switch is {
	case "name":
		if !namePattern.MatchString(s) {
			d.fail(key, IDInvalid, fmt.Sprintf("%q is not a name", s), "letters, digits, _ . and -, at most 63, starting with a letter or digit")
		}
	case "listen":
		if s != Off {
			d.hostPort(key, s, true)
		}
	case "address":
		if !strings.HasPrefix(s, "/") { // the path of a Unix socket
			d.hostPort(key, s, false)
		}
	case "url":
		d.url(key, s, strings.Split(arg, ","))
	case "file":
		s = d.path(key)(s)
		d.exists(key, s, true)
	case "existing":
		s = d.path(key)(s)
		d.exists(key, s, false)
	case "dir", "path":
		s = d.path(key)(s)
	default:
		panic("config: unknown check " + is) // a mistake in the schema; a test covers every field
	}
	return s
}

func (d *decoder) hostPort(key, s string, listen bool) {
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		d.fail(key, IDInvalid, fmt.Sprintf("%q is not host:port", s), "such as 127.0.0.1:5432 or [::1]:5432")
		return
	}
	n, err := strconv.ParseUint(port, 10, 16)
	switch {
	case err != nil:
		d.fail(key, IDInvalid, fmt.Sprintf("%q is not a port", port), "a number from 1 to 65535")
	case n == 0 && !listen:
		d.fail(key, IDInvalid, "port 0 cannot be dialled", "a number from 1 to 65535")
	case host == "" && !listen:
		d.fail(key, IDInvalid, "the host is missing", "such as db.internal:5432")
	case strings.ContainsAny(host, " /@\t"):
		d.fail(key, IDInvalid, fmt.Sprintf("%q is not a host", host), "")
	}
}

func (d *decoder) url(key, s string, schemes []string) {
	parts := []string{s}
	if slices.Contains(schemes, "nats") { // NATS takes several servers
		parts = strings.Split(s, ",")
	}
	for _, part := range parts {
		u, err := url.Parse(strings.TrimSpace(part))
		switch {
		case err != nil:
			// url.Error repeats the URL, which may hold a password.
			d.fail(key, IDInvalid, "not a URL", "")
		case !slices.Contains(schemes, u.Scheme):
			d.fail(key, IDInvalid, fmt.Sprintf("scheme %q is not possible", u.Scheme), "one of "+strings.Join(schemes, ", "))
		case u.Host == "" && u.Scheme != "file" && u.Scheme != "mem":
			d.fail(key, IDInvalid, "the URL has no host", "")
		case u.User != nil:
			if _, ok := u.User.Password(); ok {
				d.warn(key, IDLiteral, "a password is written into a URL", "use a credentials file or a token")
			}
		}
	}
}

func (d *decoder) exists(key, name string, regular bool) {
	if d.skip {
		return
	}
	st, err := os.Stat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		d.fail(key, IDFileMissing, name+" does not exist", "")
	case err != nil:
		d.fail(key, IDFileMissing, cause(err), "")
	case regular && !st.Mode().IsRegular():
		d.fail(key, IDFileMissing, name+" is not a regular file", "")
	case regular:
		f, err := os.Open(name)
		if err != nil {
			d.fail(key, IDFileMissing, cause(err), "")
			return
		}
		_ = f.Close()
	}
}

// loopback reports whether host:port can be reached from this machine only.
func loopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		host = address
	}
	return loopbackHost(host)
}

func loopbackHost(host string) bool {
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}

// clearURL reports whether a URL goes over a network without TLS.
func clearURL(s string) bool {
	u, err := url.Parse(s)
	return err == nil && u.Scheme == "http" && !loopbackHost(u.Hostname())
}
