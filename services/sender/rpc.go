package sender

import (
	"context"

	senderv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/sender/v1"

	"github.com/wxbus/wxbus/pkg/account"
	"github.com/wxbus/wxbus/pkg/fault"

	"github.com/wxbus/wxbus/services/sender/internal/media"
)

// SendBatch implements SenderService.
func (s *Service) SendBatch(ctx context.Context, req *senderv1.SendBatchRequest) (*senderv1.SendBatchResponse, error) {
	p, err := s.running()
	if err != nil {
		return nil, err
	}
	for _, one := range req.GetRequests() {
		if one.GetCampaign() != nil {
			return nil, fault.New(fault.Invalid, "campaign: only campaigns set it")
		}
	}
	return p.intake.SendBatch(ctx, req)
}

// SendMass implements SenderService.
func (s *Service) SendMass(ctx context.Context, req *senderv1.SendMassRequest) (*senderv1.SendMassResponse, error) {
	p, err := s.running()
	if err != nil {
		return nil, err
	}
	return p.intake.SendMass(ctx, req)
}

// PreviewMass implements SenderService.
func (s *Service) PreviewMass(ctx context.Context, req *senderv1.PreviewMassRequest) (*senderv1.PreviewMassResponse, error) {
	p, a, err := s.of(req.GetAccount())
	if err != nil {
		return nil, err
	}
	return p.mass.Preview(ctx, a, req)
}

// GetMassStatus implements SenderService.
func (s *Service) GetMassStatus(ctx context.Context, req *senderv1.GetMassStatusRequest) (*senderv1.GetMassStatusResponse, error) {
	p, a, err := s.of(req.GetAccount())
	if err != nil {
		return nil, err
	}
	return p.mass.Status(ctx, a, req.GetId())
}

// ListMassJobs implements SenderService.
func (s *Service) ListMassJobs(ctx context.Context, req *senderv1.ListMassJobsRequest) (*senderv1.ListMassJobsResponse, error) {
	p, err := s.running()
	if err != nil {
		return nil, err
	}
	if _, ok := s.deps.Accounts.Get(req.GetAccount()); !ok {
		return nil, fault.Errorf(fault.NotFound, "account %q is not configured", req.GetAccount())
	}
	jobs, err := p.massJobs.List(ctx, req.GetAccount(), req.GetName())
	return &senderv1.ListMassJobsResponse{Jobs: jobs}, err
}

// DeleteMass implements SenderService.
func (s *Service) DeleteMass(ctx context.Context, req *senderv1.DeleteMassRequest) (*senderv1.DeleteMassResponse, error) {
	p, a, err := s.of(req.GetAccount())
	if err != nil {
		return nil, err
	}
	return &senderv1.DeleteMassResponse{}, p.mass.Delete(ctx, a, req.GetId(), req.GetArticleIndex())
}

// GetMassSpeed implements SenderService.
func (s *Service) GetMassSpeed(ctx context.Context, req *senderv1.GetMassSpeedRequest) (*senderv1.GetMassSpeedResponse, error) {
	p, a, err := s.of(req.GetAccount())
	if err != nil {
		return nil, err
	}
	return p.mass.Speed(ctx, a)
}

// SetMassSpeed implements SenderService.
func (s *Service) SetMassSpeed(ctx context.Context, req *senderv1.SetMassSpeedRequest) (*senderv1.SetMassSpeedResponse, error) {
	p, a, err := s.of(req.GetAccount())
	if err != nil {
		return nil, err
	}
	return &senderv1.SetMassSpeedResponse{}, p.mass.SetSpeed(ctx, a, req.GetSpeed())
}

// ListTemplates implements SenderService.
func (s *Service) ListTemplates(ctx context.Context, req *senderv1.ListTemplatesRequest) (*senderv1.ListTemplatesResponse, error) {
	p, a, err := s.of(req.GetAccount())
	if err != nil {
		return nil, err
	}
	found, read, err := p.templates.List(ctx, a, req.GetKind(), req.GetRefresh())
	if err != nil {
		return nil, err
	}
	resp := &senderv1.ListTemplatesResponse{Templates: found}
	if !read.IsZero() {
		resp.ReadUnixMs = read.UnixMilli()
	}
	return resp, nil
}

// GetTemplate implements SenderService.
func (s *Service) GetTemplate(ctx context.Context, req *senderv1.GetTemplateRequest) (*senderv1.GetTemplateResponse, error) {
	p, a, err := s.of(req.GetAccount())
	if err != nil {
		return nil, err
	}
	found, err := p.templates.Get(ctx, a, req.GetTemplateId())
	if err != nil {
		return nil, err
	}
	return &senderv1.GetTemplateResponse{Template: found}, nil
}

// UploadMedia implements SenderService.
func (s *Service) UploadMedia(ctx context.Context, req *senderv1.UploadMediaRequest) (*senderv1.UploadMediaResponse, error) {
	p, a, err := s.of(req.GetAccount())
	if err != nil {
		return nil, err
	}
	rec, cached, err := p.media.Upload(ctx, a, media.File{Type: req.GetType(), Name: req.GetFilename(), Content: req.GetContent()})
	if err != nil {
		return nil, err
	}
	return &senderv1.UploadMediaResponse{
		MediaId: rec.GetMediaId(), ExpiresUnixMs: rec.GetExpiresUnixMs(), Sha256: rec.GetSha256(), Cached: cached,
	}, nil
}

// GetSendingStatus implements SenderService.
func (s *Service) GetSendingStatus(ctx context.Context, req *senderv1.GetSendingStatusRequest) (*senderv1.GetSendingStatusResponse, error) {
	p, err := s.running()
	if err != nil {
		return nil, err
	}
	a, ok := s.deps.Accounts.Get(req.GetAccount())
	if !ok {
		return nil, fault.Errorf(fault.NotFound, "account %q is not configured", req.GetAccount())
	}
	return p.standing.Of(ctx, a)
}

// of returns the parts and the account that a call is about; it refuses an account that is disabled.
func (s *Service) of(name string) (*parts, account.Account, error) {
	p, err := s.running()
	if err != nil {
		return nil, account.Account{}, err
	}
	a, ok := s.deps.Accounts.Get(name)
	if !ok {
		return nil, account.Account{}, fault.Errorf(fault.NotFound, "account %q is not configured", name)
	}
	if a.Disabled {
		return nil, account.Account{}, fault.New(fault.Refused, a.WhyDisabled())
	}
	return p, a, nil
}
