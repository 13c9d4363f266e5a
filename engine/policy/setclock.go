package policy

// ReadsClock reports whether a package calls a built-in whose value depends on
// the time, which for a Set is the document's own. pkg is a PackageInfo's Name.
func (s *Set) ReadsClock(pkg string) bool {
	for _, p := range s.snapshot.packages {
		if p.name == pkg {
			return p.reads.clock
		}
	}
	return false
}
