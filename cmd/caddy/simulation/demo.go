package simulation

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/spf13/cobra"

	nowpaygateway "github.com/nowpay-gateway/nowpay-gateway"
	"github.com/nowpay-gateway/nowpay-gateway/caddymodule"
	"github.com/nowpay-gateway/nowpay-gateway/callback/notify"
	"github.com/nowpay-gateway/nowpay-gateway/simulator"
)

func demoCommand() *cobra.Command {
	command := &cobra.Command{
		Use:   "demo",
		Short: "Shows the gateway at work against a simulated Nowpay",
		Long: `Runs the gateway with Caddyfile.example and a simulated Nowpay in one process, on
loopback alone. It plays a short story of requests, prints each with its verdict,
and stays up for requests of your own. Nothing leaves this machine.`,
		Args: cobra.NoArgs, SilenceUsage: true,
	}
	once := command.Flags().Bool("once", false, "end after the story; exit 1 if anything came out other than told")
	command.RunE = func(cmd *cobra.Command, _ []string) error {
		return demo(cmd.Context(), cmd.OutOrStdout(), *once)
	}
	return command
}

// The gateway's files in the demo's folder; Caddyfile.example names the journal's.
const (
	logName          = "gateway.log"
	journalName      = "nowpay-journal"
	notifySecretName = "notify.secret"
)

// demo runs gateway and simulator, and plays the story.
func demo(ctx context.Context, w io.Writer, once bool) error {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	folder, err := os.MkdirTemp("", "nowpay-demo-")
	if err != nil {
		return fmt.Errorf("making a folder for the demo: %w", err)
	}
	defer os.RemoveAll(folder)

	account := newCredential()
	config, err := demoConfig(account, folder)
	if err != nil {
		return err
	}
	sim, err := startProvider(ctx, simulator.Config{
		Username: account.Username, Key: account.Key,
		AllowedIPs: []netip.Prefix{netip.MustParsePrefix(egressAddress + "/32")},
		Callback:   simulator.CallbackTarget{URL: callbackURL, From: netip.MustParseAddr(callbackIP)},
		Now:        time.Now, Seed: 1,
	}, providerAddress, controlAddress)
	if err != nil {
		return err
	}
	defer sim.stop()
	secret, err := notify.GenerateSecret(rand.Reader)
	if err != nil {
		return fmt.Errorf("making the secret of notifications: %w", err)
	}
	app, err := startApp(ctx, filepath.Join(folder, notifySecretName), secret)
	if err != nil {
		return err
	}
	defer app.stop()
	if err := caddy.Load(config, true); err != nil {
		return fmt.Errorf("starting the gateway: %w", err)
	}
	defer func() { _ = caddy.Stop() }() // the process ends anyway

	unexpected := tell(ctx, w, sim, app, account, folder)
	if unexpected > 0 {
		return fmt.Errorf("%d steps came out other than told", unexpected)
	}
	if once {
		return nil
	}
	fmt.Fprintf(w, stayingUp, filepath.Join(folder, logName))
	<-ctx.Done()
	return nil
}

// demoConfig is the configuration of Caddyfile.example, changed for the demo, with
// its files in the folder. One with a live account is refused.
func demoConfig(account credential, folder string) ([]byte, error) {
	secretFile := filepath.Join(folder, "nowpay-secret.json")
	if err := account.save(secretFile); err != nil {
		return nil, err
	}
	for name, value := range map[string]string{"NOWPAY_SECRET_FILE": secretFile, "NOWPAY_DATA": folder} {
		if err := os.Setenv(name, value); err != nil {
			return nil, fmt.Errorf("naming the gateway's files: %w", err)
		}
	}
	adapter := caddyconfig.GetAdapter("caddyfile")
	if adapter == nil {
		return nil, errors.New("this build has no Caddyfile adapter")
	}
	config, _, err := adapter.Adapt(nowpaygateway.Example, map[string]any{"filename": "Caddyfile.example"})
	if err != nil {
		return nil, fmt.Errorf("reading Caddyfile.example: %w", err)
	}
	if config, err = asDemo(config, folder); err != nil {
		return nil, err
	}
	return config, checkNoneLive(config)
}

// checkNoneLive refuses a configuration that a simulator must not run beside.
func checkNoneLive(config []byte) error {
	live, err := caddymodule.LiveAccounts(config)
	if err != nil {
		return fmt.Errorf("looking for live accounts: %w", err)
	}
	return refuseLive(live)
}

// stayingUp says what to try; its verb is the log's path.
const stayingUp = `
The gateway stays up. Try it, in another terminal:

  curl -i http://127.0.0.1:8480/api/bank/payout \
    -H 'Authorization: Bearer npg_demo_shop' -H 'Content-Type: application/json' \
    -d '{"accountnumber":"50100012345678","ifsc":"HDFC0000001","amount":"1.50","yourrequestid":"20260001","name":"A Name","transferMode":"IMPS"}'

  curl http://127.0.0.1:8480/transactions/20260001 -H 'Authorization: Bearer npg_demo_shop'
  curl http://127.0.0.1:8480/operations -H 'Authorization: Bearer npg_demo_shop'
  curl http://127.0.0.1:8480/health/ready
  curl -s http://127.0.0.1:8488/metrics | grep ^nowpay_
  curl http://127.0.0.9:8491/ledger

A fault of the provider: give "name":"sim:reset-after-debit" in a payout with
another yourrequestid. The same payout again is answered from the journal.
The gateway's decisions: tail -f %s
Ctrl-C ends the demo.
`

// asDemo changes an adapted configuration: the shop is notified, by lines that are
// a comment in Caddyfile.example; the log goes to a file, at debug level; and the
// configuration does not take the place of one that was saved to be resumed.
func asDemo(config []byte, folder string) ([]byte, error) {
	var whole map[string]any
	if err := json.Unmarshal(config, &whole); err != nil {
		return nil, fmt.Errorf("reading Caddyfile.example: %w", err)
	}
	whole["logging"] = map[string]any{"logs": map[string]any{"default": map[string]any{
		"level":   "DEBUG",
		"writer":  map[string]any{"output": "file", "filename": filepath.Join(folder, logName)},
		"encoder": map[string]any{"format": "json"},
	}}}
	if admin, ok := whole["admin"].(map[string]any); ok {
		admin["config"] = map[string]any{"persist": false}
	}
	apps, _ := whole["apps"].(map[string]any)
	app, _ := apps["nowpay"].(map[string]any)
	merchants, _ := app["merchants"].(map[string]any)
	shop, ok := merchants["shop"].(map[string]any)
	if !ok {
		return nil, errors.New("reading Caddyfile.example: there is no merchant shop")
	}
	shop["notify"] = map[string]any{
		"url": "http://" + appAddress + "/", "secret_file": filepath.Join(folder, notifySecretName), "private": true,
	}
	raw, err := json.Marshal(whole)
	if err != nil {
		return nil, fmt.Errorf("writing the configuration: %w", err)
	}
	return raw, nil
}
