package caddymodule

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/nowpay-gateway/nowpay-gateway/gateway"
	"github.com/nowpay-gateway/nowpay-gateway/journal"
)

func transactionsCommand() *cobra.Command {
	return deskCommand("transactions", "Shows, checks and settles transactions", "Works on the journal of transactions",
		listCommand(), showCommand(), revalidateCommand(), settleCommand(), verifyCommand(), exportCommand())
}

// oneArgument asks for exactly one, by its name.
func oneArgument(name string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) != 1 || args[0] == "" {
			return fmt.Errorf("it takes exactly one argument: %s", name)
		}
		return nil
	}
}

func listCommand() *cobra.Command {
	command := &cobra.Command{
		Use: "list", Short: "Lists transactions, newest first", Args: cobra.NoArgs, SilenceUsage: true,
		Example: "  caddy nowpay transactions list --state pending --state unknown --since 24h\n" +
			"  caddy nowpay transactions list --needs-person",
	}
	desks, filters := addDeskFlags(command), addFilterFlags(command)
	limit := addLimitFlag(command)
	format := addFormatFlag(command, "table", "json")
	command.RunE = func(cmd *cobra.Command, _ []string) error {
		filter, err := filters.filter(time.Now())
		if err != nil {
			return err
		}
		if filter.Limit, err = limit.value(); err != nil {
			return err
		}
		return desks.with(cmd, format, func(ctx context.Context, d desk) error {
			found, err := collect(cmd, filter.Limit, d.list(ctx, filter))
			if err != nil {
				return err
			}
			if *format.value == "json" {
				return printJSON(cmd.OutOrStdout(), found)
			}
			return printTable(cmd.OutOrStdout(), found)
		})
	}
	return command
}

func exportCommand() *cobra.Command {
	command := &cobra.Command{
		Use: "export", Short: "Writes all transactions, or those of a filter, as CSV or lines of JSON",
		Long: `Writes transactions to standard output, newest first, without a limit. Nothing in
it tells anything about a person. The columns stay in their order; new ones come
last. A text that a spreadsheet would take for a formula has a ' in front of it in
CSV, and none in JSON.

An export that ends with an error is not complete.`,
		Example: "  caddy nowpay transactions export --format csv --since 2026-11-01 --until 2026-12-01 > november.csv",
		Args:    cobra.NoArgs, SilenceUsage: true,
	}
	desks, filters := addDeskFlags(command), addFilterFlags(command)
	format := addFormatFlag(command, "csv", "jsonl")
	command.RunE = func(cmd *cobra.Command, _ []string) error {
		filter, err := filters.filter(time.Now())
		if err != nil {
			return err
		}
		return desks.with(cmd, format, func(ctx context.Context, d desk) error {
			write := exportCSV
			if *format.value == "jsonl" {
				write = exportLines
			}
			return write(cmd.OutOrStdout(), d.list(ctx, filter))
		})
	}
	return command
}

func showCommand() *cobra.Command {
	command := &cobra.Command{
		Use: "show <transaction id or request id>", Short: "Shows one transaction and how it came to its state",
		Long: `Shows all that is recorded of a transaction, and its timeline. A request ID is one
as it was sent to the provider: with the merchant's request_id_prefix.

What the merchant was answered, the bank's reference and the fields that status
queries need tell something about a person: they are shown with --answer alone.`,
		Args: oneArgument("a transaction ID or a request ID"), SilenceUsage: true,
	}
	desks := addDeskFlags(command)
	var w wanted
	command.Flags().StringVar(&w.account, "account", "", "the account, if the request ID is one of several")
	command.Flags().BoolVar(&w.content, "answer", false, "also show what tells something about a person")
	format := addFormatFlag(command, "text", "json")
	command.RunE = func(cmd *cobra.Command, args []string) error {
		w.id = args[0]
		return desks.with(cmd, format, func(ctx context.Context, d desk) error {
			shown, err := d.show(ctx, w)
			switch {
			case err != nil:
				return err
			case *format.value == "json":
				return printJSON(cmd.OutOrStdout(), shown)
			}
			printDetails(cmd.OutOrStdout(), shown)
			return nil
		})
	}
	return command
}

func revalidateCommand() *cobra.Command {
	command := &cobra.Command{
		Use: "revalidate <transaction id>", Short: "Asks the provider what became of a transaction",
		Args: oneArgument("a transaction ID"), SilenceUsage: true,
	}
	desks := addDeskFlags(command)
	format := addFormatFlag(command, "text", "json")
	command.RunE = func(cmd *cobra.Command, args []string) error {
		return desks.with(cmd, format, func(ctx context.Context, d desk) error {
			told, err := d.revalidate(ctx, args[0])
			switch {
			case err != nil:
				return err
			case *format.value == "json":
				return printJSON(cmd.OutOrStdout(), told)
			}
			printRevalidation(cmd.OutOrStdout(), told)
			return nil
		})
	}
	return command
}

func settleCommand() *cobra.Command {
	command := &cobra.Command{
		Use: "settle <transaction id>", Short: "Records what a person has found out about a transaction",
		Long: `Settles a transaction by hand, or corrects its final state. Name and reason are
kept in the timeline for ever, so leave out whatever tells something about a
customer. With --from nothing happens unless the transaction is in that state.`,
		Example: `  caddy nowpay transactions settle 01KAZ… --from unknown --state success --reason "in the bank's statement of 26 November"`,
		Args:    oneArgument("a transaction ID"), SilenceUsage: true,
	}
	desks := addDeskFlags(command)
	var h gateway.ByHand
	command.Flags().StringVar((*string)(&h.State), "state", "", "what became of it: success, failed or refused (required)")
	command.Flags().StringVar(&h.Reason, "reason", "", "why, in one line (required)")
	command.Flags().StringVar((*string)(&h.From), "from", "", "the state that it must be in")
	command.Flags().StringVar(&h.Actor, "actor", cmp.Or(os.Getenv("SUDO_USER"), os.Getenv("USER")), "who says so")
	command.Flags().StringVar(&h.ProviderID, "provider-id", "", "the provider's id, if it is known now")
	command.Flags().StringVar(&h.Reference, "reference", "", "the bank's reference, if it is known now")
	for _, name := range []string{"state", "reason"} {
		_ = command.MarkFlagRequired(name) // the flags are there
	}
	format := addFormatFlag(command, "text", "json")
	command.RunE = func(cmd *cobra.Command, args []string) error {
		if _, known := parseState(string(h.From)); h.From != "" && !known {
			return fmt.Errorf("--from: there is no state %q", h.From)
		}
		return desks.with(cmd, format, func(ctx context.Context, d desk) error {
			settled, err := d.settle(ctx, args[0], h)
			switch {
			case err != nil:
				return err
			case *format.value == "json":
				return printJSON(cmd.OutOrStdout(), settled)
			}
			printSettlement(cmd.OutOrStdout(), settled)
			return nil
		})
	}
	return command
}

func verifyCommand() *cobra.Command {
	command := &cobra.Command{
		Use: "verify", Short: "Looks for transactions and events that somebody has changed or deleted",
		Long: `Recomputes the chains of all events and compares every transaction with its last
event. Exits with 1 if anything does not fit.

Whoever has the journal's key could write chains anew. Keep the output of
--format json elsewhere: with --known its heads must still be there.`,
		Args: cobra.NoArgs, SilenceUsage: true,
	}
	desks := addDeskFlags(command)
	file := command.Flags().String("known", "", "a file with what --format json has printed earlier")
	format := addFormatFlag(command, "text", "json")
	command.RunE = func(cmd *cobra.Command, _ []string) error {
		known, err := readHeads(*file)
		if err != nil {
			return err
		}
		return desks.with(cmd, format, func(ctx context.Context, d desk) error {
			report, err := d.verify(ctx, known)
			if err != nil {
				return err
			}
			if *format.value == "json" {
				err = printJSON(cmd.OutOrStdout(), report)
			} else {
				printReport(cmd.OutOrStdout(), report)
			}
			if len(report.Problems) > 0 {
				return errors.Join(err, fmt.Errorf("the journal is not as it was written: %d problems", len(report.Problems)))
			}
			return err
		})
	}
	return command
}

// readHeads reads the heads of an earlier report. A file without any is none.
func readHeads(file string) ([]journal.Head, error) {
	if file == "" {
		return nil, nil
	}
	raw, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("reading --known: %w", err)
	}
	var known knownHeads
	if err := json.Unmarshal(raw, &known); err != nil {
		return nil, fmt.Errorf("reading --known: %w", err)
	}
	if len(known.Heads) == 0 {
		return nil, errors.New("reading --known: there are no heads in it; it is what `verify --format json` has printed earlier")
	}
	return known.Heads, nil
}

// filterFlags are the flags that select transactions or messages. They are named as
// in the admin API, with - for _.
type filterFlags struct{ set *pflag.FlagSet }

func addFilterFlags(command *cobra.Command) filterFlags {
	set := command.Flags()
	own := pflag.NewFlagSet("filter", pflag.ContinueOnError)
	own.StringArray("state", nil, "only of this state; can be given several times")
	own.String("account", "", "only of this account")
	own.String("merchant", "", "only of this merchant")
	own.String("operation", "", "only of this operation, such as bank/payout")
	own.String("request-id", "", "only with this request ID, as it was sent to the provider: with the merchant's prefix")
	own.String("provider-id", "", "only with this id of the provider's")
	own.String("since", "", "only those begun since: 24h ago, a date (in India), or a time such as 2026-11-26T10:00:00+05:30")
	own.String("until", "", "only those begun before")
	own.Bool("needs-person", false, "only those that need a person")
	own.Bool("reversed", false, "only those that the provider contradicts")
	set.AddFlagSet(own)
	return filterFlags{own}
}

func (f filterFlags) filter(now time.Time) (journal.Filter, error) {
	filter, err := parseFilter(f.query(), now)
	if err != nil {
		return filter, fmt.Errorf("--%w", err)
	}
	return filter, nil
}

// query is what the admin API would be asked.
func (f filterFlags) query() url.Values {
	query := make(url.Values)
	f.set.VisitAll(func(flag *pflag.Flag) {
		name := strings.ReplaceAll(flag.Name, "-", "_")
		several, ok := flag.Value.(pflag.SliceValue)
		switch {
		case !flag.Changed || flag.Value.String() == "false":
		case ok:
			query[name] = several.GetSlice()
		default:
			query.Set(name, flag.Value.String())
		}
	})
	return query
}

// formatFlag is how a command prints.
type formatFlag struct {
	value   *string
	allowed []string
}

// addFormatFlag adds a flag with the formats that there are; the first is the
// default.
func addFormatFlag(command *cobra.Command, formats ...string) formatFlag {
	return formatFlag{command.Flags().String("format", formats[0], strings.Join(formats, " or ")), formats}
}
