package webhook

import "sync"

// budget bounds repetitions: a share of the calls and a few on top, so that a system in trouble does not get twice
// the load. It is safe for concurrent use.
type budget struct {
	mu    sync.Mutex // guards saved
	saved float64
}

const (
	budgetShare = 0.1
	budgetMost  = 10
)

// newBudget returns a full budget.
func newBudget() *budget { return &budget{saved: budgetMost} }

// called notes a first call.
func (b *budget) called() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.saved = min(b.saved+budgetShare, budgetMost)
}

// repeat tells whether a call may be repeated, and takes that from the budget.
func (b *budget) repeat() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.saved < 1 {
		return false
	}
	b.saved--
	return true
}
