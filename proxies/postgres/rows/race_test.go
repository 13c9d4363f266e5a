//go:build race

package rows

// raceDetector: sync.Pool then drops what is put into it, on purpose, and
// allocations cannot be counted.
const raceDetector = true
