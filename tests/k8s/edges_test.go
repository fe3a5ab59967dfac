package k8s

import (
	"cmp"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/wxbus/wxbus/services/allinone"
)

// edge is one pod that may call another one at a port.
type edge struct {
	from, to string
	port     int
}

func (e edge) String() string { return fmt.Sprintf("%s -> %s:%d", e.from, e.to, e.port) }

const (
	portNATS, portRoutes, portGRPC = 4222, 6222, 9090
	portSQL, portGateway           = 5432, 8080
	portSimulator, portTraces      = 8082, 4317
)

// edgesOfTheCode returns what the code calls, whatever the manifests say.
func edgesOfTheCode(t *testing.T) []edge {
	t.Helper()
	edges := []edge{{"nats", "nats", portRoutes}, {"provision", "nats", portNATS}}
	for _, m := range allinone.Modules() {
		if !m.WithoutBus {
			edges = append(edges, edge{m.Name, "nats", portNATS})
		}
		for _, called := range dialled(t, m.Name) {
			edges = append(edges, edge{m.Name, called, portGRPC})
		}
		if imports(t, m.Name, "wxbus/pkg/sqldb") {
			edges = append(edges, edge{m.Name, "postgres", portSQL})
		}
	}
	return edges
}

// source parses the files of a service without its tests; the root package alone, or everything below it.
func source(t *testing.T, service string, below bool) []*ast.File {
	t.Helper()
	var files []*ast.File
	dir := filepath.Join(root(), "services", service)
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && path != dir && (!below || d.Name() == "node_modules" || d.Name() == "testdata"):
			return filepath.SkipDir
		case d.IsDir() || filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go"):
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		files = append(files, f)
		return err
	})
	require.NoError(t, err)
	require.NotEmpty(t, files, service)
	return files
}

func imports(t *testing.T, service, suffix string) bool {
	t.Helper()
	for _, f := range source(t, service, true) {
		for _, i := range f.Imports {
			if path, _ := strconv.Unquote(i.Path.Value); strings.HasSuffix(path, suffix) {
				return true
			}
		}
	}
	return false
}

// dialled returns the services that a service gets a connection to: the second argument of every call of Dial in its
// root package, a literal or the key of a table.
func dialled(t *testing.T, service string) []string {
	t.Helper()
	files := source(t, service, false)
	var out []string
	for _, f := range files {
		ranges := map[string]string{} // variable of a loop: what it goes over
		ast.Inspect(f, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.RangeStmt:
				key, isKey := n.Key.(*ast.Ident)
				over, isName := n.X.(*ast.Ident)
				if isKey && isName {
					ranges[key.Name] = over.Name
				}
			case *ast.CallExpr:
				call, ok := n.Fun.(*ast.SelectorExpr)
				if !ok || call.Sel.Name != "Dial" || len(n.Args) != 2 {
					return true
				}
				switch arg := n.Args[1].(type) {
				case *ast.BasicLit:
					name, err := strconv.Unquote(arg.Value)
					require.NoError(t, err)
					out = append(out, name)
				case *ast.Ident:
					out = append(out, keysOf(t, files, ranges[arg.Name])...)
				default:
					t.Fatalf("%s: a call of Dial that this test cannot read", service)
				}
			}
			return true
		})
	}
	return out
}

// keysOf returns the keys of a table that is a variable of the package.
func keysOf(t *testing.T, files []*ast.File, name string) []string {
	t.Helper()
	var keys []string
	for _, f := range files {
		ast.Inspect(f, func(n ast.Node) bool {
			spec, ok := n.(*ast.ValueSpec)
			if !ok || len(spec.Names) != 1 || spec.Names[0].Name != name || len(spec.Values) != 1 {
				return true
			}
			table, ok := spec.Values[0].(*ast.CompositeLit)
			require.True(t, ok, name)
			for _, e := range table.Elts {
				pair, ok := e.(*ast.KeyValueExpr)
				require.True(t, ok, name)
				key, err := strconv.Unquote(pair.Key.(*ast.BasicLit).Value)
				require.NoError(t, err)
				keys = append(keys, key)
			}
			return true
		})
	}
	require.NotEmpty(t, keys, "a table of services called %q", name)
	return keys
}

// callsWeChat tells whether a service makes a client of WeChat's API.
func callsWeChat(t *testing.T, service string) bool {
	t.Helper()
	found := false
	for _, f := range source(t, service, true) {
		ast.Inspect(f, func(n ast.Node) bool {
			if s, ok := n.(*ast.SelectorExpr); ok && s.Sel.Name == "NewClient" {
				if pkg, ok := s.X.(*ast.Ident); ok && pkg.Name == "wechat" {
					found = true
				}
			}
			return !found
		})
	}
	return found
}

// networkPolicy is what the tests read of one.
type networkPolicy struct {
	Metadata struct{ Name string }
	Spec     struct {
		PodSelector     struct{ MatchLabels map[string]string }
		PolicyTypes     []string
		Ingress, Egress []struct {
			From, To []struct {
				PodSelector       *struct{ MatchLabels map[string]string }
				NamespaceSelector *struct{ MatchLabels map[string]string }
				IPBlock           *struct {
					CIDR   string
					Except []string
				}
			}
			Ports []struct{ Port int }
		}
	}
}

const nameLabel = "app.kubernetes.io/name"

// allowed returns the edges inside of the namespace that the policies let out of their source, and into their target.
func allowed(t *testing.T, objects []object) (out, in []edge) {
	t.Helper()
	for _, o := range kind(objects, "NetworkPolicy") {
		var p networkPolicy
		o.decode(t, &p)
		self := p.Spec.PodSelector.MatchLabels[nameLabel]
		for _, rule := range p.Spec.Egress {
			for _, peer := range rule.To {
				if peer.PodSelector == nil || peer.NamespaceSelector != nil {
					continue
				}
				for _, port := range rule.Ports {
					out = append(out, edge{self, peer.PodSelector.MatchLabels[nameLabel], port.Port})
				}
			}
		}
		for _, rule := range p.Spec.Ingress {
			for _, peer := range rule.From {
				if peer.PodSelector == nil || peer.NamespaceSelector != nil {
					continue
				}
				for _, port := range rule.Ports {
					in = append(in, edge{peer.PodSelector.MatchLabels[nameLabel], self, port.Port})
				}
			}
		}
	}
	return out, in
}

func sorted(edges []edge) []edge {
	return slices.SortedFunc(slices.Values(edges), func(a, b edge) int { return cmp.Compare(a.String(), b.String()) })
}

func TestNetworkPoliciesAreTheEdgesOfTheCode(t *testing.T) {
	each(t, func(t *testing.T, objects []object) {
		shared := sharedConfig(t, objects)
		want := edgesOfTheCode(t)
		if shared.Telemetry.OTLPEndpoint != "" {
			u, err := url.Parse(shared.Telemetry.OTLPEndpoint)
			require.NoError(t, err)
			for _, m := range allinone.Modules() {
				if m.Name != "simulator" {
					want = append(want, edge{m.Name, u.Hostname(), portTraces})
				}
			}
		}
		simulated := strings.HasPrefix(shared.Accounts[0].APIBase, "http://simulator:")
		if simulated {
			want = append(want, edge{"simulator", "gateway", portGateway})
			for _, m := range allinone.Modules() {
				if callsWeChat(t, m.Name) {
					want = append(want, edge{m.Name, "simulator", portSimulator})
				}
			}
		} else { // Postgres is outside; what leaves the cluster has its own test
			want = slices.DeleteFunc(want, func(e edge) bool { return e.to == "postgres" })
		}
		out, in := allowed(t, objects)
		require.Equal(t, sorted(want), sorted(out), "let out of the source")
		require.Equal(t, sorted(want), sorted(in), "let into the target")
	})
}

func TestWhatIsNotListedIsDenied(t *testing.T) {
	each(t, func(t *testing.T, objects []object) {
		var deny networkPolicy
		find(t, objects, "NetworkPolicy", "default-deny").decode(t, &deny)
		require.Empty(t, deny.Spec.PodSelector.MatchLabels)
		require.ElementsMatch(t, []string{"Ingress", "Egress"}, deny.Spec.PolicyTypes)
		require.Empty(t, deny.Spec.Ingress)
		require.Empty(t, deny.Spec.Egress)
	})
}

func TestOnlyWhatCallsStrangersReachesTheInternet(t *testing.T) {
	want := map[string]bool{}
	for _, m := range allinone.Modules() {
		if callsWeChat(t, m.Name) || imports(t, m.Name, "wxbus/pkg/httpout") || imports(t, m.Name, "rule/internal/egress") {
			want[m.Name] = m.Name != "simulator"
		}
	}
	each(t, func(t *testing.T, objects []object) {
		got := map[string]bool{}
		for _, o := range kind(objects, "NetworkPolicy") {
			var p networkPolicy
			o.decode(t, &p)
			for _, rule := range p.Spec.Egress {
				for _, peer := range rule.To {
					if peer.IPBlock == nil || peer.IPBlock.CIDR != "0.0.0.0/0" {
						continue
					}
					got[p.Spec.PodSelector.MatchLabels[nameLabel]] = true
					require.Contains(t, peer.IPBlock.Except, "169.254.0.0/16", "the addresses of the cloud's metadata")
					require.Contains(t, peer.IPBlock.Except, "10.0.0.0/8")
					require.Equal(t, []struct{ Port int }{{443}}, rule.Ports)
				}
			}
		}
		require.Equal(t, want, got)
	})
}
