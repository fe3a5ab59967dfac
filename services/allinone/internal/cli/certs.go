package cli

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/wxbus/wxbus/pkg/certs"
	"github.com/wxbus/wxbus/pkg/process"
	"github.com/wxbus/wxbus/pkg/topology"
)

// natsHolder is the name of the certificate that all NATS servers share.
const natsHolder = "nats"

// issuing is what the command wxbus certs was asked for.
type issuing struct {
	dir, namespace   string
	valid, authority time.Duration
	replace          bool
	now              time.Time
}

func (a *app) certsCommand() *cobra.Command {
	i := issuing{}
	cmd := &cobra.Command{
		Use: "certs", Short: "Make certificates for mutual TLS between services and with NATS", Args: noArgs,
		Long: `Makes an authority, and a certificate for each service, for the NATS servers, for wxbus provision and for operators, as files
and as Secrets for components/tls of deploy/k8s. Run it again with the same folder to renew the certificates; the authority stays.
With --new-authority it makes another one, which everybody trusts from then on and which signs from the next run; the run after
that forgets the former one. Let every process read the files between two runs (two minutes in Kubernetes).

The folder has the key of the authority (authority.pem): who has it can be every service. Keep it away from the cluster.`,
		Example: `  wxbus certs --to certs
  wxbus certs --to certs --namespace wxbus && kubectl apply -f certs/secrets.yaml`,
		RunE: func(*cobra.Command, []string) error {
			if i.dir == "" {
				return usagef("certs needs --to")
			}
			if i.valid <= 0 || i.authority < i.valid {
				return usagef("--valid must be positive and not longer than --authority-valid")
			}
			i.now = time.Now()
			ends, err := i.run()
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(map[string]string{"folder": i.dir, "expires": ends.UTC().Format(time.RFC3339)})
			}
			_, err = fmt.Fprintf(a.stdout, "certificates for %d holders in %s, valid until %s\n", len(holders()), i.dir, ends.UTC().Format(time.RFC3339))
			return err
		},
	}
	f := cmd.Flags()
	f.StringVar(&i.dir, "to", "", "folder of the authority and its certificates; made when it is not there")
	f.StringVar(&i.namespace, "namespace", "wxbus", "namespace in Kubernetes, for the names of the services")
	f.DurationVar(&i.valid, "valid", 90*24*time.Hour, "how long certificates are valid")
	f.DurationVar(&i.authority, "authority-valid", 5*365*24*time.Hour, "how long a new authority is valid")
	f.BoolVar(&i.replace, "new-authority", false, "make a new authority, which signs from the next run on")
	return cmd
}

// holders returns who gets a certificate.
func holders() []string {
	out := slices.DeleteFunc(process.Names(), func(s string) bool { return s == "simulator" }) // it knows neither gRPC nor NATS
	return append(out, natsHolder, topology.UserProvision, topology.UserOperator)
}

// hosts returns the names by which others call a holder.
func (i issuing) hosts(holder string) []string {
	services := []string{holder}
	if holder == natsHolder {
		services = append(services, "nats-headless", "*.nats-headless")
	}
	var out []string
	for _, s := range services {
		out = append(out, s, s+"."+i.namespace, s+"."+i.namespace+".svc", s+"."+i.namespace+".svc.cluster.local")
	}
	return out
}

// run writes everything and returns until when the certificates are valid.
func (i issuing) run() (time.Time, error) {
	signer, trusted, err := i.signer()
	if err != nil {
		return time.Time{}, err
	}
	var secrets bytes.Buffer
	for _, holder := range holders() {
		pair, err := signer.Issue(i.hosts(holder), i.now, i.valid)
		if err != nil {
			return time.Time{}, err
		}
		for name, content := range map[string][]byte{"tls.crt": pair.Cert, "tls.key": pair.Key, "ca.crt": trusted} {
			if err := i.write(filepath.Join(holder, name), content); err != nil {
				return time.Time{}, err
			}
		}
		encode := base64.StdEncoding.EncodeToString
		fmt.Fprintf(&secrets, "---\napiVersion: v1\nkind: Secret\nmetadata: {name: wxbus-tls-%s, namespace: %s}\ntype: kubernetes.io/tls\ndata:\n  tls.crt: %s\n  tls.key: %s\n  ca.crt: %s\n",
			holder, i.namespace, encode(pair.Cert), encode(pair.Key), encode(trusted))
	}
	ends := i.now.Add(i.valid)
	if signer.Expires().Before(ends) {
		ends = signer.Expires()
	}
	return ends, i.write("secrets.yaml", secrets.Bytes())
}

// Files of the authorities in the folder, each a certificate and its key.
const (
	authorityFile = "authority.pem"
	nextFile      = "authority-next.pem"
)

// signer returns who signs now, and what everybody trusts. A new authority first is only trusted, and signs from the next
// run on, so that nobody meets a certificate of an authority that it does not know; the former one goes a run later.
func (i issuing) signer() (*certs.Authority, []byte, error) {
	current, err := i.readAuthority(authorityFile)
	if err != nil {
		return nil, nil, err
	}
	next, err := i.readAuthority(nextFile)
	switch {
	case err != nil:
		return nil, nil, err
	case current == nil:
		current, err = i.newAuthority(authorityFile)
		if err != nil {
			return nil, nil, err
		}
	case i.replace && next != nil:
		return nil, nil, usagef("there is a new authority already: apply what was made, then run wxbus certs without --new-authority")
	case i.replace:
		if next, err = i.newAuthority(nextFile); err != nil {
			return nil, nil, err
		}
	case next != nil:
		current, next = next, current
		if err := os.Rename(filepath.Join(i.dir, nextFile), filepath.Join(i.dir, authorityFile)); err != nil {
			return nil, nil, err
		}
	}
	trusted := current.PEM().Cert
	if next != nil {
		trusted = slices.Concat(trusted, next.PEM().Cert)
	}
	return current, trusted, i.write("ca.crt", trusted)
}

func (i issuing) newAuthority(name string) (*certs.Authority, error) {
	authority, err := certs.NewAuthority("wxbus authority", i.now, i.authority)
	if err != nil {
		return nil, err
	}
	return authority, i.write(name, slices.Concat(authority.PEM().Cert, authority.PEM().Key))
}

// readAuthority returns nil when there is no such file.
func (i issuing) readAuthority(name string) (*certs.Authority, error) {
	text, err := os.ReadFile(filepath.Join(i.dir, name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return certs.ReadAuthority(certs.Pair{Cert: text, Key: text})
}

// write replaces a file as a whole.
func (i issuing) write(name string, content []byte) error {
	path := filepath.Join(i.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	if err := os.WriteFile(path+".new", content, 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}
