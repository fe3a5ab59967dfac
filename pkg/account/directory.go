package account

import (
	"errors"
	"fmt"
	"slices"
)

// Directory holds the accounts of a process. It never changes, so it is safe for concurrent use.
type Directory struct {
	accounts []Account
	byName   map[string]int
	byAppID  map[string]int
}

// NewDirectory fills in defaults and checks every account, see ValidateAll.
func NewDirectory(accounts []Account) (*Directory, error) {
	d := &Directory{
		accounts: slices.Clone(accounts),
		byName:   make(map[string]int, len(accounts)),
		byAppID:  make(map[string]int, len(accounts)),
	}
	for i := range d.accounts {
		d.accounts[i].SetDefaults()
		d.byName[d.accounts[i].Name] = i
		d.byAppID[d.accounts[i].AppID] = i
	}
	if err := ValidateAll(d.accounts); err != nil {
		return nil, err
	}
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

// Get returns the account with that name.
func (d *Directory) Get(name string) (Account, bool) {
	i, ok := d.byName[name]
	if !ok {
		return Account{}, false
	}
	return d.accounts[i], true
}

// ByAppID returns the account with that AppID.
func (d *Directory) ByAppID(appID string) (Account, bool) {
	i, ok := d.byAppID[appID]
	if !ok {
		return Account{}, false
	}
	return d.accounts[i], true
}

// All returns a copy of the accounts in the order of the configuration.
func (d *Directory) All() []Account { return slices.Clone(d.accounts) }

// Len returns the number of accounts.
func (d *Directory) Len() int { return len(d.accounts) }
