package report

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"
)

// List collects the stored pushes that a reader outside of the process posts in parts. It is safe for concurrent use.
type List struct {
	mu  sync.Mutex
	set StoredSet
	any bool
}

const maxStored = 5_000_000

// Add appends a part and returns how many there are. A part that says complete is the last one and was read at
// the given time; the part after it begins a new list.
func (l *List) Add(part StoredSet, at time.Time) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.set.Complete {
		l.set = StoredSet{}
	}
	if len(l.set.Pushes)+len(part.Pushes) > maxStored {
		return 0, errors.New("pushes: too many")
	}
	l.set.Pushes = append(l.set.Pushes, part.Pushes...)
	l.set.Complete, l.set.Reason, l.set.At, l.any = part.Complete, part.Reason, at, true
	return len(l.set.Pushes), nil
}

// Reset forgets the list.
func (l *List) Reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.set, l.any = StoredSet{}, false
}

// Reader returns a reader of the list, nil while nobody has posted anything.
func (l *List) Reader() Reader {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.any {
		return nil
	}
	set := l.set
	set.Pushes = slices.Clone(l.set.Pushes)
	return func(context.Context) (StoredSet, error) { return set, nil }
}
