package account

import (
	"sync"
	"sync/atomic"

	"github.com/wxbus/wxbus/pkg/fault"
)

// ErrUnknown is returned for an account that nobody has configured.
var ErrUnknown = fault.New(fault.NotFound, "the account is not configured")

// spare is how many values of accounts that are gone a Derived may keep.
const spare = 64

// Derived keeps one value per account that was made from it, for example its keys ready for use. The value
// is made when it is first asked for, and again when the account has changed: a change of one account
// costs nothing for the others. It is safe for concurrent use.
type Derived[T any] struct {
	dir    *Directory
	make   func(Account) (T, error)
	values sync.Map // name to *derivedValue[T]
	kept   atomic.Int64
}

type derivedValue[T any] struct {
	from  *Account
	value T
	err   error
}

// NewDerived returns values made by fn, which must not block and may be called more than once for the same
// account. An error of fn is kept like a value.
func NewDerived[T any](dir *Directory, fn func(Account) (T, error)) *Derived[T] {
	return &Derived[T]{dir: dir, make: fn}
}

// Get returns the value of the account as it is now, or the error of making it. It fails with ErrUnknown
// for an unknown account.
func (d *Derived[T]) Get(name string) (T, error) {
	a := d.dir.Find(name)
	if a == nil {
		var none T
		return none, ErrUnknown
	}
	if kept, found := d.values.Load(name); found {
		if v := kept.(*derivedValue[T]); v.from == a {
			return v.value, v.err
		}
	}
	v := &derivedValue[T]{from: a}
	v.value, v.err = d.make(*a)
	if _, replaced := d.values.Swap(name, v); !replaced && d.kept.Add(1) > int64(d.dir.Len()+spare) {
		d.prune()
	}
	return v.value, v.err
}

// prune drops the values of accounts that are gone.
func (d *Derived[T]) prune() {
	d.values.Range(func(name, _ any) bool {
		if d.dir.Find(name.(string)) == nil {
			if _, was := d.values.LoadAndDelete(name); was {
				d.kept.Add(-1)
			}
		}
		return true
	})
}
