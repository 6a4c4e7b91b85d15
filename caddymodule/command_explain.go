package caddymodule

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/nowpay-gateway/nowpay-gateway/gateway"
	"github.com/nowpay-gateway/nowpay-gateway/nowpay"
	"github.com/nowpay-gateway/nowpay-gateway/whitelist"
)

// explainFlags describe a request to be explained.
type explainFlags struct {
	merchant, user, from, target, method, body string
	tokenStdin                                 bool
}

func explainCommand() *cobra.Command {
	command := &cobra.Command{
		Use:   "explain",
		Short: "Says which rule decides a given request; nothing is sent",
		Long: `Decides a request by the rules of the configuration, without a running gateway,
without a secret and without sending anything, and names the rule that decides.

Who calls is given by --merchant (as if it had authenticated), by --user, or by a
token on standard input with --token-stdin.`,
		Example: `  caddy nowpay explain --merchant shop --from 10.1.0.7 --target /api/bank/payout --body payout.json`,
		Args:    cobra.NoArgs, SilenceUsage: true,
	}
	config := addConfigFlags(command)
	var flags explainFlags
	command.Flags().StringVar(&flags.merchant, "merchant", "", "the merchant, as if it had authenticated")
	command.Flags().StringVar(&flags.user, "user", "", "the user id that Caddy's authentication found")
	command.Flags().BoolVar(&flags.tokenStdin, "token-stdin", false, "read a bearer token from standard input")
	command.Flags().StringVar(&flags.from, "from", "", "the address that the request comes from (required)")
	command.Flags().StringVar(&flags.target, "target", "", "the request target, such as /api/bank/payout (required)")
	command.Flags().StringVar(&flags.method, "method", http.MethodPost, "the method")
	command.Flags().StringVar(&flags.body, "body", "", "a file with the body; without it the decision is that before the body is read")
	for _, name := range []string{"from", "target"} {
		_ = command.MarkFlagRequired(name) // the flags are there
	}
	command.RunE = func(cmd *cobra.Command, _ []string) error {
		return config.withApp(func(app *App) error {
			return explain(cmd.Context(), cmd.OutOrStdout(), cmd.InOrStdin(), app, flags)
		})
	}
	return command
}

// explain decides the request and prints how.
func explain(ctx context.Context, w io.Writer, stdin io.Reader, app *App, flags explainFlags) error {
	config := app.rt.gateway.Config
	request, policy, err := flags.request(stdin, config.Policy)
	if err != nil {
		return err
	}
	config.Policy = policy
	if flags.body != "" {
		body, err := os.ReadFile(flags.body)
		if err != nil {
			return fmt.Errorf("reading the body: %w", err)
		}
		request.Body = bytes.NewReader(body)
		request.Header = http.Header{"Content-Type": {bodyType(config.Catalogue, flags.target)}}
	}
	record, problem := gateway.New(config).Explain(ctx, request)
	for _, line := range [][2]string{
		{"merchant", record.Merchant},
		{"source", record.Source.String()},
		{"operation", record.Operation},
		{"request ID", record.RequestID},
		{"rule", record.Rule},
	} {
		if line[1] != "" {
			fmt.Fprintf(w, "%-11s %s\n", line[0], line[1])
		}
	}
	switch {
	case problem != nil:
		fmt.Fprintf(w, "%-11s REFUSED with %s: %s\n", "decision", problem.Code, problem.Detail)
	case flags.body == "":
		fmt.Fprintf(w, "%-11s ALLOWED, as far as can be said without the body (--body)\n", "decision")
	default:
		fmt.Fprintf(w, "%-11s ALLOWED, it would be sent\n", "decision")
	}
	return nil
}

// request is the request that the flags describe, and the policy to decide it.
func (f explainFlags) request(stdin io.Reader, policy *whitelist.Policy) (gateway.Request, *whitelist.Policy, error) {
	if f.target == "/operations" || strings.HasPrefix(f.target, "/health/") {
		return gateway.Request{}, nil, errors.New("reading --target: rules decide operations alone; /operations is there for every merchant, /health/live and /health/ready for everybody")
	}
	source, err := netip.ParseAddr(f.from)
	if err != nil {
		return gateway.Request{}, nil, fmt.Errorf("reading --from: %w", err)
	}
	request := gateway.Request{
		Caller: whitelist.Caller{User: f.user, Source: source},
		Method: f.method, Target: f.target, Header: http.Header{},
	}
	switch {
	case f.merchant != "":
		request.Caller.Token = rand.Text()
		policy, err = withToken(policy, f.merchant, request.Caller.Token)
	case f.tokenStdin:
		token, err := io.ReadAll(io.LimitReader(stdin, 4096))
		if err != nil {
			return gateway.Request{}, nil, fmt.Errorf("reading the token: %w", err)
		}
		request.Caller.Token = string(bytes.TrimSpace(token))
	}
	return request, policy, err
}

// withToken is the policy with one more token for a merchant.
func withToken(policy *whitelist.Policy, name, token string) (*whitelist.Policy, error) {
	found := false
	merchants := make([]whitelist.Merchant, 0, len(policy.Merchants()))
	for _, merchant := range policy.Merchants() {
		merchants = append(merchants, *merchant)
		if merchant.Name == name {
			found = true
			last := &merchants[len(merchants)-1]
			last.Tokens = append(slices.Clip(last.Tokens), whitelist.HashToken(token))
		}
	}
	if !found {
		return nil, errors.New("the configuration has no merchant of that name")
	}
	return whitelist.NewPolicy(merchants)
}

// bodyType is the media type that the operation asks for.
func bodyType(catalogue *nowpay.Catalogue, target string) string {
	name, err := whitelist.ParseTarget(target)
	if operation, ok := catalogue.Lookup(name); err == nil && ok {
		return operation.Encoding.MediaType()
	}
	return nowpay.JSON.MediaType()
}
