package k8s

import (
	"crypto/tls"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/stretchr/testify/require"

	"github.com/wxbus/wxbus/pkg/certs/certstest"
	"github.com/wxbus/wxbus/pkg/config"
	"github.com/wxbus/wxbus/services/allinone"
)

// tlsFolder is where every process finds its certificate.
const tlsFolder = "/etc/wxbus-tls"

// tlsSecret returns the Secret that a workload has at tlsFolder; empty when it has none.
func tlsSecret(t *testing.T, w workload) string {
	t.Helper()
	i := slices.IndexFunc(w.Spec.Template.Spec.Volumes, func(v map[string]any) bool { return v["name"] == "tls" })
	if i < 0 {
		return ""
	}
	secret, ok := w.Spec.Template.Spec.Volumes[i]["secret"].(map[string]any)
	require.True(t, ok, w.id)
	require.EqualValues(t, 0o440, secret["defaultMode"], "%s: the key is for the process alone", w.id)
	mounts := w.main(t).VolumeMounts
	require.True(t, slices.ContainsFunc(mounts, func(m mount) bool {
		return m.Name == "tls" && m.MountPath == tlsFolder && m.ReadOnly && m.SubPath == ""
	}),
		"%s: a renewed Secret is replaced in folders only", w.id)
	name, _ := secret["secretName"].(string)
	return name
}

// sharedOf reads the configuration as the process of a workload does.
func sharedOf(t *testing.T, objects []object, w workload) config.Shared {
	t.Helper()
	var shared config.Shared
	load := config.LoadOptions{File: "wxbus.yaml", Content: []byte(wxbusFile(t, objects)), Env: variables(environment(w.main(t)))}
	require.NoError(t, config.Load(t.Context(), load, &shared), w.id)
	return shared
}

func TestEveryProcessHasACertificateOfItsOwnOrNone(t *testing.T) {
	each(t, func(t *testing.T, objects []object) {
		nats := statefulSet(t, objects, "nats")
		secure := tlsSecret(t, nats) != ""
		want := map[string]string{"nats": "", "provision": "", "simulator": "", "postgres": ""}
		for _, m := range allinone.Modules() {
			want[m.Name] = ""
			if secure && !m.WithoutBus {
				want[m.Name] = "wxbus-tls-" + m.Name
			}
		}
		if secure {
			want["nats"], want["provision"] = "wxbus-tls-nats", "wxbus-tls-provision"
		}
		for _, w := range workloads(t, objects) {
			require.Equal(t, want[w.name], tlsSecret(t, w), w.id)
		}
		for _, m := range allinone.Modules() {
			if m.WithoutBus {
				continue
			}
			shared := sharedOf(t, objects, deployment(t, objects, m.Name))
			require.Equal(t, secure, shared.NATS.TLSCert == tlsFolder+"/tls.crt", m.Name)
			require.Equal(t, secure, shared.NATS.TLSCAFile == tlsFolder+"/ca.crt", m.Name)
			talks := serves(t, objects, m.Name) || len(dialled(t, m.Name)) > 0
			require.Equal(t, secure && talks, shared.GRPC.TLSCert == tlsFolder+"/tls.crt", "%s: gRPC", m.Name)
		}
		require.Equal(t, secure, sharedOf(t, objects, one(t, workloads(t, objects, "Job"), "provision")).NATS.TLSCert != "")
	})
}

// serves tells whether others find a service by gRPC.
func serves(t *testing.T, objects []object, service string) bool {
	t.Helper()
	_, ok := sharedConfig(t, objects).GRPC.Addresses[service]
	return ok
}

func TestNATSWantsACertificateFromClientsAndServers(t *testing.T) {
	files := certstest.New(t).Issue(t, "nats", "nats")
	dir := t.TempDir()
	for name, text := range natsFiles(t, render(t, "secured")) {
		for from, to := range map[string]string{"tls.crt": files.Cert, "tls.key": files.Key, "ca.crt": files.CA} {
			text = strings.ReplaceAll(text, tlsFolder+"/"+from, to)
		}
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	natsVariables(t)
	opts, err := server.ProcessConfigFile(filepath.Join(dir, "server.conf"))
	require.NoError(t, err)
	require.NotNil(t, opts.TLSConfig)
	require.Equal(t, tls.RequireAndVerifyClientCert, opts.TLSConfig.ClientAuth)
	require.NotNil(t, opts.Cluster.TLSConfig)
	require.Equal(t, tls.RequireAndVerifyClientCert, opts.Cluster.TLSConfig.ClientAuth, "a server without a certificate is no server of ours")
	require.Len(t, opts.Routes, 3)
}

// certificate is what the tests read of one of cert-manager.
type certificate struct {
	Metadata struct{ Name string }
	Spec     struct {
		SecretName string
		DNSNames   []string
		IsCA       bool
		Usages     []string
	}
}

func TestCertificatesNameTheAddressesThatAreCalled(t *testing.T) {
	objects := render(t, "alternatives")
	byName := map[string]certificate{}
	for _, o := range kind(objects, "Certificate") {
		var c certificate
		o.decode(t, &c)
		require.Equal(t, c.Metadata.Name, c.Spec.SecretName)
		byName[c.Spec.SecretName] = c
	}
	for _, w := range workloads(t, objects) {
		if secret := tlsSecret(t, w); secret != "" {
			require.Contains(t, byName, secret, w.id)
			require.Subset(t, byName[secret].Spec.Usages, []string{"server auth", "client auth"}, w.id)
		}
	}
	shared := sharedConfig(t, objects)
	for service, address := range shared.GRPC.Addresses {
		host, _, _ := strings.Cut(strings.TrimPrefix(address, "dns:///"), ":")
		require.Contains(t, byName["wxbus-tls-"+service].Spec.DNSNames, host)
	}
	for _, address := range shared.NATS.URLs {
		u, err := url.Parse(address)
		require.NoError(t, err)
		_, domain, _ := strings.Cut(u.Hostname(), ".")
		require.Contains(t, byName["wxbus-tls-nats"].Spec.DNSNames, "*."+domain)
	}
}
