package caddymodule

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"

	"github.com/nowpay-gateway/nowpay-gateway/callback/notify"
	"github.com/nowpay-gateway/nowpay-gateway/gateway"
	"github.com/nowpay-gateway/nowpay-gateway/nowpay"
	"github.com/nowpay-gateway/nowpay-gateway/signer"
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
		Short: "Checks the secret sources, signatures, the egress address and the way to the provider",
		Long: `Reads the configuration and tries everything that it depends on: fetches each
account's credential and signs with it, if need be by Vault's transit engine; reads
the keys that merchants share with the gateway, and the secrets of notifications;
binds each egress address, connects to the provider from it, and checks its
certificate and pin. No request is sent to the provider. A wrapping token that an
account logs in with is used up. Exits with 1 if anything fails.`,
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
	c := &checks{w: w, rt: app.rt}
	for _, m := range c.rt.modes {
		c.verdict("account "+m.Name, fmt.Sprintf("%s, at %s", m.Mode, m.Upstream), nil)
	}
	for _, name := range slices.Sorted(maps.Keys(c.rt.accounts)) {
		c.account(ctx, name)
	}
	for _, key := range c.rt.sharedKeys {
		c.verdict("key of a merchant", key.path, key.load())
	}
	for _, merchant := range slices.Sorted(maps.Keys(c.rt.notifySecrets)) {
		c.notifications(ctx, merchant)
	}
	c.upstream(ctx)
	if c.failed > 0 {
		return fmt.Errorf("%d of the checks failed", c.failed)
	}
	return nil
}

// checks are under way.
type checks struct {
	w      io.Writer
	rt     *runtime
	failed int
}

// verdict prints what came of trying a part.
func (c *checks) verdict(part, detail string, err error) {
	word := "ok    "
	if err != nil {
		c.failed++
		word, detail = "FAILED", err.Error()
	}
	fmt.Fprintf(c.w, "%s  %-28s %s\n", word, part, detail)
}

// account fetches the credential of an account, and signs with it.
func (c *checks) account(ctx context.Context, name string) {
	source := c.rt.accounts[name]
	err := source.start(ctx, c.rt.logger.With("account", name))
	if status := source.Status(); err == nil && !status.Available {
		err = status.Err
	}
	c.verdict("credential "+name, fmt.Sprintf("version %d", source.Status().Version), err)
	if err != nil {
		return // what it is to sign with is not there
	}
	account := c.rt.gateway.Accounts[name]
	c.verdict("signing "+name, "a request that is not sent", trySigning(ctx, account, c.rt.egress.URL(trial.Target())))
	if v, ok := account.Verify.(*HTTPSigVerifier); ok && v.transit != "" {
		c.verdict("verifying "+name, "by "+v.transit, v.tryTransit(ctx))
	}
}

// trial is an operation that is signed and not sent.
//
//nolint:gochecknoglobals // never changed
var trial = &nowpay.Operation{Name: "gateway/check", Method: http.MethodPost, Encoding: nowpay.JSON}

// trySigning has an account sign a request that nobody gets to see.
func trySigning(ctx context.Context, account gateway.Account, url string) error {
	credential, err := account.Secret.Acquire()
	if err != nil {
		return err
	}
	defer credential.Release()
	body, err := nowpay.ParseJSON([]byte("{}"), nowpay.Limits{})
	if err != nil {
		return err
	}
	signed, err := account.Sign.Sign(ctx, signer.Request{Operation: trial, Body: body, URL: url}, credential)
	if err != nil {
		return err
	}
	signed.Wipe()
	return nil
}

// notifications fetches the secrets that a merchant's notifications are signed with.
func (c *checks) notifications(ctx context.Context, merchant string) {
	var err error
	if source := c.rt.signing[merchant]; source != nil {
		err = source.start(ctx, c.rt.logger.With("merchant", merchant))
	}
	var secrets []notify.Secret
	if err == nil {
		secrets, err = c.rt.notifySecrets[merchant]()
	}
	c.verdict("notify "+merchant, fmt.Sprintf("secrets to sign with: %d", len(secrets)), err)
}

// upstream binds the egress addresses, and connects to the provider.
func (c *checks) upstream(ctx context.Context) {
	c.rt.egress.Start()
	for _, address := range c.rt.egress.Addresses() {
		var err error
		if !address.Up {
			err = errors.New("not on this machine")
		}
		c.verdict("egress address "+address.Addr.String(), "on this machine", err)
	}
	ctx, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	probe, err := c.rt.egress.Probe(ctx)
	detail := fmt.Sprintf("%s from %s %s", probe.RemoteAddr, probe.LocalAddr, probe.TLSVersion)
	c.verdict("upstream", strings.TrimSpace(detail), err)
	for _, key := range probe.PeerSPKI {
		fmt.Fprintf(c.w, "        %-28s %s\n", "key in its chain, for pin", key)
	}
}
