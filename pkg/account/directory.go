package account

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/wxbus/wxbus/pkg/fault"
)

// ErrClash is why an account of the API is left out: the configuration file, or an older account, has
// its name or its AppID.
var ErrClash = fault.New(fault.Conflict, "clash")

// Directory holds the accounts of a process: those of the configuration file, which stay as they
// are, and those that are managed over the API, which come and go with Apply. Reading takes no lock and
// sees a complete state; a change copies two maps of pointers and nothing else. It is safe for concurrent use.
type Directory struct {
	file []string // names of the accounts of the file, in its order

	now atomic.Pointer[state]

	mu       sync.Mutex // guards changes and the fields below
	left     map[string]leftOut
	watchers map[int]func(Change)
	next     int
}

// state is never changed.
type state struct {
	byName  map[string]*Account
	byAppID map[string]*Account
}

// leftOut is an account of the API that is not served.
type leftOut struct {
	account *Account
	err     error
}

// Change is one account before and after. Before is nil for a new one, After for one that is gone.
type Change struct {
	Name          string
	Before, After *Account
}

// Update is the newest state of one account of the API. Account is nil when it is gone.
type Update struct {
	Name    string
	Account *Account
}

// NewDirectory fills in defaults and checks every account, see ValidateAll. The accounts are those of
// the configuration file.
func NewDirectory(accounts []Account) (*Directory, error) {
	own := slices.Clone(accounts)
	d := &Directory{left: map[string]leftOut{}, watchers: map[int]func(Change){}}
	s := &state{byName: make(map[string]*Account, len(own)), byAppID: make(map[string]*Account, len(own))}
	for i := range own {
		a := &own[i]
		a.SetDefaults()
		a.Revision = 0
		d.file = append(d.file, a.Name)
		s.byName[a.Name], s.byAppID[a.AppID] = a, a
	}
	if err := ValidateAll(own); err != nil {
		return nil, err
	}
	d.now.Store(s)
	return d, nil
}

// ValidateAll returns every fault of every account, joined, each with a path such as
// "accounts[1].token: …". A name or AppID that occurs twice is a fault of the later one.
func ValidateAll(accounts []Account) error {
	var errs []error
	names, appIDs := map[string]int{}, map[string]int{}
	for i, a := range accounts {
		for _, err := range split(a.Validate()) {
			errs = append(errs, fmt.Errorf("accounts[%d].%w", i, err))
		}
		errs = append(errs, checkUnique(names, a.Name, "name", i), checkUnique(appIDs, a.AppID, "appid", i))
	}
	return errors.Join(errs...)
}

func checkUnique(seen map[string]int, value, field string, index int) error {
	if first, ok := seen[value]; ok && value != "" {
		return fmt.Errorf("accounts[%d].%s: same as accounts[%d].%s", index, field, first, field)
	}
	seen[value] = index
	return nil
}

func split(err error) []error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		return joined.Unwrap()
	}
	if err == nil {
		return nil
	}
	return []error{err}
}

// Get returns the account with that name, also when it is disabled.
func (d *Directory) Get(name string) (Account, bool) {
	a, ok := d.now.Load().byName[name]
	if !ok {
		return Account{}, false
	}
	return *a, true
}

// Find returns the account with that name, or nil. Nobody may change it; another pointer means that
// the account may have changed.
func (d *Directory) Find(name string) *Account { return d.now.Load().byName[name] }

// ByAppID returns the account with that AppID.
func (d *Directory) ByAppID(appID string) (Account, bool) {
	a, ok := d.now.Load().byAppID[appID]
	if !ok {
		return Account{}, false
	}
	return *a, true
}

// All returns a copy of the accounts: those of the configuration in its order, then those of the API by name.
func (d *Directory) All() []Account {
	s := d.now.Load()
	out := make([]Account, 0, len(s.byName))
	for _, name := range d.file {
		out = append(out, *s.byName[name])
	}
	for _, a := range s.byName {
		if !a.FromFile() {
			out = append(out, *a)
		}
	}
	slices.SortFunc(out[len(d.file):], func(a, b Account) int { return cmp.Compare(a.Name, b.Name) })
	return out
}

// Len returns the number of accounts.
func (d *Directory) Len() int { return len(d.now.Load().byName) }

// Problem returns why an account of the API is left out; nil for all others.
func (d *Directory) Problem(name string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.left[name].err
}

// Watch calls fn after each change, in order, until stop is called. fn must be quick and must not call
// Apply, Watch or stop.
func (d *Directory) Watch(fn func(Change)) (stop func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	id := d.next
	d.next++
	d.watchers[id] = fn
	return func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		delete(d.watchers, id)
	}
}

// Each calls fn with the name of every account, those that come later included, until stop is called. A name may
// come more than once. What Watch demands of fn holds.
func (d *Directory) Each(fn func(name string)) (stop func()) {
	stop = d.Watch(func(c Change) {
		if c.After != nil {
			fn(c.Name)
		}
	})
	for _, a := range d.All() {
		fn(a.Name)
	}
	return stop
}

// Apply takes over newer accounts of the API, all at once for who reads. An update that is older
// than what is known changes nothing. An account that is not valid, or whose name or AppID is taken, is
// left out; the errors of those, ErrClash among them, are joined.
func (d *Directory) Apply(updates ...Update) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	old := d.now.Load()
	b := &builder{d: d, state: &state{byName: maps.Clone(old.byName), byAppID: maps.Clone(old.byAppID)}}
	for _, u := range updates {
		b.apply(u)
	}
	b.readmit()
	d.now.Store(b.state)
	for _, c := range b.changes {
		for _, fn := range d.watchers {
			fn(c)
		}
	}
	return errors.Join(b.errs...)
}

// builder makes the next state.
type builder struct {
	d       *Directory
	state   *state
	changes []Change
	errs    []error
	freed   bool // an AppID became free
}

func (b *builder) apply(u Update) {
	present := b.state.byName[u.Name]
	if u.Account == nil {
		delete(b.d.left, u.Name)
		if present != nil && !present.FromFile() {
			b.replace(u.Name, nil)
		}
		return
	}
	if present != nil && !present.FromFile() && present.Revision >= u.Account.Revision {
		return
	}
	if known, ok := b.d.left[u.Name]; ok && known.account.Revision > u.Account.Revision {
		return
	}
	a := *u.Account
	a.SetDefaults()
	if err := b.check(&a); err != nil {
		err = fmt.Errorf("account %s is left out: %w", u.Name, err)
		b.d.left[u.Name] = leftOut{&a, err}
		b.errs = append(b.errs, err)
		if present != nil && !present.FromFile() {
			b.replace(u.Name, nil)
		}
		return
	}
	delete(b.d.left, u.Name)
	b.replace(u.Name, &a)
}

func (b *builder) check(a *Account) error {
	if err := a.Validate(); err != nil {
		return fault.Wrap(fault.Invalid, err)
	}
	if present := b.state.byName[a.Name]; present != nil && present.FromFile() {
		return fmt.Errorf("%w: accounts[%d].name of the configuration file is the same", ErrClash, slices.Index(b.d.file, a.Name))
	}
	other := b.state.byAppID[a.AppID]
	switch {
	case other == nil || other.Name == a.Name:
		return nil
	case other.FromFile():
		return fmt.Errorf("%w: accounts[%d].appid of the configuration file is the same", ErrClash, slices.Index(b.d.file, other.Name))
	default:
		return fmt.Errorf("%w: account %s has the same appid", ErrClash, other.Name)
	}
}

func (b *builder) replace(name string, a *Account) {
	before := b.state.byName[name]
	if before != nil {
		delete(b.state.byAppID, before.AppID)
		b.freed = b.freed || a == nil || a.AppID != before.AppID
	}
	if a == nil {
		delete(b.state.byName, name)
	} else {
		b.state.byName[name], b.state.byAppID[a.AppID] = a, a
	}
	b.changes = append(b.changes, Change{Name: name, Before: before, After: a})
}

// readmit serves accounts that were left out because of an AppID that is free by now.
func (b *builder) readmit() {
	if !b.freed {
		return
	}
	for _, name := range slices.Sorted(maps.Keys(b.d.left)) {
		if out := b.d.left[name]; b.check(out.account) == nil {
			delete(b.d.left, name)
			b.replace(name, out.account)
		}
	}
}
