package record

// What the tally reads of every request is read without the rest of a body and
// without its strings: the recorder does nothing more often.

// scanRequest reads what the tally needs of a request's body, without the rest.
func scanRequest(body []byte, entry func(key []byte, part uint32, inline []byte)) (turn uint64, stage []byte, ok bool) {
	c := cursor{buf: body}
	for range c.head(majorMap) {
		switch c.uint() {
		case 1:
			turn = c.uint()
		case 2:
			c.int()
		case 3, 4:
			c.take(c.head(majorText))
		case 5:
			stage = c.take(c.head(majorText))
		case 6:
			for range c.head(majorArray) {
				c.array(2)
				key := c.take(c.head(majorText))
				if c.err != nil {
					return 0, nil, false
				}
				if c.off < len(body) && body[c.off]&0xe0 == majorUint {
					entry(key, uint32(c.uint()), nil)
				} else {
					entry(key, 0, c.bytes())
				}
			}
		case 7:
			c.bytes()
		default:
			c.fail()
		}
		if c.err != nil {
			return 0, nil, false
		}
	}
	return turn, stage, true
}

// scannedDecision is what the tally needs of a decision. It is valid as long as
// the body.
type scannedDecision struct {
	turn              uint64
	id, stage, effect []byte
	at                int64
	ruling            uint32
}

func scanDecision(body []byte) (d scannedDecision, ok bool) {
	c := cursor{buf: body}
	for range c.head(majorMap) {
		switch c.uint() {
		case 1:
			d.turn = c.uint()
		case 2:
			d.id = c.take(c.head(majorText))
		case 3:
			d.at = c.int()
		case 4:
			d.stage = c.take(c.head(majorText))
		case 5:
			d.effect = c.take(c.head(majorText))
		case 6:
			d.ruling = uint32(c.uint())
		case 7:
			c.take(1)
		case 8:
			c.int()
		default:
			c.fail()
		}
		if c.err != nil {
			break
		}
	}
	if c.err == nil {
		return d, true
	}
	// What a later version has added is for the whole decoder.
	whole, err := DecodeDecision(body)
	return scannedDecision{
		turn: whole.Turn, id: []byte(whole.ID), stage: []byte(whole.Stage), effect: []byte(whole.Effect), at: whole.Time, ruling: whole.Ruling,
	}, err == nil
}

func scanOutcome(body []byte) (rows, bytes int64, failed, ok bool) {
	c := cursor{buf: body}
	for range c.head(majorMap) {
		switch c.uint() {
		case 1:
			c.uint()
		case 2:
			rows = c.int()
		case 3:
			bytes = c.int()
		case 4, 6:
			c.take(c.head(majorText))
		case 5:
			failed = len(c.take(c.head(majorText))) > 0
		case 7, 9:
			c.take(1)
		case 8:
			c.int()
		default:
			c.fail()
		}
		if c.err != nil {
			break
		}
	}
	if c.err == nil {
		return rows, bytes, failed, true
	}
	o, err := DecodeOutcome(body)
	return o.Rows, o.Bytes, o.ErrorCode != "", err == nil
}
