package tokens

import (
	"fmt"

	"google.golang.org/protobuf/proto"

	tokenv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/token/v1"

	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/secret"
)

// aad binds a sealed record to its place: a record copied to another account does not open.
func aad(account string) []byte { return []byte("tokens/" + account) }

// SealRecord returns the value of the account's key in the bucket tokens.
func SealRecord(s *secret.Sealer, account string, rec *tokenv1.TokenRecord) ([]byte, error) {
	plain, err := proto.Marshal(rec)
	if err != nil {
		return nil, fmt.Errorf("encode token record: %w", err)
	}
	return s.Seal(plain, aad(account)), nil
}

// OpenRecord is the inverse of SealRecord. It fails with Permanent when the value was sealed with
// another master key, for another account, or is damaged.
func OpenRecord(s *secret.Sealer, account string, value []byte) (*tokenv1.TokenRecord, error) {
	plain, err := s.Open(value, aad(account))
	if err != nil {
		return nil, fmt.Errorf("open token record of account %s: %w", account, err)
	}
	rec := &tokenv1.TokenRecord{}
	if err := proto.Unmarshal(plain, rec); err != nil {
		return nil, fault.Errorf(fault.Permanent, "decode token record of account %s: %w", account, err)
	}
	return rec, nil
}
