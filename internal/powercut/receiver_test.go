//go:build linux

package powercut

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/nowpay-gateway/nowpay-gateway/journal"
)

// receiverIP is where the merchants are notified.
const receiverIP = "127.0.0.28"

// hookSecrets sign the notifications of each merchant.
var hookSecrets = map[string]string{
	"shop":  "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
	"kiosk": "whsec_dGhlIGtpb3NrIGhhcyBpdHMgb3duIHNlY3JldA==",
}

// receipt is one notification as a merchant got it.
type receipt struct {
	merchant string
	id       string // Webhook-Id
	err      error  // why it is not genuine
	taken    bool   // it was answered with 204
	Type     string `json:"type"`
	Data     struct {
		RequestID   string        `json:"request_id"`
		Transaction string        `json:"transaction"`
		State       journal.State `json:"state"`
		Reversed    journal.State `json:"reversed"`
		Final       bool          `json:"final"`
		Amount      string        `json:"amount"`
	} `json:"data"`
}

// receiver is the server of all merchants. It checks each notification as theirs
// would, and does not always want it.
type receiver struct {
	address string
	calm    atomic.Bool
	hooks   map[string]*standardwebhooks.Webhook

	mu      sync.Mutex
	random  *rand.Rand
	got     []*receipt
	refused map[string]int // by how
}

func startReceiver(t *testing.T, random *rand.Rand) *receiver {
	t.Helper()
	r := &receiver{random: random, hooks: make(map[string]*standardwebhooks.Webhook), refused: make(map[string]int)}
	for merchant, secret := range hookSecrets {
		hook, err := standardwebhooks.NewWebhook(secret)
		if err != nil {
			t.Fatal(err)
		}
		r.hooks[merchant] = hook
	}
	listener, err := net.Listen("tcp", receiverIP+":0")
	if err != nil {
		t.Fatal(err)
	}
	r.address = listener.Addr().String()
	server := &http.Server{Handler: r, ReadHeaderTimeout: time.Minute}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = server.Serve(listener) // ends when it is closed
	}()
	t.Cleanup(func() {
		if err := server.Shutdown(context.WithoutCancel(t.Context())); err != nil { // waits for slow answers
			t.Errorf("ending the receiver: %v", err)
		}
		<-served
	})
	return r
}

// lines are those of the merchants' blocks.
func (r *receiver) lines(t *testing.T) map[string]string {
	t.Helper()
	lines, folder := make(map[string]string), t.TempDir()
	for merchant, secret := range hookSecrets {
		file := filepath.Join(folder, merchant)
		if err := os.WriteFile(file, []byte(secret+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		lines[merchant] = fmt.Sprintf("notify http://%s/%s {\nsecret_file %s\nprivate\n}", r.address, merchant, file)
	}
	return lines
}

// ServeHTTP notes a notification, and answers it as it likes.
func (r *receiver) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	got := &receipt{merchant: strings.TrimPrefix(request.URL.Path, "/"), id: request.Header.Get("Webhook-Id")}
	body, err := io.ReadAll(request.Body)
	if err != nil {
		return // the gateway was killed meanwhile: nothing was told
	}
	if hook := r.hooks[got.merchant]; hook == nil {
		got.err = fmt.Errorf("there is no merchant %q", got.merchant)
	} else if got.err = hook.Verify(body, request.Header); got.err == nil {
		got.err = json.Unmarshal(body, got)
	}
	mood, slow := r.note(got)
	switch mood {
	case "answered 500":
		http.Error(w, "not now", http.StatusInternalServerError)
	case "hung up":
		panic(http.ErrAbortHandler)
	case "slow":
		time.Sleep(slow)
	}
	if mood == "" || mood == "slow" {
		r.take(got)
		w.WriteHeader(http.StatusNoContent)
	}
}

// note keeps a notification in the order in which they came, and says what is
// answered: "" is 204 at once.
func (r *receiver) note(got *receipt) (mood string, slow time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.got = append(r.got, got)
	if r.calm.Load() {
		return "", 0
	}
	switch chance := r.random.Float64(); {
	case chance < 0.15:
		mood = "answered 500"
	case chance < 0.25:
		mood = "hung up"
	case chance < 0.35:
		mood, slow = "slow", time.Duration(r.random.IntN(1500))*time.Millisecond
	default:
		return "", 0
	}
	r.refused[mood]++
	return mood, slow
}

// take notes that the merchant acts on it now, whether or not its answer arrives.
func (r *receiver) take(got *receipt) {
	r.mu.Lock()
	defer r.mu.Unlock()
	got.taken = true
}

// receipts are all so far.
func (r *receiver) receipts() []receipt {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := make([]receipt, len(r.got))
	for i, got := range r.got {
		all[i] = *got
	}
	return all
}
