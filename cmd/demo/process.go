package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"time"
)

// process is a child that writes to a log file and dies with us.
type process struct {
	name string
	log  string
	cmd  *exec.Cmd
	done chan struct{}
	err  error // valid after done
}

// startProcess starts a program. It runs in a process group of its own, so
// that Ctrl-C reaches it through us, in order; and from a thread that lives as
// long as it does: Pdeathsig fires when the thread that forked ends.
func startProcess(name, dir string, env []string, program string, args ...string) (*process, error) {
	p := &process{name: name, log: filepath.Join(dir, name+".log"), done: make(chan struct{})}
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, fmt.Errorf("log of %s: %w", name, err)
	}
	defer log.Close()
	p.cmd = exec.Command(program, args...)
	p.cmd.Env = env
	p.cmd.Stdout, p.cmd.Stderr = log, log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := p.cmd.Start()
		started <- err
		if err == nil {
			p.err = p.cmd.Wait()
			close(p.done)
		}
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	return p, nil
}

// ended is the error of a process that should be running, nil while it does.
func (p *process) ended() error {
	select {
	case <-p.done:
		return fmt.Errorf("%s ended by itself (%v); its log: %s", p.name, p.err, p.log)
	default:
		return nil
	}
}

// stop asks the process to end, and after a while makes it.
func (p *process) stop() error {
	if p == nil {
		return nil
	}
	for _, step := range []struct {
		signal syscall.Signal
		wait   time.Duration
	}{{syscall.SIGTERM, 20 * time.Second}, {syscall.SIGKILL, 5 * time.Second}} {
		select {
		case <-p.done:
			return nil
		default:
		}
		// The group: a process that has children takes them along.
		_ = syscall.Kill(-p.cmd.Process.Pid, step.signal)
		select {
		case <-p.done:
			if step.signal == syscall.SIGKILL {
				return fmt.Errorf("%s had to be killed", p.name)
			}
			return nil
		case <-time.After(step.wait):
		}
	}
	return fmt.Errorf("%s does not end", p.name)
}
