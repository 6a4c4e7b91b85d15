package vaulttest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"maps"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

// Issuer signs JWTs that a role accepts.
type Issuer struct {
	tb     testing.TB
	key    *ecdsa.PrivateKey
	claims map[string]any
}

// Audience is that of JWTs for Vault.
const Audience = "vault"

func newIssuer(tb testing.TB, claims map[string]any) *Issuer {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatalf("vaulttest: making the issuer's key: %v", err)
	}
	return &Issuer{tb: tb, key: key, claims: claims}
}

// Sign returns a JWT that ends after ttl, or has ended if that is negative. The
// claims are the role's own, but for those given.
func (i *Issuer) Sign(ttl time.Duration, claims map[string]any) string {
	i.tb.Helper()
	now := time.Now()
	all := maps.Clone(i.claims)
	all["iat"], all["nbf"], all["exp"] = now.Add(-time.Hour).Unix(), now.Add(-time.Hour).Unix(), now.Add(ttl).Unix()
	all["jti"] = rand.Text() // so that no two are the same
	maps.Copy(all, claims)
	payload, err := json.Marshal(all)
	if err != nil {
		i.tb.Fatalf("vaulttest: encoding claims: %v", err)
	}
	encode := base64.RawURLEncoding.EncodeToString
	signed := encode([]byte(`{"alg":"ES256","typ":"JWT"}`)) + "." + encode(payload)
	hash := sha256.Sum256([]byte(signed))
	r, s, err := ecdsa.Sign(rand.Reader, i.key, hash[:])
	if err != nil {
		i.tb.Fatalf("vaulttest: signing a JWT: %v", err)
	}
	signature := make([]byte, 64)
	r.FillBytes(signature[:32])
	s.FillBytes(signature[32:])
	return signed + "." + encode(signature)
}

// PublicKey is the issuer's, as PEM.
func (i *Issuer) PublicKey() string {
	i.tb.Helper()
	der, err := x509.MarshalPKIXPublicKey(i.key.Public())
	if err != nil {
		i.tb.Fatalf("vaulttest: encoding the issuer's key: %v", err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}

// NewIssuer makes an issuer https://ci.example of JWTs for the subject "gateway"
// and Audience.
func NewIssuer(tb testing.TB) *Issuer {
	tb.Helper()
	return newIssuer(tb, map[string]any{"iss": "https://ci.example", "sub": "gateway", "aud": Audience})
}

// JWT writes a role of the jwt auth method, mounted with the first one, and
// returns an issuer whose JWTs it accepts. Called again at the same mount, the
// issuer before is accepted no longer.
func (s *Server) JWT(name string, opts RoleOptions) *Issuer {
	s.tb.Helper()
	issuer := NewIssuer(s.tb)
	mount := s.enableAuth("jwt", opts.Mount)
	s.write(mount+"/config", map[string]any{"jwt_validation_pubkeys": issuer.PublicKey(), "bound_issuer": "https://ci.example"})
	s.write(mount+"/role/"+name, opts.settings(map[string]any{
		"role_type": "jwt", "user_claim": "sub", "bound_subject": "gateway", "bound_audiences": Audience,
	}))
	return issuer
}

// Cluster is the part of Kubernetes that Vault asks: it makes tokens of service
// accounts and reviews them.
type Cluster struct {
	*Issuer
	// URL is its API server's.
	URL string

	mu      sync.Mutex
	deleted map[string]bool // tokens
	reviews int
}

// Delete makes the cluster disown a token, as when its pod is gone.
func (c *Cluster) Delete(token string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.deleted[token] = true
}

// Reviews returns how many tokens were reviewed.
func (c *Cluster) Reviews() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.reviews
}

// StartCluster runs a cluster with the service account "nowpay-gateway" in the
// namespace "pay", until the test ends.
func StartCluster(tb testing.TB) *Cluster {
	tb.Helper()
	c := &Cluster{deleted: make(map[string]bool), Issuer: newIssuer(tb, map[string]any{
		"iss": "https://kubernetes.default.svc.cluster.local", "aud": []string{Audience},
		"sub": "system:serviceaccount:pay:nowpay-gateway",
		"kubernetes.io": map[string]any{
			"namespace": "pay", "serviceaccount": map[string]any{"name": "nowpay-gateway", "uid": "5ba1-uid"},
		},
	})}
	server := httptest.NewServer(http.HandlerFunc(c.review))
	tb.Cleanup(server.Close)
	c.URL = server.URL
	return c
}

// review answers POST /apis/authentication.k8s.io/v1/tokenreviews.
func (c *Cluster) review(w http.ResponseWriter, r *http.Request) {
	var request struct {
		Spec struct {
			Token     string   `json:"token"`
			Audiences []string `json:"audiences"`
		} `json:"spec"`
	}
	if r.URL.Path != "/apis/authentication.k8s.io/v1/tokenreviews" || json.NewDecoder(r.Body).Decode(&request) != nil {
		http.Error(w, "no such thing", http.StatusNotFound)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.reviews++
	status := map[string]any{"error": "[invalid bearer token]"}
	if username := c.verify(request.Spec.Token); username != "" && !c.deleted[request.Spec.Token] {
		status = map[string]any{
			"authenticated": true,
			"user":          map[string]any{"username": username, "uid": "5ba1-uid"},
			"audiences":     request.Spec.Audiences,
		}
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusCreated)
	_ = json.NewEncoder(w).Encode(map[string]any{
		"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "status": status,
	})
}

// verify returns whom a token of the cluster's own is for, "" for any other.
func (c *Cluster) verify(token string) string {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return ""
	}
	signature, err := base64.RawURLEncoding.DecodeString(parts[2])
	if err != nil || len(signature) != 64 {
		return ""
	}
	hash := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	r, s := new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:])
	if !ecdsa.Verify(&c.key.PublicKey, hash[:], r, s) {
		return ""
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	var claims struct {
		Subject string `json:"sub"`
		Expires int64  `json:"exp"`
	}
	if err != nil || json.Unmarshal(payload, &claims) != nil || time.Now().Unix() >= claims.Expires {
		return ""
	}
	return claims.Subject
}

// Kubernetes writes a role of the kubernetes auth method, mounted with the first
// one, for the cluster's service account and tokens with Audience.
func (s *Server) Kubernetes(name string, cluster *Cluster, opts RoleOptions) {
	s.tb.Helper()
	mount := s.enableAuth("kubernetes", opts.Mount)
	s.write(mount+"/config", map[string]any{
		"kubernetes_host": cluster.URL, "disable_local_ca_jwt": true,
	})
	s.write(mount+"/role/"+name, opts.settings(map[string]any{
		"bound_service_account_names": "nowpay-gateway", "bound_service_account_namespaces": "pay", "audience": Audience,
	}))
}
