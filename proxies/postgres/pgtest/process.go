package pgtest

import (
	"errors"
	"fmt"
	"io"
	"os/exec"
	"runtime"
	"strconv"
	"syscall"
	"time"
)

// process is a child that dies with us.
type process struct {
	cmd  *exec.Cmd
	done chan struct{}
	err  error // valid after done
}

// startProcess starts cmd from a thread that lives as long as the child:
// Pdeathsig fires when the thread that forked ends, not when the process does.
func startProcess(cmd *exec.Cmd) (*process, error) {
	p := &process{cmd: cmd, done: make(chan struct{})}
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		if err := cmd.Start(); err != nil {
			started <- err
			return
		}
		started <- nil
		p.err = cmd.Wait()
		close(p.done)
	}()
	return p, <-started
}

// stop asks for a fast shutdown (SIGINT), then an immediate one (SIGQUIT),
// then kills.
func (p *process) stop() error {
	for _, step := range []struct {
		signal syscall.Signal
		wait   time.Duration
	}{
		{syscall.SIGINT, 20 * time.Second},
		{syscall.SIGQUIT, 5 * time.Second},
		{syscall.SIGKILL, 5 * time.Second},
	} {
		if err := p.cmd.Process.Signal(step.signal); err != nil {
			break // it has ended
		}
		select {
		case <-p.done:
			return nil
		case <-time.After(step.wait):
		}
	}
	select {
	case <-p.done:
		return nil
	case <-time.After(time.Second):
		return errors.New("postgres does not end")
	}
}

// watchdog removes a temporary cluster's folders once this process is gone,
// however it ended: it waits for the end of a pipe that only we hold.
type watchdog struct {
	cmd  *exec.Cmd
	hold io.Closer
}

const watchdogScript = `cat >/dev/null
kill -QUIT "$1" 2>/dev/null
n=0
while kill -0 "$1" 2>/dev/null && [ $n -lt 100 ]; do sleep 0.1; n=$((n+1)); done
rm -rf "$2" "$3"`

func startWatchdog(pid int, dir, socket string) (*watchdog, error) {
	cmd := exec.Command("/bin/sh", "-c", watchdogScript, "sh", strconv.Itoa(pid), dir, socket)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	hold, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("start the watchdog: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the watchdog: %w", err)
	}
	return &watchdog{cmd: cmd, hold: hold}, nil
}

// release ends the watchdog without its work. The server must have ended.
func (w *watchdog) release() {
	if w == nil {
		return
	}
	// Both fail only when it has ended already.
	_ = w.cmd.Process.Kill()
	_ = w.hold.Close()
	_ = w.cmd.Wait()
}
