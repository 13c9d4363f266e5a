package mask

// Text appends text to dst with everything that d finds masked by what method
// says for its kind; changed tells whether anything was found. Where findings
// of several kinds overlap, they are masked as one by the strongest of their
// methods (see Join). Null drops a finding from the text.
func (k *Keyring) Text(dst []byte, text []byte, d *Detector, method func(kind string) Spec) (out []byte, changed bool) {
	list := d.borrow()
	defer d.giveBack(list)
	list.all = d.find(text, list.all[:0])
	if len(list.all) == 0 {
		return append(dst, text...), false
	}
	return k.replace(dst, text, 0, list.all, method), true
}

// replace appends text[from:] with the findings, sorted by start, masked.
func (k *Keyring) replace(dst, text []byte, from int, found []Finding, method func(kind string) Spec) []byte {
	for len(found) > 0 {
		n, f := cluster(found)
		spec := method(found[0].Kind)
		for _, other := range found[1:n] {
			if other.Kind != found[0].Kind {
				spec = Join(spec, method(other.Kind))
			}
		}
		dst = append(dst, text[from:f.Start]...)
		dst = k.found(dst, text[f.Start:f.End], spec, f.Kind)
		from, found = f.End, found[n:]
	}
	return append(dst, text[from:]...)
}
