package vault

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/hashicorp/vault/api"
)

const (
	// maxVersions is how many versions of a key a signature is tried with.
	maxVersions = 3
	// keyInfoAge is how long what is known of a key is believed where it matters,
	// and recentInfo how long while there are wrong signatures.
	keyInfoAge = time.Minute
	recentInfo = time.Second
)

// scheme is how the engine is asked for signatures of an algorithm.
type scheme struct {
	keyTypes []string // of the engine's keys
	sign     string   // the path that signs
	shortest int      // signature
	longest  int
	encoding *base64.Encoding // of signatures
	params   transitRequest
}

func schemeOf(algorithm string) (scheme, bool) {
	switch algorithm {
	case "hmac-sha256":
		return scheme{
			keyTypes: []string{"hmac"}, sign: "hmac", shortest: 32, longest: 32, encoding: base64.StdEncoding,
			params: transitRequest{Algorithm: "sha2-256", HashAlgorithm: "sha2-256"}, // the one of hmac, the other of verify
		}, true
	case "ed25519":
		return scheme{keyTypes: []string{"ed25519"}, sign: "sign", shortest: 64, longest: 64, encoding: base64.StdEncoding}, true
	case "ecdsa-p256-sha256":
		return scheme{
			keyTypes: []string{"ecdsa-p256"}, sign: "sign", shortest: 64, longest: 64, encoding: base64.RawURLEncoding,
			params: transitRequest{HashAlgorithm: "sha2-256", Marshaling: "jws"},
		}, true
	case "rsa-pss-sha512":
		return scheme{
			keyTypes: []string{"rsa-2048", "rsa-3072", "rsa-4096"}, sign: "sign", shortest: 256, longest: 512, encoding: base64.StdEncoding,
			params: transitRequest{HashAlgorithm: "sha2-512", SignatureAlgorithm: "pss", SaltLength: "hash"},
		}, true
	}
	return scheme{}, false
}

// fits reports whether the signature can be one of the algorithm's.
func (s scheme) fits(signature []byte) bool {
	return s.shortest <= len(signature) && len(signature) <= s.longest
}

// transitRequest is what signing and verifying take.
type transitRequest struct {
	Batch              []transitItem `json:"batch_input"`
	KeyVersion         int           `json:"key_version,omitzero"`
	Algorithm          string        `json:"algorithm,omitzero"`
	HashAlgorithm      string        `json:"hash_algorithm,omitzero"`
	SignatureAlgorithm string        `json:"signature_algorithm,omitzero"`
	SaltLength         string        `json:"salt_length,omitzero"`
	Marshaling         string        `json:"marshaling_algorithm,omitzero"`
}

type transitItem struct {
	Input     string `json:"input"`
	Signature string `json:"signature,omitzero"`
	HMAC      string `json:"hmac,omitzero"`
}

// transitResult is what they say of an item.
type transitResult struct {
	Signature string `json:"signature"`
	HMAC      string `json:"hmac"`
	Valid     bool   `json:"valid"`
	Error     string `json:"error"`
}

// keyInfo is what the engine says of a key.
type keyInfo struct {
	Type   string `json:"type"`
	Latest int    `json:"latest_version"`
	Oldest int    `json:"min_decryption_version"` // that verifies
	read   time.Time
}

// versions are those whose signatures are good, the newest first.
func (k keyInfo) versions(only int) []int {
	if only != 0 {
		return []int{only}
	}
	var all []int
	for v := k.Latest; v >= max(k.Oldest, 1) && len(all) < maxVersions; v-- {
		all = append(all, v)
	}
	return all
}

// key returns what is known of the key, read again if it is older than maxAge.
// A key of another kind than the algorithm's is an error.
func (t *Transit) key(ctx context.Context, maxAge time.Duration) (keyInfo, error) {
	now := t.opts.Now()
	if known := t.info.Load(); known != nil && now.Sub(known.read) <= maxAge {
		return *known, nil
	}
	var answer struct {
		Data keyInfo `json:"data"`
	}
	if err := t.ask(ctx, question{method: http.MethodGet, path: t.path + "keys/" + t.cfg.Key}, &answer); err != nil {
		return keyInfo{}, fmt.Errorf("looking at the key: %w", err)
	}
	info := answer.Data
	info.read = now
	switch {
	case info.Type == "" || info.Latest < 1:
		return keyInfo{}, fmt.Errorf("looking at the key: %w", errAnswer)
	case !slices.Contains(t.scheme.keyTypes, info.Type):
		return keyInfo{}, fmt.Errorf("the key is of type %s: %s needs %s",
			clean(info.Type, nil), t.cfg.Algorithm, strings.Join(t.scheme.keyTypes, ", "))
	}
	t.info.Store(&info)
	return info, nil
}

// sign has the calls signed.
func (t *Transit) sign(ctx context.Context, calls []*call, outcomes []outcome) error {
	if _, err := t.key(ctx, math.MaxInt64); err != nil { // its kind never changes
		return err
	}
	request := t.scheme.params
	request.KeyVersion = t.cfg.Version
	for _, c := range calls {
		request.Batch = append(request.Batch, transitItem{Input: c.base})
	}
	t.opts.Sent(len(calls))
	results, err := t.batch(ctx, t.scheme.sign, request, calls)
	if err != nil {
		return err
	}
	for i, result := range results {
		outcomes[i].signature, outcomes[i].err = t.signature(result, calls[i])
	}
	return nil
}

// signature takes the raw signature out of Vault's form, vault:v<version>:<text>.
func (t *Transit) signature(result transitResult, c *call) ([]byte, error) {
	if result.Error != "" {
		return nil, t.refused(result, c)
	}
	text := result.Signature
	if t.scheme.sign == "hmac" {
		text = result.HMAC
	}
	vault, rest, _ := strings.Cut(text, ":")
	version, encoded, ok := strings.Cut(rest, ":")
	signature, err := t.scheme.encoding.DecodeString(encoded)
	if vault != "vault" || !strings.HasPrefix(version, "v") || !ok || err != nil || !t.scheme.fits(signature) {
		return nil, errAnswer
	}
	return signature, nil
}

// verify has the signatures of the calls verified, by each version of the key that
// may have made them: a raw signature does not tell.
func (t *Transit) verify(ctx context.Context, calls []*call, outcomes []outcome) error {
	info, err := t.key(ctx, keyInfoAge)
	if err != nil {
		return err
	}
	versions := info.versions(t.cfg.Version)
	if err := t.verifyWith(ctx, versions, calls, outcomes); err != nil {
		return err
	}
	for _, o := range outcomes {
		if o.valid || t.cfg.Version != 0 {
			continue
		}
		// There may be a newer version by now.
		next, err := t.key(ctx, recentInfo)
		if err != nil {
			return err
		}
		if next.Latest == info.Latest {
			return nil
		}
		return t.verifyWith(ctx, next.versions(0), calls, outcomes)
	}
	return nil
}

func (t *Transit) verifyWith(ctx context.Context, versions []int, calls []*call, outcomes []outcome) error {
	request := t.scheme.params
	for _, c := range calls {
		for _, version := range versions {
			item := transitItem{Input: c.base}
			text := fmt.Sprintf("vault:v%d:%s", version, c.signature)
			if t.scheme.sign == "hmac" {
				item.HMAC = text
			} else {
				item.Signature = text
			}
			request.Batch = append(request.Batch, item)
		}
	}
	t.opts.Sent(len(calls))
	results, err := t.batch(ctx, "verify", request, calls)
	if err != nil {
		return err
	}
	for i, c := range calls {
		outcomes[i] = outcome{}
		for _, result := range results[i*len(versions) : (i+1)*len(versions)] {
			switch {
			case result.Valid:
				outcomes[i].valid = true
			case result.Error != "":
				outcomes[i].err = t.refused(result, c)
			}
		}
		if outcomes[i].valid {
			outcomes[i].err = nil // another version was of no use
		}
	}
	return nil
}

// refused is Vault's reason for not working on one item.
func (t *Transit) refused(result transitResult, c *call) error {
	return fmt.Errorf("refused by Vault: %s", clean(result.Error, []string{c.base, c.signature}))
}

// batch posts a request about the key that is made of calls, and returns as many
// results as it has items.
func (t *Transit) batch(ctx context.Context, operation string, request transitRequest, calls []*call) ([]transitResult, error) {
	body, err := json.Marshal(request)
	if err != nil {
		return nil, fmt.Errorf("encoding the request: %w", err)
	}
	q := question{method: http.MethodPost, path: t.path + operation + "/" + t.cfg.Key, body: body}
	for _, c := range calls {
		q.hidden = append(q.hidden, c.base, c.signature)
	}
	var answer struct {
		Data struct {
			Results []transitResult `json:"batch_results"`
		} `json:"data"`
	}
	if err := t.ask(ctx, q, &answer); err != nil {
		return nil, err
	}
	if len(answer.Data.Results) != len(request.Batch) {
		return nil, errAnswer
	}
	return answer.Data.Results, nil
}

// question is a request to Vault.
type question struct {
	method, path string // below /v1/
	body         []byte
	hidden       []string // what errors must not show, beside the token
}

// ask is exchange with the token of the newest login, and with that of the next
// one if it is denied and there is one.
func (t *Transit) ask(ctx context.Context, q question, answer any) error {
	token := t.source.token.Load()
	if token == nil {
		if err := t.source.Status().Err; err != nil {
			return fmt.Errorf("%w: %w", errNoLogin, err)
		}
		return errNoLogin
	}
	err := t.insist(ctx, q, *token, answer)
	if !errors.Is(err, errDenied) {
		return err
	}
	t.source.deny(ctx, *token)
	if next := t.source.token.Load(); next != nil && *next != *token {
		return t.insist(ctx, q, *next, answer)
	}
	return err
}

// insist is exchange, again while it is a standby that answers which is behind the
// login, as often as the source's own requests are made. As with those, the index
// is given up then: perhaps no server ever gets there.
func (t *Transit) insist(ctx context.Context, q question, token string, answer any) error {
	for n := 0; ; n++ {
		err := t.exchange(ctx, q, token, answer)
		if !errors.Is(err, errBehind) {
			return err
		}
		if n == maxBehind {
			t.source.guard.index.Store(nil)
			return err
		}
		select {
		case <-time.After(minBehind << n):
		case <-ctx.Done():
			t.source.guard.index.Store(nil)
			return err
		}
	}
}

// exchange sends one request to Vault and reads its answer. Its errors are safe to
// log.
func (t *Transit) exchange(ctx context.Context, q question, token string, answer any) error {
	cfg := t.source.cfg
	safe := func(err error) error { return explain(err, append(q.hidden, token)...) }
	req, err := http.NewRequestWithContext(ctx, q.method, strings.TrimSuffix(cfg.Address, "/")+"/v1/"+q.path, bytes.NewReader(q.body))
	if err != nil {
		return fmt.Errorf("making the request: %w", safe(err))
	}
	req.Header.Set(api.AuthHeaderName, token)
	req.Header.Set(api.RequestHeaderName, "true")
	if cfg.Namespace != "" {
		req.Header.Set(api.NamespaceHeaderName, cfg.Namespace)
	}
	// A kept connection may turn out to be dead: nothing here counts twice, so it may
	// be sent again. The empty list says so to the transport, and is not sent.
	req.Header["Idempotency-Key"] = []string{}
	resp, err := t.client.Do(req)
	if err != nil {
		return safe(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return safe(err)
	}
	if resp.StatusCode != http.StatusOK {
		return safe(refusal(resp.StatusCode, text))
	}
	if json.Unmarshal(text, answer) != nil {
		return errAnswer
	}
	return nil
}

// refusal is an answer other than 200 as Vault's library has it.
func refusal(status int, text []byte) *api.ResponseError {
	var said struct {
		Errors []string `json:"errors"`
	}
	err := json.Unmarshal(text, &said)
	return &api.ResponseError{StatusCode: status, Errors: said.Errors, RawError: err != nil}
}
