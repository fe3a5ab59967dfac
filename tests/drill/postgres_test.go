package drill

import (
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wxbus/wxbus/pkg/process"
	"github.com/wxbus/wxbus/pkg/sqldb/sqldbtest"
	agentroutingv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/agentrouting/v1"

	"github.com/wxbus/wxbus/tests/stack"
)

func TestMain(m *testing.M) { sqldbtest.Main(m) }

// postgres is a database of its own on the server of the tests.
type postgres struct{ server, url string }

func newPostgres(t *testing.T) postgres {
	t.Helper()
	p := postgres{server: sqldbtest.URL(t).Reveal()}
	u, err := url.Parse(p.server)
	require.NoError(t, err)
	u.Path = "/drill"
	p.url = u.String()
	// It listens before it has come up.
	require.Eventually(t, func() bool {
		return exec.CommandContext(t.Context(), sqldbtest.Program(t, "pg_isready"), "-q", "-d", p.server).Run() == nil
	}, time.Minute, 50*time.Millisecond, "Postgres is not ready")
	p.sql(t, "CREATE DATABASE drill")
	t.Cleanup(func() { p.sql(t, "DROP DATABASE drill WITH (FORCE)") })
	return p
}

// sql runs a statement on the server, outside of the database.
func (p postgres) sql(t *testing.T, statement string) {
	t.Helper()
	out, err := exec.Command(sqldbtest.Program(t, "psql"), p.server, "-v", "ON_ERROR_STOP=1", "-c", statement).CombinedOutput()
	require.NoError(t, err, string(out))
}

// run runs a command of docs/operations.md, with its folder in the place of /backup.
func (p postgres) run(t *testing.T, command, backup string) {
	t.Helper()
	operations, err := os.ReadFile(filepath.Join("..", "..", "docs", "operations.md"))
	require.NoError(t, err)
	require.Contains(t, string(operations), command, "operators are told something else")
	program, _, _ := strings.Cut(command, " ")
	cmd := exec.CommandContext(t.Context(), "sh", "-ec", strings.ReplaceAll(command, "/backup", backup))
	cmd.Env = append(os.Environ(), "SQL_URL="+p.url, "PATH="+filepath.Dir(sqldbtest.Program(t, program))+":"+os.Getenv("PATH"))
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s: %s", command, out)
}

// desk is what the service desk says of a fan.
type desk struct {
	api agentroutingv1.ConversationServiceClient
}

func openDesk(t *testing.T, s *stack.Stack) desk {
	t.Helper()
	conn, err := process.DialPlain(t.Context(), s.GRPC("agent-routing"))
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	return desk{agentroutingv1.NewConversationServiceClient(conn)}
}

// texts waits until the fan has one conversation with the given number of messages of the fan, and returns its id and
// those.
func (d desk) texts(t *testing.T, openid string, least int) (conversation string, texts []string) {
	t.Helper()
	require.Eventually(t, func() bool {
		fan, err := d.api.GetFan(t.Context(), &agentroutingv1.GetFanRequest{Account: account, Openid: openid})
		if err != nil || len(fan.GetFan().GetConversations()) != 1 {
			return false
		}
		conversation = fan.GetFan().GetConversations()[0].GetId()
		got, err := d.api.ListMessages(t.Context(), &agentroutingv1.ListMessagesRequest{Account: account, Conversation: conversation})
		if err != nil {
			return false
		}
		texts = nil
		for _, m := range got.GetMessages() {
			if m.GetAuthorKind() == agentroutingv1.AuthorKind_AUTHOR_KIND_FAN {
				texts = append(texts, m.GetText())
			}
		}
		return len(texts) >= least
	}, time.Minute, 100*time.Millisecond, "the desk does not know what %s wrote", openid)
	return conversation, texts
}

func TestADumpOfPostgresAndABackupAreOneSystemAgain(t *testing.T) {
	p := newPostgres(t)
	o := options()
	o.SQL = p.url
	o.Rules += "  - {name: people, match: {exact: [转人工]}, do: [{transfer: {queue: desk}}]}\n"
	s := stack.Start(t, o)
	push(t, s, "oFan", "60001", "转人工")
	push(t, s, "oFan", "60002", "我的订单在哪")
	before, texts := openDesk(t, s).texts(t, "oFan", 2)
	require.Equal(t, []string{"转人工", "我的订单在哪"}, texts)

	dir := t.TempDir()
	out, err := s.CLI(t, "backup", "--to", filepath.Join(dir, "wxbus"))
	require.NoError(t, err, out)
	p.run(t, `pg_dump --format=custom "$SQL_URL" > /backup/sql.dump`, dir)
	push(t, s, "oLate", "60003", "转人工") // after the backup: gone with the machine

	s.Gateways[0].Kill()
	require.NoError(t, os.RemoveAll(filepath.Join(s.Dir, "data", "nats")))
	p.sql(t, "DROP DATABASE drill WITH (FORCE)")
	p.sql(t, "CREATE DATABASE drill")
	require.Contains(t, wxbus(t, s, "restore", "--from", filepath.Join(dir, "wxbus")), "restored")
	p.run(t, `pg_restore --clean --if-exists --dbname "$SQL_URL" /backup/sql.dump`, dir)
	s.RestartSender(t) // in one process: everything

	d := openDesk(t, s)
	after, texts := d.texts(t, "oFan", 2)
	require.Equal(t, before, after)
	require.Equal(t, []string{"转人工", "我的订单在哪"}, texts)
	push(t, s, "oFan", "60004", "还在吗")
	again, texts := d.texts(t, "oFan", 3)
	require.Equal(t, before, again, "the conversation goes on")
	require.Equal(t, []string{"转人工", "我的订单在哪", "还在吗"}, texts)
	fan, err := d.api.GetFan(t.Context(), &agentroutingv1.GetFanRequest{Account: account, Openid: "oLate"})
	require.True(t, err != nil || len(fan.GetFan().GetConversations()) == 0, "what came after the backup is gone on both sides")
}
