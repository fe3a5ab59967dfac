package decision

import (
	"github.com/wxbus/wxbus/pkg/fault"
)

// Errors of this package; test with errors.Is.
var (
	// ErrUnchanged: the record already says what the command wants, so nothing is to be written.
	// Apply returns it with the record; Store.Change and Store.ChangeAt turn it into success.
	ErrUnchanged = fault.New(fault.Conflict, "decision unchanged")
	// ErrForbidden: the table forbids the command in the state of the record. The kind is Conflict.
	ErrForbidden = fault.New(fault.Conflict, "decision change forbidden")
	// ErrExists: a record for the push is there already. The kind is Conflict.
	ErrExists = fault.New(fault.Conflict, "decision exists")
	// ErrNotFound: there is no record for the push yet. The kind is NotFound.
	ErrNotFound = fault.New(fault.NotFound, "decision not found")
	// ErrContended: a change lost against others as often as it may be repeated, or ChangeAt found
	// another version. The kind is Conflict.
	ErrContended = fault.New(fault.Conflict, "decision changed by others")
)
