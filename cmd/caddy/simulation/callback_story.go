package simulation

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"time"

	"github.com/nowpay-gateway/nowpay-gateway/simulator"
)

const (
	callbackURL = "http://127.0.0.1:8481/nowpay" // as Caddyfile.example has it
	callbackIP  = "127.0.0.9"
	patience    = 20 * time.Second
	// lateID is the request ID of the payout that ends later.
	lateID = "1013"
)

// tellOfCallbacks plays the second part of the story, which begins at step n: a
// payout that ends after its request was answered. It returns how many steps came
// out other than told.
func tellOfCallbacks(ctx context.Context, w io.Writer, sim *provider, app *merchantApp, n int) int {
	unexpected := 0
	say := func(title, verdict, why string, err error) {
		fmt.Fprintf(w, "\n%2d  %s\n", n, title)
		if err != nil {
			unexpected++
			fmt.Fprintf(w, "    UNEXPECTED  %v\n", err)
		} else {
			fmt.Fprintf(w, "    %s\n    because     %s\n", verdict, why)
		}
		n++
	}
	pending := step{token: shopToken, body: payout(lateID, "6.00", "sim:pending")}
	answer, body, err := pending.play(ctx, sim) //nolint:bodyclose // play closes it
	if err == nil && outcomeOf(answer, body) != "pending" {
		err = fmt.Errorf("the payout is %s", body)
	}
	say("Nowpay takes its time with a payout", "held back   pending", "the shop is told that the end comes later", err)
	entries := sim.Ledger().Find(lateID)
	if err != nil || len(entries) != 1 {
		return max(unexpected, 1)
	}

	forged, err := sim.SendRaw(ctx, simulator.RawCallback{
		From: netip.MustParseAddr("127.0.0.66"), ContentType: "application/json",
		Body: fmt.Sprintf(`{"status":"SUCCESS","result":{"orderId":%q,"paytmOrderId":%q,"rrn":"1"}}`, lateID, entries[0].ProviderID),
	})
	if err == nil && forged.Status != http.StatusForbidden {
		err = fmt.Errorf("HTTP %d", forged.Status)
	}
	say("Somebody who is not Nowpay calls back: it succeeded", fmt.Sprintf("refused     HTTP %d", forged.Status), "callbacks come from "+callbackIP, err)

	asked := countRequests(sim).asked
	lying, err := sim.SendCallback(ctx, entries[0].ProviderID, simulator.StateFailed, simulator.Fault{})
	if err == nil {
		err = unmoved(ctx, sim, asked)
	}
	say("A callback from Nowpay's own address says that it failed, while Nowpay's books say pending", "recorded    "+statusOf(lying),
		"a callback is a hint: the gateway asked Nowpay, whose word is another", err)

	err = sim.SettlePending(entries[0].ProviderID, simulator.StateSuccess)
	var got notification
	if err == nil {
		got, err = app.await(ctx, lateID)
	}
	say("Nowpay pays out, and calls back", "recorded    the gateway asks Nowpay what became of it, and tells the shop", "the shop needs no public address", err)
	if err != nil {
		return unexpected
	}
	if got.Type != "transaction.success" || got.Data.State != "success" {
		err = fmt.Errorf("it says %s", got.body)
	}
	say("The shop's app takes the notification", fmt.Sprintf("verified    %s  %s", got.id, got.Type),
		"signed as Standard Webhooks says, with a secret of the shop's own; it holds:\n                "+string(got.body), err)
	return unexpected
}

func statusOf(sent []simulator.Callback) string {
	if len(sent) == 0 {
		return "not sent"
	}
	return fmt.Sprintf("HTTP %d", sent[0].Status)
}

// unmoved fails unless the payout is still pending once the gateway has asked
// Nowpay more than so often.
func unmoved(ctx context.Context, sim *provider, asked int) error {
	for end := time.Now().Add(patience); countRequests(sim).asked <= asked && time.Now().Before(end); {
		time.Sleep(50 * time.Millisecond)
	}
	look := step{token: shopToken, method: http.MethodGet, path: "/transactions/" + lateID}
	_, body, err := look.play(ctx, sim) //nolint:bodyclose // play closes it
	if err != nil {
		return err
	}
	var view struct {
		State string `json:"state"`
	}
	if err := json.Unmarshal(body, &view); err != nil || view.State != "pending" {
		return fmt.Errorf("the payout is %s", body)
	}
	return nil
}

// await waits for the notification of a payout.
func (a *merchantApp) await(ctx context.Context, requestID string) (notification, error) {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	for {
		select {
		case n := <-a.taken:
			if n.Data.RequestID == requestID {
				return n, nil
			}
		case <-timer.C:
			return notification{}, fmt.Errorf("the shop was not notified within %s", patience)
		case <-ctx.Done():
			return notification{}, ctx.Err()
		}
	}
}
