package main

import (
	"os"
	"strings"
	"testing"
)

// TestADeviceIsWrittenTo holds that an output that is no file is not replaced
// by one: root may otherwise lose its /dev/null.
func TestADeviceIsWrittenTo(t *testing.T) {
	dir := t.TempDir()
	if err := os.Symlink("/dev/full", dir+"/out"); err != nil {
		t.Fatal(err)
	}
	if err := writeOut(nil, dir+"/out", []byte("bundle")); err == nil || !strings.Contains(err.Error(), "no space left") {
		t.Errorf("%v", err)
	}
	if info, err := os.Lstat(dir + "/out"); err != nil || info.Mode().IsRegular() {
		t.Errorf("the link was replaced: %v", err)
	}
}
