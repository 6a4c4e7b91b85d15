// Command verify takes notifications of the gateway, and none that is not
// genuine:
//
//	WEBHOOK_SECRET=whsec_… PORT=8080 go run .
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"strings"
	"time"

	webhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

const (
	maxBody   = 1 << 20
	minSecret = len("whsec_") + 32 // 24 bytes in base64
)

func main() {
	secret := os.Getenv("WEBHOOK_SECRET")
	if !strings.HasPrefix(secret, "whsec_") || len(secret) < minSecret {
		log.Fatal("WEBHOOK_SECRET: no secret")
	}
	webhook, err := webhooks.NewWebhook(secret)
	if err != nil {
		log.Fatal("WEBHOOK_SECRET: not a secret") // the error may quote it
	}
	server := &http.Server{
		Addr: "127.0.0.1:" + os.Getenv("PORT"), ReadTimeout: 10 * time.Second,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { receive(w, r, webhook) }),
	}
	log.Fatal(server.ListenAndServe())
}

func receive(w http.ResponseWriter, r *http.Request, webhook *webhooks.Webhook) {
	if r.Method != http.MethodPost {
		w.WriteHeader(http.StatusMethodNotAllowed)
		return
	}
	// The bytes as they came: the signature is over these, not over what they mean.
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	// The library compares in constant time, allows five minutes, and takes each
	// of several signatures.
	if err := webhook.Verify(body, r.Header); err != nil {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	var notification struct {
		Type string `json:"type"`
		Data struct {
			RequestID string `json:"request_id"`
		} `json:"data"`
	}
	if err := json.Unmarshal(body, &notification); err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	// It is genuine. Store it under its webhook-id, which is unique, and answer;
	// work on it after that. One that is there already is a repeat: 204 as well.
	fmt.Fprintf(os.Stdout, "%s %s %q\n", r.Header.Get(webhooks.HeaderWebhookID), notification.Type, notification.Data.RequestID)
	w.WriteHeader(http.StatusNoContent)
}
