package caddymodule

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"

	"github.com/nowpay-gateway/nowpay-gateway/whitelist"
)

func init() {
	caddycmd.RegisterCommand(caddycmd.Command{
		Name:  "nowpay",
		Short: "Works with the Nowpay gateway",
		CobraFunc: func(parent *cobra.Command) {
			// Without these a mistyped command would print the help and succeed.
			parent.Args, parent.SilenceUsage = cobra.NoArgs, true
			parent.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
			parent.AddCommand(checkCommand(), explainCommand(), tokenCommand(), healthCommand(),
				transactionsCommand(), notificationsCommand(), callbacksCommand(), credentialCommand())
			for _, command := range simulation {
				parent.AddCommand(command())
			}
		},
	})
}

// simulation are the commands that need the simulator. Production builds do
// not link it, and say so.
var simulation = []func() *cobra.Command{
	func() *cobra.Command {
		return withoutSimulator("demo", "Shows the gateway at work against a simulated Nowpay")
	},
	func() *cobra.Command {
		return withoutSimulator("simulate", "Runs a simulated Nowpay to develop against")
	},
}

// UseSimulation puts the commands of a build that links the simulator in place.
// It is called from an init function.
func UseSimulation(commands ...func() *cobra.Command) { simulation = commands }

func withoutSimulator(name, short string) *cobra.Command {
	return &cobra.Command{
		Use: name, Short: short, SilenceUsage: true,
		RunE: func(*cobra.Command, []string) error {
			return errors.New("this build has no simulator in it; build ./cmd/caddy of the gateway's repository to have one")
		},
	}
}

// tokenPrefix lets secret scanners recognise a merchant's token.
const tokenPrefix = "npg_"

func tokenCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "token",
		Short: "Makes a merchant's token and its hash for the Caddyfile",
		Long: `Makes a token of 256 random bits for a merchant app, and the hash that the
Caddyfile needs. The token is shown once and stored nowhere: give it to the app.`,
		Args: cobra.NoArgs, SilenceUsage: true,
		RunE: func(cmd *cobra.Command, _ []string) error { return newToken(cmd.OutOrStdout(), rand.Reader) },
	}
}

// newToken prints a token made of the given randomness.
func newToken(w io.Writer, random io.Reader) error {
	var raw [32]byte
	if _, err := io.ReadFull(random, raw[:]); err != nil {
		return fmt.Errorf("reading randomness: %w", err)
	}
	token := tokenPrefix + base64.RawURLEncoding.EncodeToString(raw[:])
	hash := whitelist.HashToken(token)
	if _, err := fmt.Fprintf(w, "for the merchant app:  Authorization: Bearer %s\nfor the Caddyfile:     token sha256:%s\n", token, hex.EncodeToString(hash[:])); err != nil {
		return fmt.Errorf("printing the token: %w", err)
	}
	return nil
}

func healthCommand() *cobra.Command {
	command := &cobra.Command{
		Use:   "health",
		Short: "Asks a running gateway whether it is ready; for container health checks",
		Args:  cobra.NoArgs, SilenceUsage: true,
	}
	url := command.Flags().String("url", "http://127.0.0.1:8480/health/ready", "the address to ask")
	command.RunE = func(cmd *cobra.Command, _ []string) error {
		request, err := http.NewRequestWithContext(cmd.Context(), http.MethodGet, *url, http.NoBody)
		if err != nil {
			return fmt.Errorf("reading --url: %w", err)
		}
		client := http.Client{Timeout: 5 * time.Second}
		response, err := client.Do(request)
		if err != nil {
			return fmt.Errorf("asking the gateway: %w", err)
		}
		defer response.Body.Close()
		body, err := io.ReadAll(io.LimitReader(response.Body, 4096))
		if err != nil {
			return fmt.Errorf("reading the gateway's answer: %w", err)
		}
		fmt.Fprintln(cmd.OutOrStdout(), string(body))
		if response.StatusCode != http.StatusOK {
			return fmt.Errorf("the gateway is not ready: HTTP %d", response.StatusCode)
		}
		return nil
	}
	return command
}
