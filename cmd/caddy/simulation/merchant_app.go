package simulation

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

// appAddress is where the shop's app takes notifications.
const appAddress = "127.0.0.1:8482"

// merchantApp is the shop's app, as far as notifications go: it takes those whose
// signature is right, as every merchant should.
type merchantApp struct {
	hook    *standardwebhooks.Webhook
	server  *http.Server
	serving sync.WaitGroup
	taken   chan notification
}

// notification is what the shop reads of one.
type notification struct {
	id   string
	body []byte
	Type string `json:"type"`
	Data struct {
		RequestID string `json:"request_id"`
		State     string `json:"state"`
	} `json:"data"`
}

// startApp serves the app, which shares the secret in the file with the gateway.
func startApp(ctx context.Context, secretFile, secret string) (*merchantApp, error) {
	hook, err := standardwebhooks.NewWebhook(secret)
	if err != nil {
		return nil, fmt.Errorf("making the shop's app: %w", err)
	}
	if err := os.WriteFile(secretFile, []byte(secret+"\n"), 0o600); err != nil {
		return nil, fmt.Errorf("writing the secret of notifications: %w", err)
	}
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", appAddress)
	if err != nil {
		return nil, fmt.Errorf("opening the shop's address: %w", err)
	}
	a := &merchantApp{hook: hook, taken: make(chan notification, 100)}
	a.server = &http.Server{Handler: http.HandlerFunc(a.take), ReadHeaderTimeout: 10 * time.Second}
	a.serving.Go(func() { _ = a.server.Serve(listener) }) // ends when it is closed
	return a, nil
}

func (a *merchantApp) take(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	n := notification{id: r.Header.Get("Webhook-Id"), body: body}
	if err != nil || a.hook.Verify(body, r.Header) != nil || json.Unmarshal(body, &n) != nil {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	select {
	case a.taken <- n:
		w.WriteHeader(http.StatusNoContent)
	default: // it comes again
		w.WriteHeader(http.StatusServiceUnavailable)
	}
}

func (a *merchantApp) stop() {
	_ = a.server.Close()
	a.serving.Wait()
}
