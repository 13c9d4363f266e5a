package replay

import (
	"fmt"
	"strconv"
)

// sink takes what the messages mean, in order.
type sink interface {
	// columns begins a result with rows.
	columns([]Column) error
	// row is one row; raw values are valid during the call, nil is NULL.
	row(v *values, list []Column, raw [][]byte) error
	// done ends a statement.
	done(tag string) error
	// suspended ends what the agent asked for, not the statement.
	suspended() error
	// report is an error, where failed, or a notice.
	report(r Report, failed bool) error
	copyBegins(out, binary bool) error
	copyData(data []byte) error
	copyEnds() error
	// note is anything else worth a line.
	note(text string) error
	// ready says that the server waits for the next query.
	ready(status byte) error
}

// machine reads the messages of one session.
type machine struct {
	frames frames
	sink   sink
	values *values

	list      []Column // of the rows to come; nil: not known
	described bool     // list has not been given to the sink
	statement bool     // a ParameterDescription came: the next RowDescription is of a statement
	suspended bool     // the last rows were of a portal that may go on
	raw       [][]byte
}

func newMachine(s sink) *machine { return &machine{sink: s, values: newValues()} }

func (m *machine) push(data []byte) error {
	return m.frames.push(data, m.message)
}

func (m *machine) message(kind byte, body []byte) error {
	r := &reader{b: body}
	err := m.dispatch(kind, r)
	if err == nil {
		err = r.err
	}
	if err != nil {
		return fmt.Errorf("message %q: %w", kind, err)
	}
	return nil
}

func (m *machine) dispatch(kind byte, r *reader) error {
	switch kind {
	case 'T':
		return m.rowDescription(r)
	case 'D':
		return m.dataRow(r)
	case 'C':
		return m.commandComplete(r)
	case 'n', 't':
		m.statement = kind == 't'
		m.forget()
	case 's':
		if err := m.flushColumns(); err != nil {
			return err
		}
		m.suspended = true
		return m.sink.suspended()
	case 'I':
		m.forget()
		return m.sink.note("empty query")
	case 'E', 'N':
		return m.reports(kind == 'E', r)
	case 'Z':
		if !m.suspended { // else its next rows come without a description
			m.forget()
		}
		return m.sink.ready(r.byte())
	case 'G', 'H', 'W':
		return m.sink.copyBegins(kind != 'G', r.byte() == 1)
	case 'd':
		return m.sink.copyData(r.take(len(r.b)))
	case 'c':
		return m.sink.copyEnds()
	case 'A':
		r.uint32()
		channel, payload := r.string(), r.string()
		return m.sink.note("notification on " + strconv.Quote(channel) + ": " + strconv.Quote(payload))
	case 'S':
		name, value := r.string(), r.string()
		return m.sink.note("parameter " + name + " = " + strconv.Quote(value))
	case 'V':
		return m.functionResult(r)
	case '2':
		m.forget()
	case '1', '3', 'K', 'R', 'v':
		// Answers to Parse, Bind and Close, and the login: nothing to see.
	default:
		return m.sink.note(fmt.Sprintf("message %q of %d bytes", kind, len(r.b)))
	}
	return nil
}

func (m *machine) rowDescription(r *reader) error {
	n := int(r.uint16())
	list := make([]Column, 0, min(n, len(r.b)))
	for range n {
		c := Column{Name: r.string()}
		r.uint32()
		r.uint16()
		c.TypeOID = r.uint32()
		r.uint16()
		r.uint32()
		switch code := r.uint16(); {
		case m.statement:
			c.format = formatUnknown // the agent chooses later, in Bind
		case code == 1:
			c.format = formatBinary
		}
		if r.err != nil {
			return r.err
		}
		c.Type = m.values.name(c.TypeOID)
		list = append(list, c)
	}
	m.list, m.described, m.statement, m.suspended = list, true, false, false
	return nil
}

func (m *machine) forget() { m.list, m.described, m.suspended = nil, false, false }

// flushColumns gives the sink the columns once: a RowDescription alone, as a
// Describe gives it, is not a result.
func (m *machine) flushColumns() error {
	if !m.described {
		return nil
	}
	m.described = false
	return m.sink.columns(m.list)
}

func (m *machine) dataRow(r *reader) error {
	n := int(r.uint16())
	m.raw = m.raw[:0]
	for range n {
		m.raw = append(m.raw, r.value())
		if r.err != nil {
			return r.err
		}
	}
	if m.list == nil || len(m.list) != n {
		m.list, m.described = make([]Column, n), true
		for i := range m.list {
			m.list[i] = Column{Name: "?" + strconv.Itoa(i+1), format: formatUnknown}
		}
	}
	if err := m.flushColumns(); err != nil {
		return err
	}
	return m.sink.row(m.values, m.list, m.raw)
}

func (m *machine) commandComplete(r *reader) error {
	tag := r.string()
	if r.err != nil {
		return r.err
	}
	if err := m.flushColumns(); err != nil {
		return err
	}
	m.forget()
	return m.sink.done(tag)
}

func (m *machine) functionResult(r *reader) error {
	v := r.value()
	if v == nil {
		return m.sink.note("function result: NULL")
	}
	return m.sink.note("function result: " + strconv.Quote(m.values.text(&Column{format: formatUnknown}, v)))
}

func (m *machine) reports(failed bool, r *reader) error {
	var p Report
	for {
		f := r.byte()
		if f == 0 {
			break
		}
		v := r.string()
		switch f {
		case 'S':
			if p.Severity == "" {
				p.Severity = v
			}
		case 'V':
			p.Severity = v // never translated
		case 'C':
			p.Code = v
		case 'M':
			p.Message = v
		case 'D':
			p.Detail = v
		case 'H':
			p.Hint = v
		case 'W':
			p.Context = v
		case 's':
			p.Schema = v
		case 't':
			p.Table = v
		case 'c':
			p.Column = v
		case 'd':
			p.DataType = v
		case 'n':
			p.Constraint = v
		}
	}
	if r.err != nil {
		return r.err
	}
	if failed {
		m.forget()
	}
	return m.sink.report(p, failed)
}
