package sqldbtest

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/wxbus/wxbus/pkg/testkit"
)

// server is a Postgres of our own.
type server struct {
	cmd  *exec.Cmd
	dir  string
	port int
}

// own starts the server of this test binary once.
var own = sync.OnceValues(start)

var (
	startedMu sync.Mutex
	started   *server
)

// Main runs the tests of a package, stops its Postgres, and fails when goroutines are left over. Use it as TestMain
// instead of testkit.Main in packages that use Each, Options or URL.
func Main(m *testing.M, opts ...goleak.Option) {
	code := m.Run()
	stop()
	if code == 0 {
		if err := goleak.Find(opts...); err != nil {
			fmt.Fprintf(os.Stderr, "goleak: %v\n", err)
			code = 1
		}
	}
	os.Exit(code)
}

func start() (*server, error) {
	bin, err := binaries()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "wxbus-pg-")
	if err != nil {
		return nil, err
	}
	// Postgres does not run as root, so it becomes the user that Debian's package has made.
	cred, err := credential()
	if err != nil {
		return nil, err
	}
	if cred != nil {
		if err := os.Chown(dir, int(cred.Uid), int(cred.Gid)); err != nil {
			return nil, err
		}
	}
	data := filepath.Join(dir, "data")
	if err := run(cred, dir, filepath.Join(bin, "initdb"), "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync"); err != nil {
		return nil, err
	}
	ports, err := testkit.FreePorts(1)
	if err != nil {
		return nil, err
	}
	s := &server{dir: dir, port: ports[0]}
	// A test keeps nothing, so nothing needs to reach the disk.
	s.cmd = exec.Command(filepath.Join(bin, "postgres"), "-D", data, "-p", strconv.Itoa(s.port), "-k", dir,
		"-c", "listen_addresses=127.0.0.1", "-c", "fsync=off", "-c", "synchronous_commit=off", "-c", "full_page_writes=off", "-c", "max_connections=200")
	s.cmd.Dir = dir
	// The server ends with us even when we are killed.
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Credential: cred, Pdeathsig: syscall.SIGQUIT}
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	startedMu.Lock()
	started = s
	startedMu.Unlock()
	return s, s.ready()
}

func (s *server) ready() error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for range 1500 {
		c, err := net.DialTimeout("tcp", fmt.Sprintf("127.0.0.1:%d", s.port), time.Second)
		if err == nil {
			return c.Close()
		}
		<-tick.C
	}
	return errors.New("the server does not listen")
}

func stop() {
	startedMu.Lock()
	s := started
	startedMu.Unlock()
	if s == nil {
		return
	}
	_ = s.cmd.Process.Signal(syscall.SIGINT) // fast shutdown
	_ = s.cmd.Wait()
	_ = os.RemoveAll(s.dir)
}

// binaries finds the folder with the newest initdb.
func binaries() (string, error) {
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if err != nil {
		return "", err
	}
	if len(found) > 0 {
		return filepath.Dir(slices.Max(found)), nil
	}
	if path, err := exec.LookPath("initdb"); err == nil {
		return filepath.Dir(path), nil
	}
	return "", errors.New("no initdb below /usr/lib/postgresql or in PATH")
}

// Program returns a program of the package that the server is from, for example pg_dump.
func Program(t testing.TB, name string) string {
	t.Helper()
	bin, err := binaries()
	require.NoError(t, err, "install Postgres with scripts/postgres.sh")
	path := filepath.Join(bin, name)
	require.FileExists(t, path)
	return path
}

func credential() (*syscall.Credential, error) {
	if os.Getuid() != 0 {
		return nil, nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		return nil, err
	}
	uid, err1 := strconv.ParseUint(u.Uid, 10, 32)
	gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, errors.Join(err1, err2)
}

func run(cred *syscall.Credential, dir, name string, args ...string) error {
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: cred}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", filepath.Base(name), err, bytes.TrimSpace(out))
	}
	return nil
}
