// Package login opens sessions: by name and password, or for somebody whom an identity provider has
// vouched for. The secret of a session is 256 random bits in a cookie; the database knows its hash.
package login

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"log/slog"
	"strings"
	"time"

	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/telemetry/logkey"

	"github.com/wxbus/wxbus/services/console/internal/password"
	"github.com/wxbus/wxbus/services/console/internal/store"
)

// Reasons of a refusal. Match with errors.Is.
var (
	// ErrWrong means that the name or the password is wrong, or that the user may not log in. It does not say which.
	ErrWrong = errors.New("the name or the password is wrong")
	// ErrNoSession means that the cookie is missing, unknown, too old or ended.
	ErrNoSession = errors.New("nobody is logged in")
)

const (
	secretSize  = 32
	maxSessions = 20 // of one user
	maxAgent    = 200
	// seenEvery is how exactly the time of the last use is kept, so that reading does not always write.
	seenEvery = time.Minute
)

// The limits of attempts. A user waits after five failures, so that a password cannot be guessed; an address
// after twenty, so that nobody tries one password with many names.
var (
	perUser    = store.Limit{Free: 5, Base: 30 * time.Second, Max: time.Hour, Forget: 2 * time.Hour}
	perAddress = store.Limit{Free: 20, Base: time.Minute, Max: time.Hour, Forget: 2 * time.Hour}
)

// Options of a Service. Every field is required.
type Options struct {
	Store  *store.Store
	Hasher *password.Hasher
	Log    *slog.Logger
	Now    func() time.Time
	// Idle ends a session without requests, Absolute ends it in any case.
	Idle, Absolute time.Duration
}

// Service logs people in and out. It is safe for concurrent use.
type Service struct{ o Options }

// New returns a service.
func New(o Options) *Service { return &Service{o} }

// Browser is where a log-in comes from.
type Browser struct {
	// Address of the client, without a port.
	Address string
	// Agent is the User-Agent header.
	Agent string
	// Secret of the cookie that the browser has; a log-in ends that session.
	Secret string
	// Local is true for a page that is opened by plain http on this machine.
	Local bool
}

type browserKey struct{}

// WithBrowser returns a context that carries where a request comes from.
func WithBrowser(ctx context.Context, b Browser) context.Context {
	return context.WithValue(ctx, browserKey{}, b)
}

// BrowserOf returns where a request comes from.
func BrowserOf(ctx context.Context) Browser {
	b, _ := ctx.Value(browserKey{}).(Browser)
	return b
}

// Opened is a new session. Secret goes into the cookie and nowhere else.
type Opened struct {
	Secret  string
	Session *store.Session
	User    *store.User
}

// LogIn checks a name and a password and opens a session. It fails with ErrWrong, or with Exhausted and a
// delay after too many attempts. Unknown names cost the same work and the same attempts as known ones.
func (s *Service) LogIn(ctx context.Context, name, secret string, b Browser) (*Opened, error) {
	name = strings.ToLower(strings.TrimSpace(name))
	address, person := "ip:"+b.Address, "user:"+subject(name)
	now := s.o.Now()
	if err := s.o.Store.TakeAttempt(ctx, address, perAddress, now); err != nil {
		return nil, err
	}
	if err := s.o.Store.TakeAttempt(ctx, person, perUser, now); err != nil {
		return nil, err
	}
	u, err := s.o.Store.User(ctx, name)
	if err != nil && fault.KindOf(err) != fault.NotFound {
		return nil, err
	}
	hash := ""
	if u != nil && !u.Disabled {
		hash = u.PasswordHash
	}
	ok, err := s.o.Hasher.Verify(ctx, hash, secret)
	if err != nil {
		return nil, err
	}
	if !ok {
		s.o.Log.InfoContext(ctx, "log-in refused", "address", b.Address)
		return nil, ErrWrong
	}
	// A failure to forget costs the user an attempt, not the log-in.
	if err := errors.Join(s.o.Store.ForgiveAttempt(ctx, person, true), s.o.Store.ForgiveAttempt(ctx, address, false)); err != nil {
		s.o.Log.WarnContext(ctx, "attempts of a good log-in are not forgotten", logkey.Error, err)
	}
	return s.Open(ctx, u, b)
}

// subject bounds what a name may cost in the table of attempts.
func subject(name string) string {
	if len(name) <= 64 {
		return name
	}
	sum := sha256.Sum256([]byte(name))
	return hex.EncodeToString(sum[:])
}

// Open opens a session for a user who has proved who they are. The session that the browser had ends.
func (s *Service) Open(ctx context.Context, u *store.User, b Browser) (*Opened, error) {
	raw := make([]byte, secretSize)
	_, _ = rand.Read(raw) // crypto/rand.Read never fails
	secret := base64.RawURLEncoding.EncodeToString(raw)
	now := s.o.Now()
	x := &store.Session{
		Hash: hashOf(secret), ID: strings.ToLower(rand.Text()[:16]), User: u.Name, Address: b.Address, Agent: bounded(b.Agent),
		CreatedMS: now.UnixMilli(), SeenMS: now.UnixMilli(), ExpiresMS: now.Add(s.o.Absolute).UnixMilli(),
	}
	var replaces []byte
	if b.Secret != "" {
		replaces = hashOf(b.Secret)
	}
	if err := s.o.Store.OpenSession(ctx, x, replaces, maxSessions); err != nil {
		return nil, err
	}
	u.LastLogInMS = x.CreatedMS
	return &Opened{Secret: secret, Session: x, User: u}, nil
}

func bounded(agent string) string {
	agent = strings.ToValidUTF8(agent, "\uFFFD")
	if len(agent) > maxAgent {
		agent = strings.ToValidUTF8(agent[:maxAgent], "")
	}
	return agent
}

func hashOf(secret string) []byte {
	sum := sha256.Sum256([]byte(secret))
	return sum[:]
}

// Resolve returns the session of a cookie and its user, or ErrNoSession. It notes the use about once a minute;
// with touch false it does not, so that a page that only listens does not stay logged in for ever.
func (s *Service) Resolve(ctx context.Context, secret string, touch bool) (*store.Session, *store.User, error) {
	if secret == "" {
		return nil, nil, ErrNoSession
	}
	x, u, err := s.o.Store.SessionUser(ctx, hashOf(secret))
	if fault.KindOf(err) == fault.NotFound && err != nil {
		return nil, nil, ErrNoSession
	}
	if err != nil {
		return nil, nil, err
	}
	now := s.o.Now()
	idle := time.UnixMilli(x.SeenMS).Add(s.o.Idle)
	if u.Disabled || !now.Before(idle) || now.UnixMilli() >= x.ExpiresMS {
		return nil, nil, ErrNoSession
	}
	if touch && now.Sub(time.UnixMilli(x.SeenMS)) >= seenEvery {
		if err := s.o.Store.TouchSession(ctx, x.Hash, now.UnixMilli()); err != nil {
			s.o.Log.DebugContext(ctx, "the use of a session is not noted", logkey.Error, err)
		} else {
			x.SeenMS = now.UnixMilli()
		}
	}
	return x, u, nil
}

// IdleUntil is when a session ends without another request.
func (s *Service) IdleUntil(x *store.Session) time.Time {
	return time.UnixMilli(min(time.UnixMilli(x.SeenMS).Add(s.o.Idle).UnixMilli(), x.ExpiresMS))
}

// LogOut ends the session of a cookie.
func (s *Service) LogOut(ctx context.Context, secret string) error {
	if secret == "" {
		return nil
	}
	return s.o.Store.EndSession(ctx, hashOf(secret))
}

// ChangePassword checks the old password of a user, sets the new one, ends all sessions of the user and opens a
// new one. A wrong old password counts as an attempt.
func (s *Service) ChangePassword(ctx context.Context, name, old, fresh string, b Browser) (*Opened, error) {
	if err := password.Check(fresh); err != nil {
		return nil, fault.Errorf(fault.Invalid, "new_password: %w", err)
	}
	person := "user:" + subject(name)
	if err := s.o.Store.TakeAttempt(ctx, person, perUser, s.o.Now()); err != nil {
		return nil, err
	}
	u, err := s.o.Store.User(ctx, name)
	if err != nil {
		return nil, err
	}
	if u.Issuer != "" {
		return nil, fault.New(fault.Refused, "the identity provider keeps the password of this user")
	}
	ok, err := s.o.Hasher.Verify(ctx, u.PasswordHash, old)
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, fault.New(fault.Invalid, "old_password: is wrong")
	}
	hash, err := s.o.Hasher.Hash(ctx, fresh)
	if err != nil {
		return nil, err
	}
	_, u, err = s.o.Store.ChangeUser(ctx, name, func(u *store.User) (bool, error) {
		u.PasswordHash, u.MustChange = hash, false
		return true, nil
	})
	if err != nil {
		return nil, err
	}
	if err := s.o.Store.ForgiveAttempt(ctx, person, true); err != nil {
		s.o.Log.WarnContext(ctx, "attempts of a good password are not forgotten", logkey.Error, err)
	}
	return s.Open(ctx, u, b)
}

// LockedUntil returns when a user may try again, Unix milliseconds, by name.
func (s *Service) LockedUntil(ctx context.Context) (map[string]int64, error) {
	all, err := s.o.Store.LockedUntil(ctx, s.o.Now().UnixMilli())
	out := map[string]int64{}
	for subject, until := range all {
		if name, ok := strings.CutPrefix(subject, "user:"); ok {
			out[name] = until
		}
	}
	return out, err
}
