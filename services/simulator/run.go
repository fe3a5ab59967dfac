package simulator

import (
	"context"
	"io"
	"time"

	"github.com/wxbus/wxbus/services/simulator/internal/api"
	"github.com/wxbus/wxbus/services/simulator/internal/codec"
	"github.com/wxbus/wxbus/services/simulator/internal/faults"
	"github.com/wxbus/wxbus/services/simulator/internal/ledger"
	"github.com/wxbus/wxbus/services/simulator/internal/load"
	"github.com/wxbus/wxbus/services/simulator/internal/pusher"
	"github.com/wxbus/wxbus/services/simulator/internal/report"
)

// The types that a harness works with.
type (
	// Push is what a fan does, or an event that WeChat raises.
	Push = pusher.Push
	// PushResult is what became of a push.
	PushResult = pusher.Result
	// PushRecord is a push with its attempts.
	PushRecord = ledger.Push
	// Attempt is one try of a push.
	Attempt = ledger.Attempt
	// Fan is a copy of what is known about a fan, with everything on the fan's screen.
	Fan = ledger.FanView
	// Entry is one line of a fan's screen.
	Entry = ledger.Entry
	// Content is one thing that a fan sees.
	Content = codec.Content
	// Plan says what a load run pushes.
	Plan = load.Plan
	// Burst raises the rate of a Plan from time to time.
	Burst = load.Burst
	// Duration is a time.Duration that JSON writes as "1.5s".
	Duration = load.Duration
	// Progress is how far a load run is.
	Progress = load.Progress
	// FaultScript is what goes wrong.
	FaultScript = faults.Script
	// FaultRule is one fault.
	FaultRule = faults.Rule
	// Report is the verdict over everything since the start or the last Reset.
	Report = report.Report
	// Violation is a class of things that should not have been.
	Violation = ledger.Violation
	// Stored identifies a push on the bus.
	Stored = report.Stored
	// StoredSet is what a reader of the bus found.
	StoredSet = report.StoredSet
	// StoredReader reads what the bus stored; the report says CHECKER INCOMPLETE unless it read to the end.
	StoredReader = report.Reader
	// AccountOptions are settings that an account has in WeChat's console.
	AccountOptions = api.Options
	// Limit bounds the calls of one API path.
	Limit = api.Limit
	// Windows are the numbers of messages that a fan's actions allow.
	Windows = ledger.Windows
)

// Classes of violations.
const (
	ReplySeenTwice    = ledger.ClassDuplicate
	OutOfOrder        = ledger.ClassOrder
	Malformed         = codec.ClassMalformed
	WrongRecipient    = codec.ClassWrongRecipient
	AnswersDiffer     = ledger.ClassAnswersDiffer
	KfOutsideWindow   = ledger.ClassWindow
	KfOverCount       = ledger.ClassCount
	SendAfterUnfollow = ledger.ClassUnfollowed
	AckedNotStored    = report.ClassNotStored
	StoredTwice       = report.ClassStoredTwice
)

// Push makes one push and returns when it is over. The error tells that it could not begin.
func (s *Service) Push(ctx context.Context, p Push) (PushResult, error) { return s.pusher.Push(ctx, p) }

// PushConcurrently sends the same push copies times at once, each to the next replica.
func (s *Service) PushConcurrently(ctx context.Context, p Push, copies int) (PushResult, error) {
	return s.pusher.PushConcurrently(ctx, p, copies)
}

// Verify makes the URL verification of an account on every replica and joins the errors.
func (s *Service) Verify(ctx context.Context, account string) error {
	return s.pusher.Verify(ctx, account)
}

// SetTargets replaces the gateway's replicas.
func (s *Service) SetTargets(targets []string) error { return s.pusher.SetTargets(targets) }

// Load makes the pushes of a plan and returns the report of everything since the last Reset. Cancelling ctx ends it at once.
// progress and read may be nil. It fails for a plan that cannot be judged or run.
func (s *Service) Load(ctx context.Context, plan Plan, progress func(Progress), read StoredReader) (Report, error) {
	if _, err := load.Run(ctx, ctx, s.loadDeps(), plan, progress); err != nil {
		return Report{}, err
	}
	return s.Report(ctx, read), nil
}

// Report returns the verdict over everything since the start or the last Reset. read may be nil: then the list posted
// to /sim/v1/stored counts.
func (s *Service) Report(ctx context.Context, read StoredReader) Report {
	if read == nil {
		read = s.stored.Reader()
	}
	return report.Build(ctx, s.ledger, read)
}

// Pushes returns the pushes that are kept, oldest first.
func (s *Service) Pushes() []PushRecord { return s.ledger.Pushes() }

// Fan returns what a fan saw and may be sent.
func (s *Service) Fan(account, openID string) (Fan, bool) { return s.ledger.Fan(account, openID) }

// Fans returns the fans of an account, without their screens.
func (s *Service) Fans(account string) []Fan { return s.ledger.Fans(account) }

// AddFan adds a fan.
func (s *Service) AddFan(account, openID string, following bool) error {
	return s.ledger.AddFan(account, openID, following)
}

// SetFaults replaces the fault script; the zero script ends every fault.
func (s *Service) SetFaults(script FaultScript) error { return s.faults.Set(script) }

// InvalidateTokens plays another system that refreshes an account's tokens; calls with an old one get errCode
// (40001, 40014 or 42001). It reports whether the account exists.
func (s *Service) InvalidateTokens(account string, errCode int) bool {
	return s.api.Invalidate(account, errCode)
}

// SetLimit changes the call limit of an API path. It reports whether account and path exist.
func (s *Service) SetLimit(account, path string, l Limit) bool {
	return s.api.SetLimit(account, path, l)
}

// AcceptNative plays an agent of WeChat's own customer service who takes a fan; an empty kf is the first agent.
// It returns the errcode of the API.
func (s *Service) AcceptNative(account, openID, kf string) int {
	return s.api.AcceptSession(account, openID, kf)
}

// CloseNative ends a fan's native session. It returns the errcode of the API.
func (s *Service) CloseNative(account, openID string) int {
	return s.api.CloseSession(account, openID, "")
}

// Advance moves the simulator's clock forward.
func (s *Service) Advance(d time.Duration) { s.clock.Advance(d) }

// Now returns the time of the simulator's clock.
func (s *Service) Now() time.Time { return s.clock.Now() }

// Reset forgets everything that happened; faults stay. Demo fans are back.
func (s *Service) Reset() {
	s.ledger.Reset()
	s.api.Reset()
	s.stored.Reset()
	s.addDemoFans()
}

// WriteRules writes a rules file that answers the numbered pushes 1 to count. An empty account means every account.
func (c Config) WriteRules(w io.Writer, count int, account string) error {
	ask, err := ledger.NewPattern(c.AskPattern)
	if err != nil {
		return err
	}
	reply, err := ledger.NewPattern(c.ReplyPattern)
	if err != nil {
		return err
	}
	return load.WriteRules(w, count, account, ask, reply)
}
