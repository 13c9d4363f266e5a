//go:build !linux

package wire

import "net"

// Socket returns conn: see the one for Linux.
func Socket(conn net.Conn) net.Conn { return conn }
