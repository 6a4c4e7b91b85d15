package caddymodule

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/spf13/cobra"

	"github.com/nowpay-gateway/nowpay-gateway/journal"
)

// deskFlags are the flags by which a command finds the transactions.
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
	if !slices.Contains(format.allowed, *format.value) {
		return fmt.Errorf("--format: must be %s", strings.Join(format.allowed, " or "))
	}
	ctx, tell := cmd.Context(), func(text string, args ...any) { fmt.Fprintf(cmd.ErrOrStderr(), text+"\n", args...) }
	if *f.address != "" {
		return withAdmin(ctx, *f.address, tell, do)
	}
	raw, err := f.load()
	if err != nil {
		return fmt.Errorf("finding the gateway (--address would name its admin endpoint): %w", err)
	}
	address, err := adminAddress(raw)
	if err != nil {
		return err
	}
	absent := errors.New("the configuration has no admin endpoint")
	if address != "" {
		absent = withAdmin(ctx, address, tell, do)
	}
	if address != "" && !errors.Is(absent, errUnreached) {
		return absent
	}
	tell("%v; working on the journal itself", absent)
	return withApp(raw, func(app *App) error {
		own, err := app.desk(ctx)
		if err != nil {
			return err
		}
		return do(ctx, own)
	})
}

// errUnreached means that nobody listens at the admin endpoint.
var errUnreached = errors.New("no running gateway is reached")

// withAdmin calls do with a running gateway.
func withAdmin(ctx context.Context, address string, tell func(string, ...any), do func(context.Context, desk) error) error {
	remote, err := newAdminDesk(address)
	if err != nil {
		return err
	}
	defer remote.close()
	if err := remote.reach(ctx); err != nil {
		return fmt.Errorf("%w: %w", errUnreached, err)
	}
	tell("asking the gateway at %s", address)
	return do(ctx, remote)
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
