package console

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	consolev1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/console/v1"

	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/telemetry/logkey"

	"github.com/wxbus/wxbus/services/console/internal/people"
)

// firstPassword is the file with the password of the first administrator, below data.
const firstPassword = "console-first-password"

// demoPeople are the people of the demo. Their passwords are no secrets: the log-in page shows them.
var demoPeople = []struct {
	profile  people.Profile
	password string
}{
	{people.Profile{Name: "admin", DisplayName: "管理员", Roles: people.AllRoles, Accounts: everyAccount}, "demo-admin-1"},
	{people.Profile{Name: "wang", DisplayName: "小王（主管）", Roles: []consolev1.Role{consolev1.Role_ROLE_AGENT, consolev1.Role_ROLE_SUPERVISOR}, Accounts: everyAccount}, "demo-wang-1"},
	{people.Profile{Name: "li", DisplayName: "小李", Roles: []consolev1.Role{consolev1.Role_ROLE_AGENT}, Accounts: everyAccount}, "demo-li-001"},
	{people.Profile{Name: "zhao", DisplayName: "小赵（运营）", Roles: []consolev1.Role{consolev1.Role_ROLE_OPERATOR}, Accounts: everyAccount}, "demo-zhao-1"},
}

var everyAccount = []string{people.EveryAccount}

// demoPatience is how long the log-in page waits for its users: to make them takes a second, a database that is away longer.
const demoPatience = 5 * time.Second

// demoUsers are the demo's users for the log-in page, as soon as they can log in.
func (s *Service) demoUsers(ctx context.Context) []*consolev1.DemoUser {
	if !s.cfg.Demo {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, demoPatience)
	defer cancel()
	select {
	case <-s.demoMade:
	case <-ctx.Done():
		return nil
	}
	out := make([]*consolev1.DemoUser, 0, len(demoPeople))
	for _, u := range demoPeople {
		out = append(out, &consolev1.DemoUser{Name: u.profile.Name, Password: u.password, Roles: u.profile.Roles})
	}
	return out
}

// makeFirstUsers waits for the database and makes those who can make the others.
func (s *Service) makeFirstUsers(ctx context.Context) {
	select {
	case <-s.store.Opened():
	case <-ctx.Done():
		return
	}
	first := s.firstAdmin
	if s.cfg.Demo {
		first = s.demo
	}
	err := first(ctx)
	if err != nil && ctx.Err() == nil {
		s.log.ErrorContext(ctx, "the first users are not made", logkey.Error, err)
	}
}

func (s *Service) demo(ctx context.Context) error {
	for _, u := range demoPeople {
		_, _, err := s.people.Create(ctx, u.profile, u.password)
		if err != nil && fault.KindOf(err) != fault.Conflict {
			return err
		}
	}
	close(s.demoMade)
	return nil
}

// firstAdmin makes the first administrator when there is no user. The password goes into a file that only its owner may
// read, not into the log: logs travel.
func (s *Service) firstAdmin(ctx context.Context) error {
	profile := people.Profile{Name: s.cfg.FirstAdmin.Name, Roles: people.AllRoles, Accounts: everyAccount}
	u, made, err := s.people.CreateFirst(ctx, profile, s.cfg.FirstAdmin.Password.Reveal())
	if err != nil || u == nil {
		return err
	}
	if made == "" {
		s.log.WarnContext(ctx, "made the first administrator with the configured password", "user", u.Name)
		return nil
	}
	name := filepath.Join(s.data, firstPassword)
	if err := os.WriteFile(name, []byte(made+"\n"), 0o600); err != nil {
		return fmt.Errorf("write the password of the first administrator (make a new one with wxbus users reset-password): %w", err)
	}
	s.log.WarnContext(ctx, "made the first administrator; the password must be changed at the first log-in", "user", u.Name, "password_file", name)
	return nil
}
