package pgtest

import (
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
)

// maxSocketDir keeps a socket's path within the 107 bytes that sockaddr_un
// holds, with room for "/.s.PGSQL.65535.lock".
const maxSocketDir = 85

// place chooses and makes the cluster's folders, owned by the user that will
// run the server: ourselves, or "postgres" when we are root, which PostgreSQL
// refuses to run as.
func (c *Cluster) place(dir string) error {
	if os.Geteuid() == 0 {
		account, err := user.Lookup("postgres")
		if err != nil {
			return fmt.Errorf("postgres refuses to run as root, and there is no user to run it as: %w", err)
		}
		uid, err := strconv.ParseUint(account.Uid, 10, 32)
		if err != nil {
			return fmt.Errorf("user id of postgres: %w", err)
		}
		gid, err := strconv.ParseUint(account.Gid, 10, 32)
		if err != nil {
			return fmt.Errorf("group id of postgres: %w", err)
		}
		c.owner = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	}
	if dir != "" {
		abs, err := filepath.Abs(dir)
		if err != nil {
			return fmt.Errorf("cluster folder: %w", err)
		}
		if err := os.MkdirAll(abs, 0o700); err != nil {
			return fmt.Errorf("cluster folder: %w", err)
		}
		if c.reachable(filepath.Dir(abs)) {
			c.Dir = abs
		}
	}
	if c.Dir == "" {
		temp, err := os.MkdirTemp(tempDir(), "regate-pg-")
		if err != nil {
			return fmt.Errorf("cluster folder: %w", err)
		}
		c.Dir, c.temporary = temp, true
	}
	if err := c.own(c.Dir); err != nil {
		return err
	}
	socket, err := os.MkdirTemp(tempDir(), "regate-pgs-")
	if err != nil {
		return fmt.Errorf("socket folder: %w", err)
	}
	c.Socket = socket
	return c.own(socket)
}

func tempDir() string {
	if dir := os.TempDir(); len(dir)+len("/regate-pgs-0123456789") <= maxSocketDir {
		return dir
	}
	return "/tmp"
}

// reachable says whether the server's user can pass through dir and every
// folder above it.
func (c *Cluster) reachable(dir string) bool {
	if c.owner == nil {
		return true
	}
	for {
		info, err := os.Stat(dir)
		if err != nil {
			return false
		}
		owner, ok := info.Sys().(*syscall.Stat_t)
		if !ok || (info.Mode().Perm()&0o001 == 0 && owner.Uid != c.owner.Uid) {
			return false
		}
		if dir == filepath.Dir(dir) {
			return true
		}
		dir = filepath.Dir(dir)
	}
}

func (c *Cluster) own(path string) error {
	if c.owner == nil {
		return nil
	}
	if err := os.Chown(path, int(c.owner.Uid), int(c.owner.Gid)); err != nil {
		return fmt.Errorf("give %s to the server's user: %w", path, err)
	}
	return nil
}

// write puts a file into the cluster's folder, owned by the server's user.
func (c *Cluster) write(name string, content []byte, mode os.FileMode) error {
	path := filepath.Join(c.Dir, name)
	if err := os.WriteFile(path, content, mode); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return c.own(path)
}
