package caddymodule

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/spf13/cobra"

	"github.com/nowpay-gateway/nowpay-gateway/journal"
)

// deskCommand is one that has others below it, which work on what there is of the
// journal.
func deskCommand(name, short, does string, children ...*cobra.Command) *cobra.Command {
	parent := &cobra.Command{
		Use: name, Short: short,
		Long: does + `: in the running gateway, through Caddy's
admin endpoint, or on the journal itself while no gateway runs. Which of the two
is said on standard error.

The admin endpoint is the configuration's (--config), unless --address names it;
then no configuration is needed, and the journal itself is not touched.`,
		Args: cobra.NoArgs, SilenceUsage: true,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	parent.AddCommand(children...)
	return parent
}

// deskFlags are the flags by which a command finds what it works on.
type deskFlags struct {
	configFlags
	address *string
}

func addDeskFlags(command *cobra.Command) deskFlags {
	return deskFlags{
		configFlags: addConfigFlags(command),
		address:     command.Flags().String("address", "", "the admin endpoint of the running gateway (default: that of the configuration)"),
	}
}

// with calls do with the desk of the running gateway or, if there is none, with
// one on the configuration's journal.
func (f deskFlags) with(cmd *cobra.Command, format formatFlag, do func(context.Context, desk) error) error {
	own := func(ctx context.Context, app *App) (desk, error) { return app.desk(ctx) }
	return f.withOwn(cmd, format, "working on the journal itself", own, do)
}

// withOwn is with, but for the desk if there is no running gateway, and for what is
// said then.
func (f deskFlags) withOwn(
	cmd *cobra.Command, format formatFlag, says string, own func(context.Context, *App) (desk, error), do func(context.Context, desk) error,
) error {
	raw, err := f.withRunning(cmd, format, func(ctx context.Context, d *adminDesk) error { return do(ctx, d) })
	if raw == nil || !errors.Is(err, errUnreached) {
		return err
	}
	fmt.Fprintf(cmd.ErrOrStderr(), "%v; %s\n", err, says)
	return withApp(raw, func(app *App) error {
		d, err := own(cmd.Context(), app)
		if err != nil {
			return err
		}
		return do(cmd.Context(), d)
	})
}

// withRunning calls do with the desk of the running gateway. If there is none, the
// error wraps errUnreached. It returns the configuration too, if that was read.
func (f deskFlags) withRunning(cmd *cobra.Command, format formatFlag, do func(context.Context, *adminDesk) error) ([]byte, error) {
	if !slices.Contains(format.allowed, *format.value) {
		return nil, fmt.Errorf("--format: must be %s", strings.Join(format.allowed, " or "))
	}
	if *f.address != "" {
		return nil, withAdmin(cmd, *f.address, do)
	}
	raw, err := f.load()
	if err != nil {
		return nil, fmt.Errorf("finding the gateway (--address would name its admin endpoint): %w", err)
	}
	address, err := adminAddress(raw)
	switch {
	case err != nil:
		return nil, err
	case address == "":
		return raw, fmt.Errorf("%w: the configuration has no admin endpoint", errUnreached)
	}
	return raw, withAdmin(cmd, address, do)
}

// errUnreached means that nobody listens at the admin endpoint.
var errUnreached = errors.New("no running gateway is reached")

// withAdmin calls do with a running gateway.
func withAdmin(cmd *cobra.Command, address string, do func(context.Context, *adminDesk) error) error {
	remote, err := newAdminDesk(address)
	if err != nil {
		return err
	}
	defer remote.close()
	if err := remote.reach(cmd.Context()); err != nil {
		return fmt.Errorf("%w: %w", errUnreached, err)
	}
	fmt.Fprintf(cmd.ErrOrStderr(), "asking the gateway at %s\n", address)
	return do(cmd.Context(), remote)
}

// adminAddress is the admin endpoint of a configuration; "" if it has none.
func adminAddress(raw []byte) (string, error) {
	var config struct {
		Admin *caddy.AdminConfig `json:"admin"`
	}
	if err := json.Unmarshal(raw, &config); err != nil {
		return "", fmt.Errorf("reading the configuration: %w", err)
	}
	switch {
	case config.Admin == nil || config.Admin.Listen == "" && !config.Admin.Disabled:
		return caddy.DefaultAdminListen, nil
	case config.Admin.Disabled:
		return "", nil
	}
	address, err := caddy.NewReplacer().ReplaceOrErr(config.Admin.Listen, true, true) // as Caddy does
	if err != nil {
		return "", fmt.Errorf("reading the admin endpoint of the configuration: %w", err)
	}
	return address, nil
}

// desk opens the journal, and nothing else, of an app that is not started.
func (a *App) desk(ctx context.Context) (desk, error) {
	rt := a.rt
	err := rt.journal.startExisting(ctx, rt.logger)
	switch path := rt.journal.settings.Path; {
	case errors.Is(err, journal.ErrAbsent) && path != "":
		return nil, fmt.Errorf("there is no journal at %s; is this the user, and the folder, that the gateway runs with?", path)
	case errors.Is(err, journal.ErrAbsent):
		return nil, errors.New("there is no journal in the database; is this the DSN that the gateway runs with?")
	case errors.Is(err, journal.ErrLocked):
		return nil, fmt.Errorf("a running gateway has the journal, and its admin endpoint is not reached; name that with --address, or stop the gateway: %w", err)
	case err != nil:
		return nil, err
	}
	if err := rt.journal.Ready(); err != nil {
		return nil, fmt.Errorf("opening the journal: %w", err)
	}
	return &ownDesk{gateway: rt.gateway, journal: rt.journal.Journal, prepare: rt.prepareToAsk}, nil
}

// testDesk can send tests to a merchant, and nothing else: without a journal, so
// that it works before the gateway has ever run.
func (a *App) testDesk(ctx context.Context, merchant string) (desk, error) {
	if source := a.rt.signing[merchant]; source != nil {
		if err := source.start(ctx, a.rt.logger); err != nil {
			return nil, fmt.Errorf("fetching the secret of merchant %s: %w", merchant, err)
		}
	}
	return &ownDesk{gateway: a.rt.gateway}, nil
}

// prepareToAsk makes ready what asking the provider takes.
func (r *runtime) prepareToAsk(ctx context.Context, account string) error {
	source := r.accounts[account]
	if source == nil {
		return fmt.Errorf("the configuration has no account %q", account)
	}
	if err := source.start(ctx, r.logger); err != nil {
		return fmt.Errorf("fetching the credential of account %s: %w", account, err)
	}
	r.egress.Start()
	if err := r.egress.Ready(); err != nil {
		return fmt.Errorf("looking for the egress address: %w", err)
	}
	return nil
}

// limitFlag is how many a command shows.
type limitFlag struct{ set *int }

func addLimitFlag(command *cobra.Command) limitFlag {
	return limitFlag{command.Flags().Int("limit", 50, "at most so many; 0: all")}
}

func (f limitFlag) value() (int, error) {
	if *f.set < 0 {
		return 0, errors.New("--limit: must not be negative")
	}
	return *f.set, nil
}

// collect reads a list, and says if its limit may have cut it. It returns no nil,
// which JSON would show.
func collect[T any](cmd *cobra.Command, limit int, all iter.Seq2[T, error]) ([]T, error) {
	found := []T{}
	for value, err := range all {
		if err != nil {
			return nil, err
		}
		found = append(found, value)
	}
	if len(found) == limit && limit > 0 {
		fmt.Fprintf(cmd.ErrOrStderr(), "there may be more than these %d: --limit says how many are shown\n", limit)
	}
	return found, nil
}
