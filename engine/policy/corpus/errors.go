package corpus

import "errors"

// ErrNotYet is of a recording that is known of and not at hand yet, such as
// that of a live session of another gateway. Nothing is wrong with it.
var ErrNotYet = errors.New("not archived yet")
