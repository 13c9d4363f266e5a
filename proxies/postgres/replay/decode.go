package replay

import (
	"errors"
	"fmt"
)

// Decode returns the results in data: recorded messages, as the agent was sent
// them. What was read before an error is returned beside it; data that ends
// within a message is an error.
func Decode(data []byte) ([]Result, error) {
	c := &collector{}
	m := newMachine(c)
	err := m.push(data)
	if err == nil && len(m.frames.carry) > 0 {
		err = errors.New("data ends within a message")
	}
	if err != nil {
		err = fmt.Errorf("decode recorded messages: %w", err)
	}
	c.close()
	return c.results, err
}

// collector is the sink that keeps everything.
type collector struct {
	results []Result
	now     Result
	begun   bool
	binary  bool
	copied  []byte
}

func (c *collector) begin() *Result {
	c.begun = true
	return &c.now
}

func (c *collector) close() {
	if c.begun {
		if c.binary {
			c.now.CopyBinary = c.copied
		} else {
			c.now.Copy = string(c.copied)
		}
		c.results = append(c.results, c.now)
	}
	c.now, c.begun, c.binary, c.copied = Result{}, false, false, nil
}

func (c *collector) columns(list []Column) error {
	c.begin().Columns = list
	return nil
}

func (c *collector) row(d *values, list []Column, raw [][]byte) error {
	texts := make([]*string, len(raw))
	for i, v := range raw {
		if v != nil {
			text := d.text(&list[i], v)
			texts[i] = &text
		}
	}
	r := c.begin()
	r.Columns = list // rows after a suspended portal have no other
	r.Rows = append(r.Rows, texts)
	return nil
}

func (c *collector) done(tag string) error {
	c.begin().Tag = tag
	c.close()
	return nil
}

func (c *collector) suspended() error {
	c.begin().Suspended = true
	c.close()
	return nil
}

func (c *collector) report(r Report, failed bool) error {
	if !failed {
		c.begin().Notices = append(c.begin().Notices, r)
		return nil
	}
	c.begin().Error = &r
	c.close()
	return nil
}

func (c *collector) copyBegins(out, binary bool) error {
	c.begin()
	c.binary = binary
	return nil
}

func (c *collector) copyData(data []byte) error {
	c.begin()
	c.copied = append(c.copied, data...)
	return nil
}

func (c *collector) copyEnds() error   { return nil }
func (c *collector) note(string) error { return nil }
func (c *collector) ready(byte) error  { return nil }
