package corpus

// Keep yields what keep says true of, and every error.
func Keep(s Source, keep func(*Recorded) bool) Source {
	return func(yield func(Recorded, error) bool) {
		for r, err := range s {
			if err == nil && !keep(&r) {
				continue
			}
			if !yield(r, err) {
				return
			}
		}
	}
}

// Of yields what is in a list, for tests and what is small.
func Of(list ...Recorded) Source {
	return func(yield func(Recorded, error) bool) {
		for _, r := range list {
			if !yield(r, nil) {
				return
			}
		}
	}
}
