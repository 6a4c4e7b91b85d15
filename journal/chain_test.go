package journal

import (
	"bytes"
	"encoding/hex"
	"sync"
	"testing"
	"time"
)

// TestDigests has what journals that exist hold: of whatever is written in them
// the digests must stay the same.
func TestDigests(t *testing.T) {
	key, err := newDataKey(3, bytes.Repeat([]byte{7}, keyBytes))
	if err != nil {
		t.Fatal(err)
	}
	at := time.UnixMicro(1_780_000_000_000_001).UTC()
	row := &Transaction{
		ID: "01K", Account: "main", RequestID: "R1", Merchant: "shop", Operation: "bank/payout", Amount: 150, Day: 20261126,
		State: Success, Attempt: 1, ProviderID: "P1", Integrity: "ok", Created: at, Updated: at.Add(time.Second),
		Deadline: at.Add(time.Minute), Version: 2, KeyID: 3, Fingerprint: key.sum("bank/payout", []byte("text")),
		Sealed: bytes.Repeat([]byte{9}, 2*usual),
	}
	chain := &Chain{ID: 4, Gateway: "gateway", Started: at, KeyID: 3, Heads: "[]", Number: 5, MAC: []byte("mac")}
	event := &Event{
		Chain: 4, Number: 6, Transaction: "01K", Seq: 2, At: at, Kind: Kind(Success), Cause: ByExchange,
		Actor: "a", Reason: "r", Evidence: "{}", Row: row.digest(),
	}
	for _, c := range []struct {
		name string
		got  []byte
		want string
	}{
		{"fingerprint", row.Fingerprint, "8a7adec297bae42cdc5b99dc33da0391b3a92b20c1db3f4835eef124cebcec98"},
		{"digest of a row", row.digest(), "954c4d4faff650652a7672caf5b54d2d968b10713044fdb219f1c41d30db7c61"},
		{"identity of a row", row.identity(), "91471daaf761351b6525e980032ae38cd508901c4d6f26f0437a6678d36e1f74"},
		{"opening of a chain", key.opening([]byte("before"), chain), "96e13358fcffdca614e161a47a1d53e07461a93088e2b59d1506d6e8ed4975e7"},
		{"MAC of an event", key.mac(chain.MAC, event), "81a800f76e52ff87eeae8b370eae4c4a5140d545fdb3050e61022d7b66c7f50c"},
		{"sealing of a head", key.sealing(chain), "2c23789ff6a41cad40319ed003ceea14e8c15cab7b233bca45b859e0b865e39a"},
	} {
		if got := hex.EncodeToString(c.got); got != c.want {
			t.Errorf("%s = %s, want %s", c.name, got, c.want)
		}
	}
}

// TestMACKeyIsShared lets many use one key.
func TestMACKeyIsShared(t *testing.T) {
	key := newMACKey([]byte("key"))
	texts := []string{"a", "bb", "ccc", "dddd"}
	sum := func(s string) []byte { return key.sum(func(e encoder) encoder { return e.text(s) }) }
	var work sync.WaitGroup
	for _, s := range texts {
		want := sum(s)
		work.Go(func() {
			for range 1000 {
				if got := sum(s); !bytes.Equal(got, want) {
					t.Errorf("sum(%q) = %x, want %x", s, got, want)
					return
				}
			}
		})
	}
	work.Wait()
}
