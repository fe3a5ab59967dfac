package rpc

import (
	"context"

	"connectrpc.com/connect"

	consolev1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/console/v1"
	"github.com/wxbus/wxbus/proto/gen/go/wxbus/console/v1/consolev1connect"

	"github.com/wxbus/wxbus/services/console/internal/access"
	"github.com/wxbus/wxbus/services/console/internal/apikeys"
	"github.com/wxbus/wxbus/services/console/internal/policy"
	"github.com/wxbus/wxbus/services/console/internal/store"
)

// Keys is the ApiKeyService.
type Keys struct {
	Keys  *apikeys.Service
	Store *store.Store
	// File are the keys of the configuration.
	File []*consolev1.ApiKey
}

var _ consolev1connect.ApiKeyServiceHandler = (*Keys)(nil)

// ListApiKeys lists stored keys, then those of the configuration.
func (s *Keys) ListApiKeys(ctx context.Context, _ *connect.Request[consolev1.ListApiKeysRequest]) (*connect.Response[consolev1.ListApiKeysResponse], error) {
	found, err := s.Store.Keys(ctx)
	if err != nil {
		return nil, err
	}
	out := &consolev1.ListApiKeysResponse{}
	for _, k := range found {
		out.Keys = append(out.Keys, apikeys.Public(k))
	}
	out.Keys = append(out.Keys, s.File...)
	for _, scope := range policy.Scopes() {
		out.Scopes = append(out.Scopes, &consolev1.Scope{Name: scope.Name, Description: scope.Description})
	}
	return connect.NewResponse(out), nil
}

// CreateApiKey makes a key.
func (s *Keys) CreateApiKey(ctx context.Context, req *connect.Request[consolev1.CreateApiKeyRequest]) (*connect.Response[consolev1.CreateApiKeyResponse], error) {
	m := req.Msg
	k, secret, err := s.Keys.Create(ctx, apikeys.Wish{Name: m.GetName(), Scopes: m.GetScopes(), Accounts: m.GetAccounts(), ExpiresMS: m.GetExpiresUnixMs()}, access.From(ctx).Actor())
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&consolev1.CreateApiKeyResponse{Key: apikeys.Public(k), Secret: secret}), nil
}

// RevokeApiKey ends a key.
func (s *Keys) RevokeApiKey(ctx context.Context, req *connect.Request[consolev1.RevokeApiKeyRequest]) (*connect.Response[consolev1.RevokeApiKeyResponse], error) {
	k, err := s.Keys.Revoke(ctx, req.Msg.GetId())
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&consolev1.RevokeApiKeyResponse{Key: apikeys.Public(k)}), nil
}
