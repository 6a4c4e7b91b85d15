package caddymodule

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/spf13/cobra"
)

func credentialCommand() *cobra.Command {
	parent := &cobra.Command{
		Use: "credential", Short: "Shows the accounts' credentials, without them, and has them read anew",
		Long: `Works on the credentials that a running gateway holds, through Caddy's admin
endpoint: the configuration's (--config), unless --address names it. Neither
command shows any part of a credential.`,
		Args: cobra.NoArgs, SilenceUsage: true,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	parent.AddCommand(credentialStatusCommand(), credentialRefreshCommand())
	return parent
}

func credentialStatusCommand() *cobra.Command {
	command := &cobra.Command{
		Use: "status", Short: "Shows which version each account uses",
		Long: `Shows of each account where its credential is kept, which version the gateway uses
and since when, when it was last read, whether the version before is still known,
and what is wrong.`,
		Args: cobra.NoArgs, SilenceUsage: true,
	}
	desks := addDeskFlags(command)
	format := addFormatFlag(command, "table", "json")
	command.RunE = func(cmd *cobra.Command, _ []string) error {
		_, err := desks.withRunning(cmd, format, func(ctx context.Context, d *adminDesk) error {
			all, err := d.credentials(ctx)
			switch {
			case err != nil:
				return err
			case *format.value == "json":
				return printJSON(cmd.OutOrStdout(), all)
			}
			return printCredentials(cmd.OutOrStdout(), all)
		})
		return err
	}
	return command
}

func credentialRefreshCommand() *cobra.Command {
	command := &cobra.Command{
		Use: "refresh [<account>...]", Short: "Has credentials read now",
		Long: `Has the running gateway read the credentials of the accounts, or of all if none is
named, without waiting for the next time, and says which version it had and has, or that
there is another credential under the same version.
Exits with 1 if one could not be read; what the gateway had is used on then, for
as long as its configuration allows.`,
		Args: cobra.ArbitraryArgs, SilenceUsage: true,
	}
	desks := addDeskFlags(command)
	format := addFormatFlag(command, "text", "json")
	command.RunE = func(cmd *cobra.Command, accounts []string) error {
		_, err := desks.withRunning(cmd, format, func(ctx context.Context, d *adminDesk) error {
			all, err := d.refreshCredentials(ctx, accounts)
			if err != nil {
				return err
			}
			if *format.value == "json" {
				err = printJSON(cmd.OutOrStdout(), all)
			} else {
				printRefreshed(cmd.OutOrStdout(), all)
			}
			return errors.Join(err, whatFailed(all))
		})
		return err
	}
	return command
}

// whatFailed is an error if not all were read.
func whatFailed(all []refreshed) error {
	failed := 0
	for _, r := range all {
		if r.Error != "" || !r.Available {
			failed++
		}
	}
	if failed == 0 {
		return nil
	}
	return fmt.Errorf("credentials that could not be read: %d of %d", failed, len(all))
}

func printCredentials(w io.Writer, all []credentialState) error {
	columns := []string{"ACCOUNT", "SOURCE", "WHERE", "USABLE", "VERSION", "SINCE", "CONFIRMED", "ALSO KNOWN", "NOTE"}
	return printRows(w, columns, all, func(c credentialState) []string {
		usable, confirmed, previous := "no", "", ""
		if c.Available {
			usable = "yes"
		}
		if !c.Confirmed.IsZero() {
			confirmed = time.Duration(c.AgeSeconds*float64(time.Second)).Round(time.Second).String() + " ago"
		}
		if c.Previous != 0 {
			previous = fmt.Sprintf("%d until %s", c.Previous, clock(c.KeptUntil))
		}
		return []string{c.Account, c.Source, c.Where, usable, versionOf(c.Version), clock(c.Since), confirmed, previous, c.Error}
	})
}

// versionOf is a version as it is printed.
func versionOf(version int64) string {
	if version == 0 {
		return "none"
	}
	return strconv.FormatInt(version, 10)
}

func printRefreshed(w io.Writer, all []refreshed) {
	for _, r := range all {
		change := fmt.Sprintf("version %s, as before", versionOf(r.After))
		switch {
		case r.Before != r.After:
			change = fmt.Sprintf("version %s, before it was %s", versionOf(r.After), versionOf(r.Before))
		case r.Changed:
			change = fmt.Sprintf("version %s, changed", versionOf(r.After))
		}
		if r.Error != "" {
			change = fmt.Sprintf("FAILED, %s: %s", change, r.Error)
		}
		fmt.Fprintf(w, "%s: %s\n", shown(r.Account), shown(change))
	}
}
