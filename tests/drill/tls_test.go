package drill

import (
	"crypto/tls"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wxbus/wxbus/pkg/certs"
	"github.com/wxbus/wxbus/tests/stack"
)

// greet connects to a gRPC server and returns the serial number of its certificate, once the server has begun to speak: a
// certificate of ours that it refuses shows in its first word.
func greet(t *testing.T, address string, config *tls.Config) (string, error) {
	t.Helper()
	config.NextProtos = []string{"h2"}
	dialer := &tls.Dialer{Config: config}
	conn, err := dialer.DialContext(t.Context(), "tcp", address)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	require.NoError(t, conn.SetDeadline(time.Now().Add(time.Minute)))
	if _, err := conn.Read(make([]byte, 1)); err != nil {
		return "", err
	}
	return conn.(*tls.Conn).ConnectionState().PeerCertificates[0].SerialNumber.String(), nil
}

func TestServicesTalkOnlyWithCertificatesAndRenewThemAtWork(t *testing.T) {
	o := options()
	o.Mode, o.TLS = stack.Split, true
	o.Rules = "rules:\n  - {name: hello, match: {exact: [你好]}, do: [{reply: {text: 你好}}, {reply: {text: 还有一条}}]}\n"
	s := stack.Start(t, o)
	// The second reply goes from rule to sender and from there to token: three processes, two calls.
	answered := func(openid, msgID string) {
		t.Helper()
		require.Equal(t, "passive", push(t, s, openid, msgID, "你好"))
		require.Eventually(t, func() bool {
			var fan []byte
			s.Sim(t, http.MethodGet, "/sim/v1/accounts/"+account+"/fans/"+openid, nil, &fan)
			return strings.Contains(string(fan), "还有一条")
		}, time.Minute, 100*time.Millisecond)
	}
	answered("oFirst", "70001")
	out, err := s.CLI(t, "rules", "list")
	require.NoError(t, err, out)

	sender := s.Address("sender")
	load := func(name string) *certs.Store {
		store, err := certs.Load(certs.Options{Files: s.Certificates.Files("grpc", name)})
		require.NoError(t, err)
		return store
	}
	operator := load("operator")
	first, err := greet(t, sender, operator.Client(""))
	require.NoError(t, err)

	t.Run("who has none is refused", func(t *testing.T) {
		stranger := operator.Client("")
		stranger.Certificates = nil
		_, err := greet(t, sender, stranger)
		require.Error(t, err)
		plain := exec.CommandContext(t.Context(), filepath.Join(s.BinDir(), "wxbus"), "rules", "list", "--config", s.File)
		text, err := plain.CombinedOutput()
		require.Error(t, err, string(text))
	})
	t.Run("an expired one is refused", func(t *testing.T) {
		files := s.Certificates.IssueAt(t, time.Now().AddDate(0, -2, 0), "grpc", "late")
		pair, err := tls.LoadX509KeyPair(files.Cert, files.Key)
		require.NoError(t, err)
		late := operator.Client("")
		late.Certificates = []tls.Certificate{pair}
		_, err = greet(t, sender, late)
		require.Error(t, err)

		start := exec.CommandContext(t.Context(), filepath.Join(s.BinDir(), "token"), "-config", s.File, "-nats", strings.Join(s.NATS, ","))
		start.Env = append(os.Environ(), s.Login(t, "late")...)
		text, err := start.CombinedOutput()
		require.Error(t, err)
		require.Contains(t, string(text), "grpc.tls_cert_file: "+files.Cert+": the certificate expired at")
		require.Contains(t, string(text), "nats.tls_cert_file: ", "every fault at once")
	})
	t.Run("renewed ones count without a restart", func(t *testing.T) {
		for _, name := range []string{"rule", "sender", "token"} {
			s.Certificates.Issue(t, "grpc", name)
		}
		second, err := greet(t, sender, operator.Client(""))
		require.NoError(t, err)
		require.NotEqual(t, first, second)
		answered("oSecond", "70002")
	})
}
