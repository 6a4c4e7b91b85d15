package caddymodule

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"
)

// configFlags are the flags by which a command finds the configuration.
type configFlags struct{ file, adapter *string }

func addConfigFlags(command *cobra.Command) configFlags {
	return configFlags{
		file:    command.Flags().StringP("config", "c", "", "the configuration file (default: Caddyfile in this folder)"),
		adapter: command.Flags().StringP("adapter", "a", "", "the configuration's adapter (default: by the file's name)"),
	}
}

// load reads the configuration, and makes Caddy's JSON of it.
func (f configFlags) load() ([]byte, error) {
	raw, _, _, err := caddycmd.LoadConfig(*f.file, *f.adapter)
	switch {
	case err != nil:
		return nil, fmt.Errorf("loading the configuration: %w", err)
	case raw == nil:
		return nil, errors.New("there is no Caddyfile in this folder: name the configuration with --config")
	}
	return raw, nil
}

// withApp provisions the nowpay app of the configuration, without starting it,
// and calls do with it.
func (f configFlags) withApp(do func(*App) error) error {
	raw, err := f.load()
	if err != nil {
		return err
	}
	return withApp(raw, do)
}

func withApp(raw []byte, do func(*App) error) error {
	var config struct {
		Apps map[string]json.RawMessage `json:"apps"`
	}
	if err := json.Unmarshal(raw, &config); err != nil {
		return fmt.Errorf("reading the configuration: %w", err)
	}
	if config.Apps["nowpay"] == nil {
		return errors.New("the configuration has no nowpay block in its global options")
	}
	caddyCtx, err := caddy.ProvisionContext(&caddy.Config{
		Admin:   &caddy.AdminConfig{Disabled: true},
		Logging: quiet(),
		AppsRaw: caddy.ModuleMap{"nowpay": config.Apps["nowpay"]},
	})
	if err != nil {
		return fmt.Errorf("provisioning the configuration: %w", err)
	}
	module, err := caddyCtx.App("nowpay")
	if err != nil {
		return fmt.Errorf("provisioning the configuration: %w", err)
	}
	app := module.(*App)
	defer func() { _ = app.Cleanup() }() // never fails
	return do(app)
}

// quiet keeps the log out of a command's output: the command says itself what
// it found.
func quiet() *caddy.Logging {
	return &caddy.Logging{Logs: map[string]*caddy.CustomLog{
		caddy.DefaultLoggerName: {BaseLog: caddy.BaseLog{Level: "FATAL"}},
	}}
}

func checkCommand() *cobra.Command {
	command := &cobra.Command{
		Use:   "check",
		Short: "Checks the secret sources, the egress address and the way to the provider",
		Long: `Reads the configuration and tries everything that it depends on: fetches each
account's credential, binds each egress address, connects to the provider from
it, and checks its certificate and pin. No request is sent to the provider.
Exits with 1 if anything fails.`,
		Args: cobra.NoArgs, SilenceUsage: true,
	}
	flags := addConfigFlags(command)
	command.RunE = func(cmd *cobra.Command, _ []string) error {
		return flags.withApp(func(app *App) error { return check(cmd.Context(), cmd.OutOrStdout(), app) })
	}
	return command
}

// probeTime bounds one connection to the provider.
const probeTime = 15 * time.Second

// check tries every part and prints its verdict.
func check(ctx context.Context, w io.Writer, app *App) error {
	failed := 0
	verdict := func(part, detail string, err error) {
		word := "ok    "
		if err != nil {
			failed++
			word, detail = "FAILED", err.Error()
		}
		fmt.Fprintf(w, "%s  %-28s %s\n", word, part, detail)
	}

	rt := app.rt
	for _, m := range rt.modes {
		verdict("account "+m.Name, fmt.Sprintf("%s, at %s", m.Mode, m.Upstream), nil)
	}
	for _, name := range slices.Sorted(maps.Keys(rt.accounts)) {
		source := rt.accounts[name]
		err := source.start(ctx, rt.logger.With("account", name))
		if status := source.Status(); err == nil && !status.Available {
			err = status.Err
		}
		verdict("credential "+name, fmt.Sprintf("version %d", source.Status().Version), err)
	}

	rt.egress.Start()
	for _, address := range rt.egress.Addresses() {
		var err error
		if !address.Up {
			err = errors.New("not on this machine")
		}
		verdict("egress address "+address.Addr.String(), "on this machine", err)
	}

	ctx, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	probe, err := rt.egress.Probe(ctx)
	detail := fmt.Sprintf("%s from %s %s", probe.RemoteAddr, probe.LocalAddr, probe.TLSVersion)
	verdict("upstream", strings.TrimSpace(detail), err)
	for _, key := range probe.PeerSPKI {
		fmt.Fprintf(w, "        %-28s %s\n", "key in its chain, for pin", key)
	}
	if failed > 0 {
		return fmt.Errorf("%d of the checks failed", failed)
	}
	return nil
}
