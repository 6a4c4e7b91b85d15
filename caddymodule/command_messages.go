package caddymodule

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/nowpay-gateway/nowpay-gateway/callback/notify"
	"github.com/nowpay-gateway/nowpay-gateway/journal"
)

func notificationsCommand() *cobra.Command {
	return deskCommand("notifications", "Shows, repeats and drops what merchants are told", "Works on the notifications of merchants",
		listMessagesCommand(journal.Outbox, "notifications", "merchant"), showMessageCommand(journal.Outbox, "notification"),
		replayCommand(), dropCommand(), sendTestCommand(), secretCommand())
}

func callbacksCommand() *cobra.Command {
	return deskCommand("callbacks", "Shows what the provider has called back with", "Works on the provider's callbacks",
		listMessagesCommand(journal.Inbox, "callbacks", "account"), showMessageCommand(journal.Inbox, "callback"))
}

// messageArguments asks for IDs of messages of one box. Those of the other mean
// that the operator is mistaken.
func messageArguments(box journal.Box, count cobra.PositionalArgs) cobra.PositionalArgs {
	return func(command *cobra.Command, args []string) error {
		for _, id := range args {
			switch ofCallback := strings.HasPrefix(id, callbackPrefix); {
			case id == "" || id == notificationPrefix:
				return errors.New("an ID is empty")
			case ofCallback && box == journal.Outbox:
				return fmt.Errorf("%s is a callback; `caddy nowpay callbacks` is about those", id)
			case !ofCallback && box == journal.Inbox:
				return fmt.Errorf("%s is no callback, whose ID begins with %s", id, callbackPrefix)
			}
		}
		return count(command, args)
	}
}

// addMessageFlags adds the flags that select messages: by state, and by others that
// are named with what they ask for.
func addMessageFlags(command *cobra.Command, others map[string]string) filterFlags {
	own := pflag.NewFlagSet("filter", pflag.ContinueOnError)
	own.String("state", "", "only of this state: waiting, done, dead or dropped")
	for name, only := range others {
		own.String(name, "", "only of this "+only)
	}
	command.Flags().AddFlagSet(own)
	return filterFlags{own}
}

// messageFilter is what the flags select in a box.
func (f filterFlags) messageFilter(box journal.Box) (journal.MessageFilter, error) {
	query := f.query()
	query.Set("box", string(box))
	filter, err := parseMessageFilter(query)
	if err != nil {
		return filter, fmt.Errorf("--%w", err)
	}
	return filter, nil
}

func listMessagesCommand(box journal.Box, what, lane string) *cobra.Command {
	command := &cobra.Command{
		Use: "list", Short: "Lists " + what + ", newest first", Args: cobra.NoArgs, SilenceUsage: true,
		Example: "  caddy nowpay " + what + " list --state dead --limit 0",
	}
	desks := addDeskFlags(command)
	filters := addMessageFlags(command, map[string]string{lane: lane, "transaction": "transaction, by its ID"})
	limit := addLimitFlag(command)
	format := addFormatFlag(command, "table", "json")
	command.RunE = func(cmd *cobra.Command, _ []string) error {
		filter, err := filters.messageFilter(box)
		if err != nil {
			return err
		}
		if filter.Limit, err = limit.value(); err != nil {
			return err
		}
		return desks.with(cmd, format, func(ctx context.Context, d desk) error {
			found, err := collect(cmd, filter.Limit, d.messages(ctx, filter))
			switch {
			case err != nil:
				return err
			case *format.value == "json":
				return printJSON(cmd.OutOrStdout(), found)
			}
			return printMessages(cmd.OutOrStdout(), box, found)
		})
	}
	return command
}

func showMessageCommand(box journal.Box, what string) *cobra.Command {
	command := &cobra.Command{
		Use: "show <id>", Short: "Shows all that is recorded of a " + what,
		Args: messageArguments(box, oneArgument("the ID of a "+what)), SilenceUsage: true,
	}
	desks, body := addDeskFlags(command), new(bool)
	if box == journal.Inbox {
		body = command.Flags().Bool("body", false, "also show what came, which tells something about a person")
	}
	format := addFormatFlag(command, "text", "json")
	command.RunE = func(cmd *cobra.Command, args []string) error {
		return desks.with(cmd, format, func(ctx context.Context, d desk) error {
			shown, err := d.message(ctx, args[0], *body)
			switch {
			case err != nil:
				return err
			case *format.value == "json":
				return printJSON(cmd.OutOrStdout(), shown)
			}
			printMessage(cmd.OutOrStdout(), shown)
			return nil
		})
	}
	return command
}

func replayCommand() *cobra.Command {
	command := &cobra.Command{
		Use: "replay [<id>...]", Short: "Sends notifications again",
		Long: `Has notifications sent again from the beginning, whatever became of them: those
that are named, or, with --merchant, all of that merchant's that are dead, or of
another --state. They keep their IDs, by which the merchant knows what it has had
already, and tell of the transaction as it is when they are sent.`,
		Example: "  caddy nowpay notifications replay --merchant shop",
		Args:    messageArguments(journal.Outbox, cobra.ArbitraryArgs), SilenceUsage: true,
	}
	desks, filters := addDeskFlags(command), addMessageFlags(command, map[string]string{"merchant": "merchant"})
	format := addFormatFlag(command, "text", "json")
	command.RunE = func(cmd *cobra.Command, ids []string) error {
		filter, err := filters.messageFilter(journal.Outbox)
		switch {
		case err != nil:
			return err
		case (filter.Lane == "") == (len(ids) == 0):
			return errors.New("it takes either IDs of notifications or --merchant")
		case filter.Lane == "" && filter.State != "":
			return errors.New("--state: belongs to --merchant")
		}
		filter.State = cmp.Or(filter.State, journal.Dead)
		return desks.with(cmd, format, func(ctx context.Context, d desk) error {
			if filter.Lane != "" {
				if ids, err = oldestFirst(ctx, d, filter); err != nil {
					return err
				}
			}
			return eachMessage(cmd, format, "to be sent again", ids, func(id string) (message, error) { return d.replay(ctx, id) })
		})
	}
	return command
}

// oldestFirst are the IDs of a filter's messages. They are all read before the
// first is changed.
func oldestFirst(ctx context.Context, d desk, f journal.MessageFilter) (ids []string, err error) {
	for m, err := range d.messages(ctx, f) {
		if err != nil {
			return nil, err
		}
		ids = append(ids, m.Message)
	}
	slices.Reverse(ids)
	return ids, nil
}

func dropCommand() *cobra.Command {
	command := &cobra.Command{
		Use: "drop <id>...", Short: "Gives up notifications that wait or are dead",
		Long: `Gives up notifications: they are not sent, and those that come after them are. The
reason is kept with them, so leave out whatever tells something about a customer.`,
		Example: `  caddy nowpay notifications drop msg_01KAZ…-4 --reason "the shop has closed"`,
		Args:    messageArguments(journal.Outbox, cobra.MinimumNArgs(1)), SilenceUsage: true,
	}
	desks := addDeskFlags(command)
	reason := command.Flags().String("reason", "", "why, in one line (required)")
	_ = command.MarkFlagRequired("reason") // the flag is there
	format := addFormatFlag(command, "text", "json")
	command.RunE = func(cmd *cobra.Command, ids []string) error {
		return desks.with(cmd, format, func(ctx context.Context, d desk) error {
			return eachMessage(cmd, format, "dropped", ids, func(id string) (message, error) { return d.drop(ctx, id, *reason) })
		})
	}
	return command
}

// eachMessage changes messages, one after another until the first that cannot be
// changed, and says what it did.
func eachMessage(cmd *cobra.Command, format formatFlag, done string, ids []string, change func(id string) (message, error)) error {
	out, changed := cmd.OutOrStdout(), make([]message, 0, len(ids))
	var failed error
	for _, id := range ids {
		after, err := change(id)
		if err != nil {
			failed = fmt.Errorf("changing %s, which ends this: %w", id, err)
			break
		}
		changed = append(changed, after)
		if *format.value == "text" {
			fmt.Fprintf(out, "%s of %s, transaction %s: %s\n", shown(after.Message), shown(after.Merchant), shown(after.Transaction), done)
		}
	}
	if *format.value == "json" {
		return errors.Join(printJSON(out, changed), failed)
	}
	fmt.Fprintf(out, "notifications %s: %d of %d\n", done, len(changed), len(ids))
	return failed
}

func sendTestCommand() *cobra.Command {
	command := &cobra.Command{
		Use: "send-test", Short: "Sends a merchant a notification of a transaction that never was",
		Long: `Sends a notification of type transaction.test, signed as all are, once, and says
what came of it: through the running gateway, or from here with its configuration.
Exits with 1 if it was not delivered.`,
		Args: cobra.NoArgs, SilenceUsage: true,
	}
	desks := addDeskFlags(command)
	merchant := command.Flags().String("merchant", "", "whom to send it to (required)")
	_ = command.MarkFlagRequired("merchant") // the flag is there
	format := addFormatFlag(command, "text", "json")
	own := func(ctx context.Context, app *App) (desk, error) { return app.testDesk(ctx, *merchant) }
	command.RunE = func(cmd *cobra.Command, _ []string) error {
		if *merchant == "" {
			return errors.New("--merchant: has no value")
		}
		return desks.withOwn(cmd, format, "sending from here", own, func(ctx context.Context, d desk) error {
			told, err := d.sendTest(ctx, *merchant)
			if err != nil {
				return err
			}
			if *format.value == "json" {
				err = printJSON(cmd.OutOrStdout(), told)
			} else {
				fmt.Fprintln(cmd.OutOrStdout(), shown(told.Result))
			}
			if !told.Delivered {
				err = errors.Join(err, fmt.Errorf("the test was not delivered: %s", cmp.Or(told.Error, told.Result)))
			}
			return err
		})
	}
	return command
}

func secretCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "secret",
		Short: "Makes a secret that signs a merchant's notifications",
		Long: `Makes a secret of 256 random bits, with which the gateway signs a merchant's
notifications and the merchant app checks them. It is shown once and stored nowhere:
put it into the file that the merchant's secret_file names, readable by the gateway
alone, or where its ` + "`secret`" + ` comes from, and give it to the app. While the app
changes over, the file has two lines, the new secret first.`,
		Args: cobra.NoArgs, SilenceUsage: true,
		RunE: func(cmd *cobra.Command, _ []string) error { return newNotifySecret(cmd.OutOrStdout(), rand.Reader) },
	}
}

// newNotifySecret prints a secret made of the given randomness.
func newNotifySecret(w io.Writer, random io.Reader) error {
	secret, err := notify.GenerateSecret(random)
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintf(w, "for the merchant app:  %s\nfor the secret_file:   %s\n", secret, secret); err != nil {
		return fmt.Errorf("printing the secret: %w", err)
	}
	return nil
}

func printMessages(w io.Writer, box journal.Box, all []message) error {
	if box == journal.Inbox {
		columns := []string{"FIRST RECEIVED", "CALLBACK", "ACCOUNT", "TRANSACTION", "SHAPE", "STATE", "RECEIVED", "NOTE"}
		return printRows(w, columns, all, func(m message) []string {
			return []string{
				clock(m.Created), m.Message, cmp.Or(m.Account, "-"), cmp.Or(m.Transaction, "-"), m.Shape, string(m.State),
				strconv.Itoa(m.Received), m.Note,
			}
		})
	}
	columns := []string{"TIME", "NOTIFICATION", "MERCHANT", "TRANSACTION", "KIND", "STATE", "TRIES", "NEXT TRY", "NOTE"}
	return printRows(w, columns, all, func(m message) []string {
		return []string{
			clock(m.Created), m.Message, m.Merchant, m.Transaction, m.Kind, string(m.State), strconv.Itoa(m.Tries), clock(m.NextTry), m.Note,
		}
	})
}

func printMessage(w io.Writer, d messageDetails) {
	name, received := "notification", ""
	if d.Box == journal.Inbox {
		name, received = "callback", fmt.Sprintf("%d times", d.Received)
	}
	printFields(w,
		[2]string{name, d.Message},
		[2]string{"state", string(d.State)},
		[2]string{"note", d.Note},
		[2]string{"merchant", d.Merchant},
		[2]string{"account", d.Account},
		[2]string{"transaction", d.Transaction},
		[2]string{"kind", d.Kind},
		[2]string{"shape", d.Shape},
		[2]string{"received", received},
		[2]string{"created", clock(d.Created)},
		[2]string{"updated", clock(d.Updated)},
		[2]string{"tries", strconv.Itoa(d.Tries)},
		[2]string{"next try", clock(d.NextTry)},
	)
	if c := d.Content; c != nil {
		printFields(w,
			[2]string{"method", c.Method},
			[2]string{"content type", c.ContentType},
			[2]string{"query", c.Query},
			[2]string{"body", cmp.Or(c.Body, string(c.Bytes))},
		)
	}
}
