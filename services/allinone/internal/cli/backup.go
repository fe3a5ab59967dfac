package cli

import (
	"context"
	"fmt"
	"log/slog"
	"strings"

	"github.com/spf13/cobra"

	"github.com/wxbus/wxbus/pkg/bus"
	"github.com/wxbus/wxbus/pkg/config"
	"github.com/wxbus/wxbus/pkg/process"
	"github.com/wxbus/wxbus/services/allinone"

	"github.com/wxbus/wxbus/services/allinone/internal/backup"
)

func (a *app) backupCommand() *cobra.Command {
	var to string
	cmd := &cobra.Command{
		Use: "backup", Short: "Write streams, buckets and SQLite databases to a folder, while the system works", Args: noArgs,
		Long: `Takes a snapshot of every stream, bucket and object store with the positions of their readers, and a copy of each SQLite
database. The system may be at work. The identity needs the right to take snapshots, as that of wxbus provision has.

Not in it: the configuration file, the master key (without it the credentials of accounts cannot be opened), and
Postgres: use pg_dump, after this command has ended.`,
		Example: `  wxbus backup --to /backup/wxbus-$(date +%F)
  wxbus backup --to /backup/today --nats nats://nats-0:4222 --config wxbus.yaml`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if to == "" {
				return usagef("backup needs --to")
			}
			return a.withBus(cmd.Context(), "backup", func(ctx context.Context, shared config.Shared, conn *bus.Conn) error {
				source, err := a.backupSource(shared, conn)
				if err != nil {
					return err
				}
				m, err := backup.Take(ctx, source, to)
				if err != nil {
					return err
				}
				return a.printManifest("kept", m)
			})
		},
	}
	cmd.Flags().StringVar(&to, "to", "", "empty or new folder")
	return cmd
}

func (a *app) restoreCommand() *cobra.Command {
	var from string
	var yes bool
	cmd := &cobra.Command{
		Use: "restore", Short: "Put a backup in the place of what is there; every service must be stopped", Args: noArgs,
		Long: `Checks every file of the backup, says what it would replace and asks, then makes streams, buckets and SQLite databases
again. Stop all services first. With nats.urls it restores to those servers, without it to the data folder of wxbus up.
It may be repeated after a failure. Run wxbus provision afterwards when this version declares other streams than the backup's.`,
		Example: `  wxbus restore --from /backup/wxbus-2026-11-28
  wxbus restore --from /backup/today --nats nats://nats-0:4222 --config wxbus.yaml --yes`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if from == "" {
				return usagef("restore needs --from")
			}
			m, err := backup.Open(from)
			if err != nil {
				return err
			}
			shared, err := a.loadShared(cmd.Context())
			if err != nil {
				return err
			}
			return a.withStoppedBus(cmd.Context(), shared, func(ctx context.Context, conn *bus.Conn) error {
				source, err := a.backupSource(shared, conn)
				if err != nil {
					return err
				}
				inTheWay, err := backup.InTheWay(ctx, source, m)
				if err != nil {
					return err
				}
				if len(inTheWay) > 0 {
					question := fmt.Sprintf("Replace %s by the backup of %s?", strings.Join(inTheWay, ", "), m.Began.Format("2006-01-02 15:04:05 UTC"))
					if err := a.confirmed(yes, question); err != nil {
						return err
					}
				}
				if err := backup.Restore(ctx, source, from, m); err != nil {
					return err
				}
				return a.printManifest("restored", m)
			})
		},
	}
	cmd.Flags().StringVar(&from, "from", "", "folder of the backup")
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask before replacing what is there")
	return cmd
}

// withStoppedBus connects to the servers of the configuration. When there are none it runs the embedded one itself:
// nobody else does while wxbus up is stopped, and when it is not, the address is taken.
func (a *app) withStoppedBus(ctx context.Context, shared config.Shared, run func(context.Context, *bus.Conn) error) error {
	if len(shared.NATS.URLs) > 0 {
		conn, err := process.ConnectBus(ctx, shared, "restore")
		if err != nil {
			return err
		}
		defer conn.Close(ctx) //nolint:errcheck // every step is confirmed by then
		return run(ctx, conn)
	}
	server, err := allinone.Embed(ctx, shared, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	if err := server.Start(ctx); err != nil {
		return fmt.Errorf("start the embedded NATS (is wxbus up still running?): %w", err)
	}
	defer server.Stop(context.WithoutCancel(ctx)) //nolint:errcheck // every step is confirmed by then
	conn, err := bus.Connect(ctx, bus.Options{Name: "restore", InProcess: server.InProcess(), User: shared.NATS.User, Password: shared.NATS.Password.Reveal()})
	if err != nil {
		return err
	}
	defer conn.Close(ctx) //nolint:errcheck // every step is confirmed by then
	return run(ctx, conn)
}

func (a *app) backupSource(shared config.Shared, conn *bus.Conn) (backup.Source, error) {
	topo, err := process.NewTopology(shared)
	if err != nil {
		return backup.Source{}, err
	}
	s := backup.Source{NC: conn.NC(), JS: conn.JS(), Topology: topo, Version: process.Version}
	if shared.SQL.URL.IsZero() {
		s.SQLDir = shared.SQLDir()
	}
	if isTerminal(a.stderr) && !a.json {
		s.Progress = func(done, total int, name string) {
			if done == total {
				fmt.Fprint(a.stderr, "\r\x1b[K")
				return
			}
			fmt.Fprintf(a.stderr, "\r%s %s\x1b[K", bar(int64(done), int64(total)), name)
		}
	}
	return s, nil
}

func (a *app) printManifest(done string, m backup.Manifest) error {
	if a.json {
		return a.printJSON(m)
	}
	var messages uint64
	var size int64
	for _, s := range m.Streams {
		messages, size = messages+s.Messages, size+s.Bytes
	}
	for _, f := range m.SQL {
		size += f.Bytes
	}
	fmt.Fprintf(a.stdout, "%s %d streams with %d messages and %d databases, %.1f MB, as of %s\n",
		done, len(m.Streams), messages, len(m.SQL), float64(size)/1e6, m.Began.Format("2006-01-02 15:04:05 UTC"))
	return nil
}
