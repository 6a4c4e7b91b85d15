package httpsig_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha512"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nowpay-gateway/nowpay-gateway/signer/httpsig"
)

func encode(blockType string, der []byte, err error) string {
	if err != nil {
		panic(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: blockType, Bytes: der}))
}

func pkcs8(key any) string {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	return encode("PRIVATE KEY", der, err)
}

func spki(key any) string {
	der, err := x509.MarshalPKIXPublicKey(key)
	return encode("PUBLIC KEY", der, err)
}

func newRSA(t *testing.T, bits int) *rsa.PrivateKey {
	t.Helper()
	t.Setenv("GODEBUG", "rsa1024min=0")
	key, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func newECDSA(t *testing.T, c elliptic.Curve) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(c, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// TestParseKeys reads keys in every form there is and has each pair sign and verify.
func TestParseKeys(t *testing.T) {
	file := func(name string) string { return string(rfcKey(t, name)) }
	rsaKey, ecKey := newRSA(t, 2048), newECDSA(t, elliptic.P256())
	ecDER, err := x509.MarshalECPrivateKey(ecKey)
	ecText := encode("EC PRIVATE KEY", ecDER, err)
	certificate, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "nowpay"}, NotAfter: time.Unix(1, 0),
	}, &x509.Certificate{}, ecKey.Public(), ecKey)
	certText := encode("CERTIFICATE", certificate, err)
	parameters := encode("EC PARAMETERS", []byte{6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7}, nil)
	for _, c := range []struct {
		name            string
		a               httpsig.Algorithm
		private, public string
	}{
		{"RFC 9421 B.1.1", httpsig.RSAPSSSHA512, file("test-key-rsa.private.pem"), file("test-key-rsa.public.pem")},
		{"RFC 9421 B.1.2", httpsig.RSAPSSSHA512, file("test-key-rsa-pss.private.pem"), file("test-key-rsa-pss.public.pem")},
		{"RFC 9421 B.1.3", httpsig.ECDSAP256SHA256, file("test-key-ecc-p256.private.pem"), file("test-key-ecc-p256.public.pem")},
		{"RFC 9421 B.1.4", httpsig.Ed25519, file("test-key-ed25519.private.pem"), file("test-key-ed25519.public.pem")},
		{"RSA for PSS alone", httpsig.RSAPSSSHA512, file("test-key-rsa-pss.private.pem"), pssOnly},
		{"RSA, PKCS #8", httpsig.RSAPSSSHA512, pkcs8(rsaKey), spki(rsaKey.Public())},
		{
			"RSA, PKCS #1", httpsig.RSAPSSSHA512, encode("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(rsaKey), nil),
			encode("RSA PUBLIC KEY", x509.MarshalPKCS1PublicKey(&rsaKey.PublicKey), nil),
		},
		{"EC, PKCS #8, certificate", httpsig.ECDSAP256SHA256, pkcs8(ecKey), certText},
		{"EC, with parameters and text around it", httpsig.ECDSAP256SHA256, "a key:\n" + parameters + ecText + "\nthat was it\n", spki(ecKey.Public())},
	} {
		private, err := httpsig.ParsePrivateKey([]byte(c.private), c.a)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		public, err := httpsig.ParsePublicKey([]byte(c.public), c.a)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		checkPair(t, c.name, c.a, private, public)
	}
	hmac := httpsig.HMAC("key")
	checkPair(t, "hmac", httpsig.HMACSHA256, hmac, hmac)
}

func checkPair(t *testing.T, name string, a httpsig.Algorithm, private httpsig.SigningKey, public httpsig.VerifyingKey) {
	t.Helper()
	signature, err := private.Sign(t.Context(), []byte("base"))
	if err != nil || private.Algorithm() != a || public.Algorithm() != a {
		t.Fatalf("%s: Sign with %s: %v", name, private.Algorithm(), err)
	}
	if length := map[httpsig.Algorithm]int{httpsig.HMACSHA256: 32, httpsig.Ed25519: 64, httpsig.ECDSAP256SHA256: 64, httpsig.RSAPSSSHA512: 256}[a]; len(signature) != length {
		t.Errorf("%s: the signature has %d bytes", name, len(signature))
	}
	if err := public.Verify(t.Context(), []byte("base"), signature); err != nil {
		t.Errorf("%s: Verify: %v", name, err)
	}
	flipped := bytes.Clone(signature)
	flipped[len(flipped)/2] ^= 1
	for what, err := range map[string]error{
		"another base":  public.Verify(t.Context(), []byte("Base"), signature),
		"a flipped bit": public.Verify(t.Context(), []byte("base"), flipped),
		"nothing":       public.Verify(t.Context(), []byte("base"), nil),
		"less":          public.Verify(t.Context(), []byte("base"), signature[1:]),
		"more":          public.Verify(t.Context(), []byte("base"), append([]byte{0}, signature...)),
		"a zero within": public.Verify(t.Context(), []byte("base"), slices.Insert(bytes.Clone(signature), len(signature)/2, 0)),
		"a zero more":   public.Verify(t.Context(), []byte("base"), append(bytes.Clone(signature), 0)),
		"zeros":         public.Verify(t.Context(), []byte("base"), make([]byte, len(signature))),
	} {
		if !errors.Is(err, httpsig.ErrWrong) {
			t.Errorf("%s, %s: Verify: %v", name, what, err)
		}
	}
}

// pssOnly is the public key of B.1.2 as OpenSSL writes one that is for RSASSA-PSS alone.
const pssOnly = `-----BEGIN PUBLIC KEY-----
MIIBIDALBgkqhkiG9w0BAQoDggEPADCCAQoCggEBAK+LZpt69tFnfz26rz9bNvkB
Lb6bkWlfGKuNII1EfMtkY8WunaRthlx2z37zLPHLfi4dRh+OcdvEcN0cud5pvqAF
48kPOjpw5GeTfJWG4IA+Dt8OjOqQLy5IZPeQJ3U64n2yBTzVPDzzDuzsqxQB6oA7
M54zxZkzrQhHDdmdRaVoHIcLmCzy/lqJKpbXddZ6qs4vmyfXL0igA2HVAADeVlLc
3aYsui204EsT+6HIlOE59IOSOmg2SewPC86NCksmWKAOPOZqnDtBlQHVcPZauGjk
/b+nfp2+G5zZEFZJS0N31QLyZvsXQzqfSwjQjePFdqZwzpBVevlPZ1eaMnOlyNsC
AwEAAQ==
-----END PUBLIC KEY-----
`

// restricted is a key for RSASSA-PSS with SHA-256 alone.
const restricted = `-----BEGIN PUBLIC KEY-----
MIIBUTA8BgkqhkiG9w0BAQowL6APMA0GCWCGSAFlAwQCAQUAoRwwGgYJKoZIhvcN
AQEIMA0GCWCGSAFlAwQCAQUAA4IBDwAwggEKAoIBAQDD+OO58uUCb8mHKNAa1wCa
pnQG18l2mqVWMMg3S0o4UYJDSjf3+q6ScgwYx9nVh62VbxEp1v6R3rxAsZ3kHzPX
uaBVrRVn84MJIlf7cQaNdVN+mURxm14r7Pr2ZLeba08bV6YH1lLs8YDfOOm82tIT
hMOXQrbvxuF2kWz7hUmDV21L7LuNh2RHP6grlpdmnE4pbmQQcsbAwGEY6Dg2R0E6
NO/iXsOA//p+/WiowVd7UMbvfBaqusPbu92VUpknIAV4UOdQ1N9QLo4y3NMZxFYu
+8iL2zbDPLhMmzhJSQMwglADl9q02lWfVkK9LpokoaSUNRfn3+l0ho1qMdiHo96T
AgMBAAE=
-----END PUBLIC KEY-----
`

func TestParseKeysRefused(t *testing.T) {
	ed := string(rfcKey(t, "test-key-ed25519.private.pem"))
	edPublic := string(rfcKey(t, "test-key-ed25519.public.pem"))
	ec, rsaPSS := string(rfcKey(t, "test-key-ecc-p256.private.pem")), string(rfcKey(t, "test-key-rsa-pss.private.pem"))
	ecPublic, rsaPublic := string(rfcKey(t, "test-key-ecc-p256.public.pem")), string(rfcKey(t, "test-key-rsa-pss.public.pem"))
	p384, weak := newECDSA(t, elliptic.P384()), newRSA(t, 1024)
	spoilt := func(text string) string { return strings.Replace(text, "\nM", "\nN", 1) }
	for _, c := range []struct {
		name, private, public string // either may be empty: not tried
		a                     httpsig.Algorithm
		algorithm             bool // wraps ErrAlgorithm
	}{
		{"nothing", "\n", "\n", httpsig.Ed25519, false},
		{"no PEM", "MC4CAQAwBQYDK2VwBCIEIJ+DYvh6SEqVTm50DFtMDoQikTmiCqirVv9mWG9qfSnF", "MCowBQYDK2VwAyEAJrQLj5P", httpsig.Ed25519, false},
		{"one for the other", edPublic, ed, httpsig.Ed25519, false},
		{"two", ed + ed, edPublic + edPublic, httpsig.Ed25519, false},
		{"spoilt", spoilt(ed), spoilt(edPublic), httpsig.Ed25519, false},
		{"spoilt", spoilt(rsaPSS), spoilt(rsaPublic), httpsig.RSAPSSSHA512, false},
		{"spoilt", spoilt(ec), spoilt(ecPublic), httpsig.ECDSAP256SHA256, false},
		{"a certificate that is none", "", encode("CERTIFICATE", []byte("x"), nil), httpsig.ECDSAP256SHA256, false},
		{"encrypted", encode("ENCRYPTED PRIVATE KEY", []byte("x"), nil), "", httpsig.Ed25519, false},
		{"encrypted", "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\neA==\n-----END RSA PRIVATE KEY-----\n", "", httpsig.RSAPSSSHA512, false},
		{"1024 bits", pkcs8(weak), spki(weak.Public()), httpsig.RSAPSSSHA512, false},
		{"SHA-256 alone", "", restricted, httpsig.RSAPSSSHA512, false},

		{"P-384", pkcs8(p384), spki(p384.Public()), httpsig.ECDSAP256SHA256, true},
		{"EC for Ed25519", ec, ecPublic, httpsig.Ed25519, true},
		{"Ed25519 for RSA", ed, edPublic, httpsig.RSAPSSSHA512, true},
		{"RSA for EC", rsaPSS, rsaPublic, httpsig.ECDSAP256SHA256, true},
		{"PEM for an HMAC", ed, edPublic, httpsig.HMACSHA256, true},
		{"no algorithm", ed, edPublic, "", true},
		{"another algorithm", rsaPSS, rsaPublic, "rsa-v1_5-sha256", true},
	} {
		if c.private != "" {
			key, err := httpsig.ParsePrivateKey([]byte(c.private), c.a)
			checkRefused(t, c.name, c.private, c.algorithm, key != nil, err)
		}
		if c.public != "" {
			key, err := httpsig.ParsePublicKey([]byte(c.public), c.a)
			checkRefused(t, c.name, c.public, c.algorithm, key != nil, err)
		}
	}
}

func checkRefused(t *testing.T, name, text string, algorithm, key bool, err error) {
	t.Helper()
	if err == nil || key || errors.Is(err, httpsig.ErrAlgorithm) != algorithm ||
		name == "encrypted" && !strings.Contains(err.Error(), "passphrase") {
		t.Errorf("%s: key %t, %v", name, key, err)
		return
	}
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); len(line) > 16 && !strings.HasPrefix(line, "-----") && strings.Contains(err.Error(), line[:16]) {
			t.Errorf("%s: %v quotes the key", name, err)
		}
	}
}

// RFC 9421 section 3.3.1 wants a salt of 64 bytes.
func TestSaltLength(t *testing.T) {
	key := newRSA(t, 2048)
	public, err := httpsig.ParsePublicKey([]byte(spki(key.Public())), httpsig.RSAPSSSHA512)
	if err != nil {
		t.Fatal(err)
	}
	digest := sha512.Sum512([]byte("base"))
	for length, want := range map[int]error{64: nil, 63: httpsig.ErrWrong, 32: httpsig.ErrWrong, 190: httpsig.ErrWrong} {
		signature, err := rsa.SignPSS(rand.Reader, key, crypto.SHA512, digest[:], &rsa.PSSOptions{SaltLength: length})
		if err != nil {
			t.Fatal(err)
		}
		if err := public.Verify(t.Context(), []byte("base"), signature); !errors.Is(err, want) || (err == nil) != (want == nil) {
			t.Errorf("Verify with %d bytes of salt: %v", length, err)
		}
	}
}

func TestEmptyHMAC(t *testing.T) {
	for _, k := range []httpsig.HMAC{nil, {}} {
		if s, err := k.Sign(t.Context(), []byte("base")); err == nil {
			t.Errorf("Sign with no key = %x", s)
		}
		if err := k.Verify(t.Context(), []byte("base"), nil); err == nil || errors.Is(err, httpsig.ErrWrong) {
			t.Errorf("Verify with no key: %v", err)
		}
	}
}

// No way to print a key shows it.
func TestKeysArePrivate(t *testing.T) {
	seed := rfcKey(t, "test-key-ed25519.private.pem")
	private, err := httpsig.ParsePrivateKey(seed, httpsig.Ed25519)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(seed)
	secrets := [][]byte{[]byte("hunter22hunter22"), block.Bytes[16:]}
	for _, k := range []any{httpsig.HMAC("hunter22hunter22"), private, struct{ K any }{httpsig.HMAC("hunter22hunter22")}, []any{private}} {
		var log bytes.Buffer
		slog.New(slog.NewTextHandler(&log, nil)).Info("key", "key", k)
		slog.New(slog.NewJSONHandler(&log, nil)).Info("key", "key", k)
		asJSON, _ := json.Marshal(k)
		printed := fmt.Sprintf("%v %+v %#v %s %q %x %X %d %s %s", k, k, k, k, k, k, k, k, asJSON, log.String())
		for _, s := range secrets {
			for _, form := range []string{
				string(s), fmt.Sprintf("%x", s), fmt.Sprintf("%X", s), base64.StdEncoding.EncodeToString(s)[:16],
				strings.Trim(fmt.Sprint(s), "[]"), strings.Trim(fmt.Sprintf("%#v", s), "[]byte{}"),
			} {
				if strings.Contains(printed, form) {
					t.Errorf("%T prints %s", k, printed)
				}
			}
		}
	}
}
