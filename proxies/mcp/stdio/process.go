package stdio

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/regate-dev/regate/proxies/mcp/message"
)

// Bounds of a process.
const (
	maxLine      = 32 << 20 // bytes of one message
	maxHeld      = 100      // messages that nobody listens to yet
	maxNote      = 4 << 10  // bytes of one line of its log
	writeTimeout = 30 * time.Second
	endTime      = 2 * time.Second // for each step of ending it
)

// process is a server that runs.
type process struct {
	cmd  *exec.Cmd
	in   *os.File
	log  logrus.FieldLogger
	done chan struct{} // it has ended, and all of its output is read

	write sync.Mutex

	mu     sync.Mutex
	next   int
	asked  map[string]*flow // by the gateway's id
	latest *flow            // of those, the last begun
	ear    *flow            // of a GET
	held   [][]byte
	used   time.Time
	over   bool
}

// flow is what a client gets of a process: the answer to a request and what comes
// with it, or what the server says on its own.
type flow struct {
	p     *process
	id    string          // the gateway's; "" for a GET
	given json.RawMessage // the client's
	token json.RawMessage // the client's progress token
	out   chan []byte
	gone  chan struct{} // nobody reads it any more
	once  sync.Once
}

// start runs the command in a process group of its own, from a thread that lives
// as long as it does: the death signal comes when the thread that forked ends.
func start(o Options) (*process, error) {
	env, err := environment(o)
	if err != nil {
		return nil, err
	}
	inRead, inWrite, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	outRead, outWrite, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(err, inRead.Close(), inWrite.Close())
	}
	errRead, errWrite, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(err, inRead.Close(), inWrite.Close(), outRead.Close(), outWrite.Close())
	}
	cmd := exec.Command(o.Command[0], o.Command[1:]...)
	cmd.Dir, cmd.Env = o.Dir, env
	cmd.Stdin, cmd.Stdout, cmd.Stderr = inRead, outWrite, errWrite
	cmd.SysProcAttr = childAttributes()
	p := &process{cmd: cmd, in: inWrite, log: o.Log, done: make(chan struct{}), asked: map[string]*flow{}, used: time.Now()}
	started, exited := make(chan error), make(chan struct{})
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // cmd.ProcessState says how it ended
			p.log.WithField("pid", cmd.Process.Pid).WithField("state", fmt.Sprint(cmd.ProcessState)).Info("a server has ended")
			close(exited)
		}
	}()
	err = <-started
	_, _, _ = inRead.Close(), outWrite.Close(), errWrite.Close()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start the server: %w", err), inWrite.Close(), outRead.Close(), errRead.Close())
	}
	p.log.WithField("pid", cmd.Process.Pid).WithField("command", o.Command[0]).Info("a server has begun")
	var reading sync.WaitGroup
	reading.Go(func() { p.read(outRead) })
	reading.Go(func() { p.note(errRead) })
	go func() {
		<-exited
		// Children that have its output keep it open no longer than this.
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		_ = outRead.SetReadDeadline(time.Now().Add(endTime))
		_ = errRead.SetReadDeadline(time.Now().Add(endTime))
		reading.Wait()
		_, _, _ = inWrite.Close(), outRead.Close(), errRead.Close()
		p.finish()
		close(p.done)
	}()
	return p, nil
}

// environment is what the server gets: nothing of the gateway's own secrets.
func environment(o Options) ([]string, error) {
	var env []string
	for _, name := range []string{"PATH", "HOME", "LANG", "TMPDIR"} {
		if v, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+v)
		}
	}
	if o.Env == nil {
		return env, nil
	}
	more, err := o.Env()
	return append(env, more...), err
}

// read takes what the server says to whom it is for.
func (p *process) read(from io.Reader) {
	lines := bufio.NewScanner(from)
	lines.Buffer(make([]byte, 0, 64<<10), maxLine)
	for lines.Scan() {
		line := bytes.TrimSpace(lines.Bytes())
		if len(line) > 0 {
			p.heard(bytes.Clone(line))
		}
	}
	if err := lines.Err(); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		p.log.WithError(err).Warn("what a server says cannot be read: it is ended")
	}
	go p.end()
}

// note puts what the server logs into the log.
func (p *process) note(from io.Reader) {
	r := bufio.NewReaderSize(from, maxNote)
	for {
		line, _, err := r.ReadLine() // the rest of a longer line is a line
		if len(line) > 0 {
			p.log.WithField("pid", p.cmd.Process.Pid).WithField("says", string(line)).Info("a server's log")
		}
		if err != nil {
			return
		}
	}
}

// heard finds out whom a message is for.
func (p *process) heard(line []byte) {
	list, batch, err := message.Parse(line)
	if err != nil || batch {
		p.log.WithError(err).Warn("a server says what is no message")
		return
	}
	m := list[0]
	p.mu.Lock()
	p.used = time.Now()
	var to *flow
	switch {
	case m.Kind == message.Response:
		if to = p.asked[m.ID]; to == nil {
			p.mu.Unlock()
			return // it answers nothing that was asked
		}
		delete(p.asked, m.ID)
		if p.latest == to {
			p.latest = nil
		}
		line, err = with(m.Raw, "id", to.given)
	case m.Method == "notifications/progress":
		if to = p.asked[tokenOf(m)]; to == nil || to.token == nil {
			p.mu.Unlock()
			return
		}
		line, err = withParam(m.Raw, "progressToken", to.token)
	case p.ear != nil:
		to = p.ear
	case p.latest != nil:
		to = p.latest
	case len(p.held) < maxHeld:
		p.held = append(p.held, line)
	}
	p.mu.Unlock()
	if err != nil {
		p.log.WithError(err).Warn("a message of a server cannot be changed")
		return
	}
	if to == nil {
		return
	}
	select {
	case to.out <- line:
	case <-to.gone:
	}
	if m.Kind == message.Response {
		close(to.out)
	}
}

func tokenOf(m *message.Message) string {
	params, _ := m.Params.(map[string]any)
	return fmt.Sprint(params["progressToken"])
}

// tell sends what has no answer.
func (p *process) tell(m *message.Message) error {
	raw := m.Raw
	if m.Method == "notifications/cancelled" {
		var params struct {
			Params struct {
				ID json.RawMessage `json:"requestId"`
			} `json:"params"`
		}
		if json.Unmarshal(raw, &params) != nil {
			return nil
		}
		own := ""
		p.mu.Lock()
		for id, f := range p.asked {
			if bytes.Equal(f.given, params.Params.ID) {
				own = id
			}
		}
		p.mu.Unlock()
		if own == "" {
			return nil // it has been answered
		}
		var err error
		if raw, err = withParam(raw, "requestId", []byte(own)); err != nil {
			return err
		}
	}
	return p.send(raw)
}

// ask sends a request and returns what comes of it.
func (p *process) ask(m *message.Message) (*flow, error) {
	f := &flow{p: p, given: json.RawMessage(m.ID), out: make(chan []byte, 16), gone: make(chan struct{})}
	p.mu.Lock()
	p.next++
	f.id = strconv.Itoa(p.next)
	p.mu.Unlock()
	raw, err := with(m.Raw, "id", []byte(f.id))
	if err == nil {
		raw, f.token, err = withToken(raw, f.id)
	}
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	if p.over {
		p.mu.Unlock()
		return nil, errors.New("the server has ended")
	}
	p.asked[f.id], p.latest, p.used = f, f, time.Now()
	p.mu.Unlock()
	err = p.send(raw)
	if err != nil {
		f.leave()
		return nil, err
	}
	return f, nil
}

// listen returns what the server says on its own, and ends who listened before.
func (p *process) listen() *flow {
	f := &flow{p: p, out: make(chan []byte, maxHeld), gone: make(chan struct{})}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.over {
		close(f.out)
		return f
	}
	if p.ear != nil {
		old := p.ear
		old.once.Do(func() { close(old.gone) })
	}
	for _, line := range p.held {
		f.out <- line
	}
	p.ear, p.held, p.used = f, nil, time.Now()
	return f
}

// leave says that nobody reads the flow any more. A request that has no answer
// yet is cancelled.
func (f *flow) leave() {
	f.once.Do(func() { close(f.gone) })
	p := f.p
	p.mu.Lock()
	waits := f.id != "" && p.asked[f.id] == f
	if waits {
		delete(p.asked, f.id)
	}
	if p.latest == f {
		p.latest = nil
	}
	if p.ear == f {
		p.ear = nil
	}
	p.used = time.Now()
	p.mu.Unlock()
	if waits {
		_ = p.send([]byte(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":` + f.id + `,"reason":"the client went away"}}`))
	}
}

func (p *process) send(raw []byte) error {
	var line bytes.Buffer
	if err := json.Compact(&line, raw); err != nil { // one message is one line
		return err
	}
	line.WriteByte('\n')
	p.write.Lock()
	defer p.write.Unlock()
	_ = p.in.SetWriteDeadline(time.Now().Add(writeTimeout))
	if _, err := p.in.Write(line.Bytes()); err != nil {
		go p.end() // a part of a message may have been written
		return fmt.Errorf("write to the server: %w", err)
	}
	return nil
}

// idle is how long nobody has used the process.
func (p *process) idle(now time.Time) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.asked) > 0 || p.ear != nil {
		return 0
	}
	return now.Sub(p.used)
}

// end closes the server's input, as the protocol has it, and then makes it end.
func (p *process) end() {
	_ = p.in.Close()
	for _, signal := range []syscall.Signal{0, syscall.SIGTERM, syscall.SIGKILL} {
		select {
		case <-p.done:
			return
		default:
		}
		if signal != 0 {
			_ = syscall.Kill(-p.cmd.Process.Pid, signal)
		}
		select {
		case <-p.done:
			return
		case <-time.After(endTime):
		}
	}
	<-p.done
}

// finish tells everybody who waits that nothing will come.
func (p *process) finish() {
	p.mu.Lock()
	p.over = true
	asked, ear := p.asked, p.ear
	p.asked, p.ear, p.latest, p.held = map[string]*flow{}, nil, nil, nil
	p.mu.Unlock()
	for _, f := range asked {
		select {
		case f.out <- []byte(`{"jsonrpc":"2.0","id":` + string(f.given) + `,"error":{"code":-32603,"message":"the server has ended"}}`):
		case <-f.gone:
		}
		close(f.out)
	}
	if ear != nil {
		close(ear.out)
	}
}
