package vault_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/nowpay-gateway/nowpay-gateway/internal/vaulttest"
	"github.com/nowpay-gateway/nowpay-gateway/vault"
)

// benchBase is as long as the signature base of a payment.
var benchBase = []byte(strings.Repeat("\"@method\": POST\n", 30))

// BenchmarkTransit signs with a key in Vault, on this machine and over TLS, and with
// one in the process. Latencies are those of a caller.
func BenchmarkTransit(b *testing.B) {
	server := vaulttest.Start(b, vaulttest.WithTLS())
	fillTransit(b, server, "hmac", "ecdsa-p256", "rsa-2048")
	source, _ := startSource(b, keyless(b, server), vault.Options{})
	for _, a := range algorithms[:4] {
		var requests atomic.Int64
		transit := newTransit(b, source, vault.TransitConfig{Key: "nowpay-" + a.keyType, Algorithm: a.name},
			vault.TransitOptions{Sent: func(int) { requests.Add(1) }})
		for _, callers := range []int{1, 64} {
			b.Run(fmt.Sprintf("%s/vault/callers=%d", a.name, callers), func(b *testing.B) {
				requests.Store(0)
				measure(b, callers, func() error {
					_, err := transit.Sign(b.Context(), benchBase)
					return err
				})
				b.ReportMetric(float64(b.N)/float64(requests.Load()), "calls/request")
			})
		}
		own := ownSigner(b, a.name)
		for _, callers := range []int{1, 64} {
			b.Run(fmt.Sprintf("%s/own/callers=%d", a.name, callers), func(b *testing.B) { measure(b, callers, own) })
		}
	}
}

// measure has callers do the work, and reports how long one waits, and what it costs
// this process, of which Vault is none.
func measure(b *testing.B, callers int, work func() error) {
	b.Helper()
	var left atomic.Int64
	left.Store(int64(b.N))
	took := make([][]time.Duration, callers)
	var calling sync.WaitGroup
	used := cpuTime(b)
	b.ResetTimer()
	for c := range callers {
		calling.Go(func() {
			for left.Add(-1) >= 0 {
				begun := time.Now()
				if err := work(); err != nil {
					b.Error(err)
					return
				}
				took[c] = append(took[c], time.Since(begun))
			}
		})
	}
	calling.Wait()
	b.StopTimer()
	b.ReportMetric(float64((cpuTime(b)-used).Microseconds())/float64(b.N), "µs-cpu/op")
	all := slices.Sorted(slices.Values(slices.Concat(took...)))
	if len(all) > 0 {
		b.ReportMetric(float64(all[len(all)/2].Microseconds()), "µs/p50")
		b.ReportMetric(float64(all[len(all)*99/100].Microseconds()), "µs/p99")
	}
}

func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// ownSigner signs in the process.
func ownSigner(b *testing.B, algorithm string) func() error {
	b.Helper()
	digest256, digest512 := sha256.Sum256, sha512.Sum512
	switch algorithm {
	case "hmac-sha256":
		key := make([]byte, 32)
		return func() error { hmacOf(key, string(benchBase)); return nil }
	case "ed25519":
		_, key, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			b.Fatal(err)
		}
		return func() error { ed25519.Sign(key, benchBase); return nil }
	case "ecdsa-p256-sha256":
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			b.Fatal(err)
		}
		return func() error {
			digest := digest256(benchBase)
			_, _, err := ecdsa.Sign(rand.Reader, key, digest[:])
			return err
		}
	}
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		b.Fatal(err)
	}
	return func() error {
		digest := digest512(benchBase)
		_, err := rsa.SignPSS(rand.Reader, key, crypto.SHA512, digest[:], &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash})
		return err
	}
}
