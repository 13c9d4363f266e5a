//go:build !linux || !(amd64 || arm64 || ppc64le || riscv64 || s390x)

package record

import "os"

func newQuickFile(f *os.File) logFile { return f }
