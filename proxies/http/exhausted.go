package httpproxy

import (
	"errors"
	"syscall"
)

// isExhausted reports whether an accept failed for want of something that comes
// back.
func isExhausted(err error) bool {
	for _, e := range []error{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.ECONNABORTED} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}
