// Package simulation has the commands that need the simulator: `caddy nowpay
// demo` and `caddy nowpay simulate`. Only this repository's own binary links
// it; a build made for production has no simulator in it.
package simulation

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/nowpay-gateway/nowpay-gateway/caddymodule"
	"github.com/nowpay-gateway/nowpay-gateway/simulator"
)

func init() {
	caddymodule.UseSimulation(demoCommand, simulateCommand)
}

// Where Caddyfile.example expects the simulated Nowpay, and the address that
// it sees the gateway come from.
const (
	providerAddress = "127.0.0.9:8490"
	controlAddress  = "127.0.0.9:8491"
	egressAddress   = "127.0.0.5"
)

// credential is the content of a secret file.
type credential struct {
	Username string `json:"username"`
	Key      string `json:"key"`
}

// newCredential makes up an account in the shape that Nowpay's documentation shows.
func newCredential() credential {
	var raw [13]byte
	_, _ = rand.Read(raw[:]) // never fails
	return credential{Username: "2000", Key: hex.EncodeToString(raw[:])}
}

// newCipherCredential makes up an account whose key can encrypt.
func newCipherCredential() credential {
	var raw [32]byte
	_, _ = rand.Read(raw[:]) // never fails
	return credential{Username: "2000", Key: base64.StdEncoding.EncodeToString(raw[:])}
}

// loadCredential reads a secret file, or makes it up where there is none.
func loadCredential(path string, makeUp func() credential) (credential, error) {
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		made := makeUp()
		return made, made.save(path)
	}
	if err != nil {
		return credential{}, fmt.Errorf("reading the secret file: %w", err)
	}
	var c credential
	if err := json.Unmarshal(raw, &c); err != nil || c.Username == "" || c.Key == "" {
		return credential{}, fmt.Errorf(`reading %s: it must be {"username":"…","key":"…"}`, path)
	}
	return c, nil
}

func (c credential) save(path string) error {
	raw, err := json.Marshal(c)
	if err != nil {
		return fmt.Errorf("writing the secret file: %w", err)
	}
	if err := os.WriteFile(path, append(raw, '\n'), 0o600); err != nil {
		return fmt.Errorf("writing the secret file: %w", err)
	}
	return nil
}

// provider is a running simulator.
type provider struct {
	*simulator.Simulator
	servers []*http.Server
	serving sync.WaitGroup
}

// startProvider serves a simulated Nowpay, and its control API if control is
// not empty.
func startProvider(ctx context.Context, config simulator.Config, address, control string) (*provider, error) {
	sim, err := simulator.New(config)
	if err != nil {
		return nil, fmt.Errorf("making the simulator: %w", err)
	}
	p := &provider{Simulator: sim}
	if err := p.serve(ctx, address, sim.Handler()); err != nil {
		return nil, err
	}
	if control != "" {
		if err := p.serve(ctx, control, sim.Control()); err != nil {
			p.stop()
			return nil, err
		}
	}
	return p, nil
}

func (p *provider) serve(ctx context.Context, address string, handler http.Handler) error {
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", address)
	if err != nil {
		return fmt.Errorf("opening the simulator's address (macOS needs `ifconfig lo0 alias` for each 127.0.0.x): %w", err)
	}
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second}
	p.servers = append(p.servers, server)
	p.serving.Go(func() { _ = server.Serve(listener) }) // ends when it is closed
	return nil
}

// stop ends the simulator and waits for its servers.
func (p *provider) stop() {
	p.Close()
	for _, server := range p.servers {
		_ = server.Close() // whose error would be that of closing the listener
	}
	p.serving.Wait()
}

func simulateCommand() *cobra.Command {
	command := &cobra.Command{
		Use:   "simulate",
		Short: "Runs a simulated Nowpay to develop against",
		Long: `Runs a simulated Nowpay with two wallets, a ledger and faults, where
Caddyfile.example expects it. It pays out nothing.

The secret file holds the account that the simulator accepts. It is made where
it does not exist, so that the gateway can be given the same file.

It does not run beside a gateway that has a live account, which --address asks.`,
		Args: cobra.NoArgs, SilenceUsage: true,
	}
	flags := command.Flags()
	listen := flags.String("listen", providerAddress, "where to serve the provider's API")
	control := flags.String("control", controlAddress, "where to serve the ledger and the switches for faults; empty for nowhere")
	secretFile := flags.String("secret-file", "nowpay-secret.json", "the account that is accepted")
	allow := flags.StringSlice("allow", []string{egressAddress}, "the partner's whitelisted addresses")
	seed := flags.Uint64("seed", 1, "makes ids and choices repeatable")
	callback := flags.String("callback", callbackURL, "where to send callbacks; empty for nowhere")
	callbackFrom := flags.String("callback-from", callbackIP, "the address that callbacks come from; empty: the system chooses")
	address := flags.String("address", "localhost:2019", "the admin endpoint of a gateway on this machine, which must have no live account")
	scheme := addSchemeFlags(flags)
	refuse := flags.Bool("refuse-duplicates", false, "refuse a repeated request ID instead of paying again")
	command.RunE = func(cmd *cobra.Command, _ []string) error {
		live, err := caddymodule.ServingLiveAccounts(cmd.Context(), *address)
		if err != nil {
			return fmt.Errorf("asking whether a gateway with a live account runs here: %w", err)
		}
		if err := refuseLive(live); err != nil {
			return err
		}
		config := simulator.Config{RefuseDuplicates: *refuse, Now: time.Now, Seed: *seed, Callback: simulator.CallbackTarget{URL: *callback}}
		account, err := scheme.protect(&config, *secretFile)
		if err != nil {
			return err
		}
		networks, err := parseNetworks(*allow)
		if err != nil {
			return err
		}
		config.Username, config.Key, config.AllowedIPs = account.Username, account.Key, networks
		if *callbackFrom != "" {
			if config.Callback.From, err = netip.ParseAddr(*callbackFrom); err != nil {
				return fmt.Errorf("reading --callback-from: %w", err)
			}
		}
		return simulate(cmd.Context(), cmd.OutOrStdout(), config, *listen, *control, *secretFile)
	}
	return command
}

// refuseLive keeps a simulator from running beside real money.
func refuseLive(accounts []string) error {
	if len(accounts) == 0 {
		return nil
	}
	return fmt.Errorf("no simulator runs beside a live account, and the gateway has one (%s): use another machine", strings.Join(accounts, ", "))
}

// simulate serves until the process is asked to end.
func simulate(ctx context.Context, w io.Writer, config simulator.Config, listen, control, secretFile string) error {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	p, err := startProvider(ctx, config, listen, control)
	if err != nil {
		return err
	}
	defer p.stop()
	fmt.Fprintf(w, "simulated Nowpay   http://%s   (from %v, account in %s)\n", listen, config.AllowedIPs, secretFile)
	if control != "" {
		fmt.Fprintf(w, "ledger             curl http://%s/ledger\n", control)
		fmt.Fprintf(w, "faults             curl http://%s/faults\n", control)
		fmt.Fprintf(w, "callbacks          curl http://%s/callbacks\n", control)
	}
	<-ctx.Done()
	return nil
}

// parseNetworks reads addresses and networks.
func parseNetworks(texts []string) ([]netip.Prefix, error) {
	var networks []netip.Prefix
	for _, text := range texts {
		if addr, err := netip.ParseAddr(text); err == nil {
			networks = append(networks, netip.PrefixFrom(addr, addr.BitLen()))
			continue
		}
		network, err := netip.ParsePrefix(text)
		if err != nil {
			return nil, fmt.Errorf("reading --allow: %w", err)
		}
		networks = append(networks, network)
	}
	return networks, nil
}
