package k8s

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/wxbus/wxbus/pkg/topology"
)

// patience is for what must happen; nothing waits for it when all is well.
const patience = 30 * time.Second

func upper(user string) string {
	return strings.TrimPrefix(topology.PasswordVariable(user), "NATS_PASSWORD_")
}

// natsVariables sets what the files of NATS take from their container.
func natsVariables(t *testing.T) {
	t.Helper()
	t.Setenv("POD_NAME", "nats-0")
	t.Setenv("STORE_LIMIT", "1GB")
	for _, user := range topology.Users() {
		t.Setenv(topology.PasswordVariable(user), "secret-"+user)
	}
}

// startNATS starts one server with the very files of the ConfigMap; only what belongs to the machine differs.
func startNATS(t *testing.T) *server.Server {
	t.Helper()
	dir := t.TempDir()
	for name, text := range natsFiles(t, render(t, "prod")) {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	natsVariables(t)
	opts, err := server.ProcessConfigFile(filepath.Join(dir, "server.conf"))
	require.NoError(t, err)
	require.True(t, opts.SyncAlways)
	require.Len(t, opts.Users, len(topology.Users()))
	opts.StoreDir, opts.PidFile = filepath.Join(dir, "store"), ""
	opts.Host, opts.Port, opts.HTTPPort = "127.0.0.1", server.RANDOM_PORT, 0
	opts.Cluster, opts.Routes = server.ClusterOpts{}, nil
	opts.SyncAlways, opts.NoSigs, opts.NoLog = false, true, true
	srv, err := server.NewServer(opts)
	require.NoError(t, err)
	go srv.Start()
	t.Cleanup(func() {
		srv.Shutdown()
		srv.WaitForShutdown()
	})
	require.True(t, srv.ReadyForConnections(patience))
	return srv
}

// client is one user, connected.
type client struct {
	user   string
	nc     *nats.Conn
	js     jetstream.JetStream
	denied chan error
}

func connect(t *testing.T, srv *server.Server, user string) *client {
	t.Helper()
	c := &client{user: user, denied: make(chan error, 16)}
	var err error
	c.nc, err = nats.Connect(srv.ClientURL(), nats.UserInfo(user, "secret-"+user), nats.CustomInboxPrefix("_INBOX_"+user),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			if errors.Is(err, nats.ErrPermissionViolation) {
				c.denied <- err
			}
		}))
	require.NoError(t, err, user)
	t.Cleanup(c.nc.Close)
	c.js, err = jetstream.New(c.nc)
	require.NoError(t, err)
	return c
}

// refused checks that the server denies a message on a subject.
func (c *client) refused(t *testing.T, subject string) {
	t.Helper()
	require.NoError(t, c.nc.PublishRequest(subject, c.nc.NewInbox(), []byte("{}")))
	require.NoError(t, c.nc.Flush())
	select {
	case err := <-c.denied:
		require.ErrorContains(t, err, subject, c.user)
	case <-time.After(patience):
		t.Fatalf("%s may publish on %s", c.user, subject)
	}
}

func provisioned(t *testing.T) (*server.Server, *topology.Topology) {
	t.Helper()
	srv := startNATS(t)
	topo, err := topology.New(topology.Options{Partitions: 2, Store: 256 << 20})
	require.NoError(t, err)
	require.NoError(t, topo.Ensure(t.Context(), connect(t, srv, topology.UserProvision).js))
	return srv, topo
}

// Whether each service can do all of its work is shown by make e2e-users: the end-to-end table over servers with these users.
func TestEachServiceMayDoItsWorkAndNotThatOfOthers(t *testing.T) {
	srv, topo := provisioned(t)
	published := map[string]string{
		"gateway": "wx.in.shop.0.message.fan", "sender": "wx.out.rule.shop.0.fan", "agent-routing": "wx.conv.shop.1",
		"rule": "wx.decision.shop.0.1", "token": "$KV.tokens.shop", "console": "wx.dlq.console.INBOUND",
	}
	denied := map[string][]string{
		"gateway": {"wx.out.rule.shop.0.fan", "$KV.tokens.shop", "$JS.API.CONSUMER.MSG.NEXT.INBOUND.rule-00"},
		"rule":    {"wx.in.shop.0.message.fan", "wx.out.rule.shop.0.fan", "$KV.owners.shop.fan", "$JS.API.STREAM.PURGE.INBOUND"},
		"token":   {"wx.in.shop.0.message.fan", "$JS.API.CONSUMER.CREATE.CONVERSATIONS", "$JS.API.STREAM.MSG.GET.INBOUND"},
		"sender":  {"wx.in.shop.0.message.fan", "wx.decision.shop.0.1", "$JS.API.STREAM.DELETE.OUTBOUND"},
		"agent-routing": {
			"wx.in.shop.0.message.fan", "$JS.API.CONSUMER.MSG.NEXT.INBOUND.rule-00", "$JS.API.CONSUMER.DELETE.INBOUND.rule-00", "$KV.tokens.shop",
		},
		"console":   {"wx.in.shop.0.message.fan", "wx.out.rule.shop.0.fan", "$KV.tokens.shop", "$JS.API.CONSUMER.CREATE.INBOUND.rule-00.wx.in.>"},
		"provision": {"wx.in.shop.0.message.fan", "$JS.API.STREAM.DELETE.INBOUND", "$JS.API.STREAM.MSG.GET.INBOUND"},
	}
	require.Len(t, published, 6)
	for _, user := range slices.Sorted(maps.Keys(denied)) {
		c := connect(t, srv, user)
		require.NoError(t, topo.Check(t.Context(), c.js), "%s checks the streams at its start", user)
		if subject := published[user]; subject != "" {
			_, err := c.js.Publish(t.Context(), subject, []byte("x"))
			require.NoError(t, err, user)
		}
		for _, subject := range denied[user] {
			c.refused(t, subject)
		}
		require.Empty(t, c.denied, user)
	}
}

func TestADurableIsReadByItsServiceAlone(t *testing.T) {
	srv, _ := provisioned(t)
	_, err := connect(t, srv, "gateway").js.Publish(t.Context(), "wx.in.shop.0.message.fan", []byte("x"))
	require.NoError(t, err)
	consumer, err := connect(t, srv, "rule").js.Consumer(t.Context(), topology.StreamInbound, "rule-00")
	require.NoError(t, err)
	msgs, err := consumer.Fetch(1, jetstream.FetchMaxWait(patience), jetstream.FetchPriorityGroup(topology.PriorityGroup))
	require.NoError(t, err)
	n := 0
	for m := range msgs.Messages() {
		n++
		require.NoError(t, m.DoubleAck(t.Context()))
	}
	require.NoError(t, msgs.Error())
	require.Equal(t, 1, n)
}

func TestAnInboxBelongsToItsService(t *testing.T) {
	srv, _ := provisioned(t)
	c := connect(t, srv, "token")
	_, err := c.nc.Subscribe("_INBOX_sender.>", func(*nats.Msg) {})
	require.NoError(t, err)
	require.NoError(t, c.nc.Flush())
	select {
	case err := <-c.denied:
		require.ErrorContains(t, err, "_INBOX_sender")
	case <-time.After(patience):
		t.Fatal("token hears the answers to the sender")
	}
}

func TestNobodyConnectsWithoutAPassword(t *testing.T) {
	srv := startNATS(t)
	for _, option := range []nats.Option{nats.Name("nobody"), nats.UserInfo("gateway", "wrong"), nats.UserInfo("stranger", "secret-stranger")} {
		_, err := nats.Connect(srv.ClientURL(), option)
		require.ErrorIs(t, err, nats.ErrAuthorization)
	}
}
