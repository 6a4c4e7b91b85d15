package httpsig_test

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nowpay-gateway/nowpay-gateway/signer/httpsig"
)

// The examples of RFC 9421 appendix B, all but these:
//
//   - B.1.1, test-key-rsa, is a key of rsa-v1_5-sha256, by which nothing in the
//     appendix is signed and which is not offered here. It is read, as a key of
//     rsa-pss-sha512.
//   - B.2.1 covers nothing. It verifies by a policy that asks for nothing; Sign
//     refuses to make the like.
//   - B.3 is about a proxy that adds Client-Cert. The signature it makes is checked,
//     and not whether the certificate is true.
//   - B.4 shows which changes of a message a signature withstands: all are here.
const (
	testRequest = `POST /foo?param=Value&Pet=dog HTTP/1.1
Host: example.com
Date: Tue, 20 Apr 2021 02:07:55 GMT
Content-Type: application/json
Content-Digest: sha-512=:WZDPaVn/7XgHaAy8pmojAkGWoRx2UFChF41A2svX+TaPm+AbwAgBWnrIiYllu7BNNyealdVLvRwEmTHWXvJwew==:
Content-Length: 18

{"hello": "world"}`
	testResponse = `HTTP/1.1 200 OK
Date: Tue, 20 Apr 2021 02:07:56 GMT
Content-Type: application/json
Content-Digest: sha-512=:mEWXIS7MaLRuGgxOBdODa3xqM1XdEvxoYhvlCFJ41QJgJc4GTsPp29l5oGX69wWdXymyU0rjJuahq4l5aGgfLQ==:
Content-Length: 23

{"message": "good dog"}`
	proxiedRequest = `POST /foo?param=Value&Pet=dog HTTP/1.1
Host: service.internal.example
Date: Tue, 20 Apr 2021 02:07:55 GMT
Content-Type: application/json
Content-Length: 18
Client-Cert: :MIIBqDCCAU6gAwIBAgIBBzAKBggqhkjOPQQDAjA6MRswGQYDVQQKDBJMZXQncyBBdXRoZW50aWNhdGUxGzAZBgNVBAMMEkxBIEludGVybWVkaWF0ZSBDQTAeFw0yMDAxMTQyMjU1MzNaFw0yMTAxMjMyMjU1MzNaMA0xCzAJBgNVBAMMAkJDMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE8YnXXfaUgmnMtOXU/IncWalRhebrXmckC8vdgJ1p5Be5F/3YC8OthxM4+k1M6aEAEFcGzkJiNy6J84y7uzo9M6NyMHAwCQYDVR0TBAIwADAfBgNVHSMEGDAWgBRm3WjLa38lbEYCuiCPct0ZaSED2DAOBgNVHQ8BAf8EBAMCBsAwEwYDVR0lBAwwCgYIKwYBBQUHAwIwHQYDVR0RAQH/BBMwEYEPYmRjQGV4YW1wbGUuY29tMAoGCCqGSM49BAMCA0gAMEUCIBHda/r1vaL6G3VliL4/Di6YK0Q6bMjeSkC3dFCOOB8TAiEAx/kHSB4urmiZ0NX5r5XarmPk0wmuydBVoU4hBVZ1yhk=:

{"hello": "world"}`
	transformedRequest = `GET /demo?name1=Value1&Name2=value2 HTTP/1.1
Host: example.org
Date: Fri, 15 Jul 2022 14:24:55 GMT
Accept: application/json
Accept: */*

`
)

// Test signatures, B.2, and that of B.3 and B.4.
var rfcSignatures = []struct {
	name, message    string
	algorithm        httpsig.Algorithm
	input, signature string
}{
	{
		"B.2.1", testRequest, httpsig.RSAPSSSHA512,
		`sig-b21=();created=1618884473;keyid="test-key-rsa-pss";nonce="b3k2pp5k7z-50gnwp.yemd"`,
		"sig-b21=:d2pmTvmbncD3xQm8E9ZV2828BjQWGgiwAaw5bAkgibUopemLJcWDy/lkbbHAve4cRAtx31Iq786U7it++wgGxbtRxf8Udx7zFZsckzXaJMkA7ChG52eSkFxykJeNqsrWH5S+oxNFlD4dzVuwe8DhTSja8xxbR/Z2cOGdCbzR72rgFWhzx2VjBqJzsPLMIQKhO4DGezXehhWwE56YCE+O6c0mKZsfxVrogUvA4HELjVKWmAvtl6UnCh8jYzuVG5WSb/QEVPnP5TmcAnLH1g+s++v6d4s8m0gCw1fV5/SITLq9mhho8K3+7EPYTU8IU1bLhdxO5Nyt8C8ssinQ98Xw9Q==:",
	},
	{
		"B.2.2", testRequest, httpsig.RSAPSSSHA512,
		`sig-b22=("@authority" "content-digest" "@query-param";name="Pet");created=1618884473;keyid="test-key-rsa-pss";tag="header-example"`,
		"sig-b22=:LjbtqUbfmvjj5C5kr1Ugj4PmLYvx9wVjZvD9GsTT4F7GrcQEdJzgI9qHxICagShLRiLMlAJjtq6N4CDfKtjvuJyE5qH7KT8UCMkSowOB4+ECxCmT8rtAmj/0PIXxi0A0nxKyB09RNrCQibbUjsLS/2YyFYXEu4TRJQzRw1rLEuEfY17SARYhpTlaqwZVtR8NV7+4UKkjqpcAoFqWFQh62s7Cl+H2fjBSpqfZUJcsIk4N6wiKYd4je2U/lankenQ99PZfB4jY3I5rSV2DSBVkSFsURIjYErOs0tFTQosMTAoxk//0RoKUqiYY8Bh0aaUEb0rQl3/XaVe4bXTugEjHSw==:",
	},
	{
		"B.2.3", testRequest, httpsig.RSAPSSSHA512,
		`sig-b23=("date" "@method" "@path" "@query" "@authority" "content-type" "content-digest" "content-length");created=1618884473;keyid="test-key-rsa-pss"`,
		"sig-b23=:bbN8oArOxYoyylQQUU6QYwrTuaxLwjAC9fbY2F6SVWvh0yBiMIRGOnMYwZ/5MR6fb0Kh1rIRASVxFkeGt683+qRpRRU5p2voTp768ZrCUb38K0fUxN0O0iC59DzYx8DFll5GmydPxSmme9v6ULbMFkl+V5B1TP/yPViV7KsLNmvKiLJH1pFkh/aYA2HXXZzNBXmIkoQoLd7YfW91kE9o/CCoC1xMy7JA1ipwvKvfrs65ldmlu9bpG6A9BmzhuzF8Eim5f8ui9eH8LZH896+QIF61ka39VBrohr9iyMUJpvRX2Zbhl5ZJzSRxpJyoEZAFL2FUo5fTIztsDZKEgM4cUA==:",
	},
	{
		"B.2.4", testResponse, httpsig.ECDSAP256SHA256,
		`sig-b24=("@status" "content-type" "content-digest" "content-length");created=1618884473;keyid="test-key-ecc-p256"`,
		"sig-b24=:wNmSUAhwb5LxtOtOpNa6W5xj067m5hFrj0XQ4fvpaCLx0NKocgPquLgyahnzDnDAUy5eCdlYUEkLIj+32oiasw==:",
	},
	{
		"B.2.5", testRequest, httpsig.HMACSHA256,
		`sig-b25=("date" "@authority" "content-type");created=1618884473;keyid="test-shared-secret"`,
		"sig-b25=:pxcQw6G3AjtMBQjwo8XzkZf/bws5LelbaMk5rGIGtE8=:",
	},
	{
		"B.2.6", testRequest, httpsig.Ed25519,
		`sig-b26=("date" "@method" "@path" "@authority" "content-type" "content-length");created=1618884473;keyid="test-key-ed25519"`,
		"sig-b26=:wqcAqbmYJ2ji2glfAMaRy4gruYYnx2nEFN2HN6jrnDnQCK1u02Gb04v9EDgwUPiu4A0w6vuQv5lIp5WPpBKRCw==:",
	},
	{
		"B.3", proxiedRequest, httpsig.ECDSAP256SHA256,
		`ttrp=("@path" "@query" "@method" "@authority" "client-cert");created=1618884473;keyid="test-key-ecc-p256"`,
		"ttrp=:xVMHVpawaAC/0SbHrKRs9i8I3eOs5RtTMGCWXm/9nvZzoHsIg6Mce9315T6xoklyy0yzhD9ah4JHRwMLOgmizw==:",
	},
	{
		"B.4", transformedRequest, httpsig.Ed25519,
		`transform=("@method" "@path" "@authority" "accept");created=1618884473;keyid="test-key-ed25519"`,
		"transform=:ZT1kooQsEHpZ0I1IjCqtQppOmIqlJPeo7DHR3SoMn0s5JZ1eRGS0A+vyYP9t/LXlh5QMFFQ6cpLt2m0pmj3NDA==:",
	},
}

// rfcKeys are those of appendix B.1, each for its algorithm.
var rfcKeys = map[httpsig.Algorithm]string{
	httpsig.HMACSHA256:      "test-shared-secret",
	httpsig.Ed25519:         "test-key-ed25519",
	httpsig.ECDSAP256SHA256: "test-key-ecc-p256",
	httpsig.RSAPSSSHA512:    "test-key-rsa-pss",
}

var algorithms = []httpsig.Algorithm{httpsig.HMACSHA256, httpsig.Ed25519, httpsig.ECDSAP256SHA256, httpsig.RSAPSSSHA512}

// sharedSecret is that of B.1.5.
const sharedSecret = "uzvJfB4u3N0Jy4T7NZ75MDVcr8zSTInedJtkgcu46YW4XByzNJjxBdtjUkdJPBtbmHhIDi6pcl8jsasjlTMtDQ=="

// keys returns a pair of keys of appendix B.1.
func keys(t testing.TB, a httpsig.Algorithm) (httpsig.SigningKey, httpsig.VerifyingKey) {
	t.Helper()
	if a == httpsig.HMACSHA256 {
		k, err := base64.StdEncoding.DecodeString(sharedSecret)
		if err != nil {
			t.Fatal(err)
		}
		return httpsig.HMAC(k), httpsig.HMAC(k)
	}
	private, err := httpsig.ParsePrivateKey(rfcKey(t, rfcKeys[a]+".private.pem"), a)
	if err != nil {
		t.Fatal(err)
	}
	public, err := httpsig.ParsePublicKey(rfcKey(t, rfcKeys[a]+".public.pem"), a)
	if err != nil {
		t.Fatal(err)
	}
	return private, public
}

func rfcKey(t testing.TB, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", "rfc9421", name))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// readMessage reads a message as it is sent, with the line ends of this file.
func readMessage(t testing.TB, text string) (*httpsig.Message, []byte) {
	t.Helper()
	head, body, _ := strings.Cut(text, "\n\n")
	in := bufio.NewReader(strings.NewReader(strings.ReplaceAll(head, "\n", "\r\n") + "\r\n\r\n" + body))
	if strings.HasPrefix(text, "HTTP/") {
		r, err := http.ReadResponse(in, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Body.Close()
		return &httpsig.Message{Status: r.StatusCode, Header: r.Header}, mustReadAll(t, r.Body)
	}
	r, err := http.ReadRequest(in)
	if err != nil {
		t.Fatal(err)
	}
	return &httpsig.Message{
		Method: r.Method, Scheme: "https", Authority: r.Host, Target: r.RequestURI, Header: r.Header,
	}, mustReadAll(t, r.Body)
}

func mustReadAll(t testing.TB, r io.Reader) []byte {
	t.Helper()
	all, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// accepts is a policy by which a key of appendix B.1 may have signed.
func accepts(t testing.TB, a httpsig.Algorithm) httpsig.Policy {
	_, public := keys(t, a)
	return httpsig.Policy{
		Keys: func(keyID string) []httpsig.VerifyingKey {
			if keyID != rfcKeys[a] {
				return nil
			}
			return []httpsig.VerifyingKey{public}
		},
		Now:    time.Unix(1618884473, 0),
		MaxAge: time.Minute,
	}
}

func TestRFC9421(t *testing.T) {
	for _, c := range rfcSignatures {
		t.Run(c.name, func(t *testing.T) {
			m, _ := readMessage(t, c.message)
			m.Header.Set("Signature-Input", c.input)
			m.Header.Set("Signature", c.signature)
			v, err := httpsig.Verify(t.Context(), m, accepts(t, c.algorithm))
			if err != nil {
				t.Fatalf("Verify: %v", err)
			}
			label, _, _ := strings.Cut(c.input, "=")
			_, signature, _ := strings.Cut(c.signature, "=")
			if v.Label != label || v.KeyID != rfcKeys[c.algorithm] || v.Created.Unix() != 1618884473 || !v.Expires.IsZero() ||
				":"+base64.StdEncoding.EncodeToString(v.Signature)+":" != signature {
				t.Errorf("Verify = %+v", v)
			}
			if v.Label == "sig-b21" {
				return // covers nothing
			}
			signAgain(t, m, v, c.algorithm, c.input, c.signature)
		})
	}
}

// signAgain makes the same signature, where there is only one. (The RFC's were not
// made by RFC 6979.)
func signAgain(t *testing.T, m *httpsig.Message, v httpsig.Verified, a httpsig.Algorithm, wantInput, wantSignature string) {
	t.Helper()
	private, _ := keys(t, a)
	input, signature, err := httpsig.Sign(t.Context(), m, httpsig.Params{
		Label: v.Label, Components: v.Components, Created: v.Created, KeyID: v.KeyID, Tag: v.Tag,
	}, private)
	if err != nil || input != wantInput {
		t.Fatalf("Sign = %s, %v\nwant   %s", input, err, wantInput)
	}
	if same := signature == wantSignature; !same && (a == httpsig.HMACSHA256 || a == httpsig.Ed25519) {
		t.Errorf("Sign = %s\nwant   %s", signature, wantSignature)
	}
	m.Header.Set("Signature", signature)
	if _, err := httpsig.Verify(t.Context(), m, accepts(t, a)); err != nil {
		t.Errorf("Verify of our own: %v", err)
	}
}

// TestRFC9421Transformations: what the signature of appendix B.4 withstands on its
// way, and what not.
func TestRFC9421Transformations(t *testing.T) {
	signed := rfcSignatures[len(rfcSignatures)-1]
	for _, c := range []struct {
		name, message string
		fits          bool
	}{
		{"as signed", transformedRequest, true},
		{"a field and a query parameter added, fields in another order", `GET /demo?name1=Value1&Name2=value2&param=added HTTP/1.1
Host: example.org
Date: Fri, 15 Jul 2022 14:24:55 GMT
Accept: application/json
Accept: */*
Accept-Language: en-US,en;q=0.5

`, true},
		{"a field removed, the lines of another joined", `GET /demo?name1=Value1&Name2=value2 HTTP/1.1
Host: example.org
Referer: https://developer.example.org/demo
Accept: application/json, */*

`, true},
		{"lines with more space", `GET /demo?name1=Value1&Name2=value2 HTTP/1.1
Accept:      application/json
Date: Fri, 15 Jul 2022 14:24:55 GMT
Accept:             */*
Host: example.org

`, true},
		{"the method and the authority changed", `POST /demo?name1=Value1&Name2=value2 HTTP/1.1
Host: example.com
Date: Fri, 15 Jul 2022 14:24:55 GMT
Accept: application/json
Accept: */*

`, false},
		{"the lines of a field swapped", `GET /demo?name1=Value1&Name2=value2 HTTP/1.1
Host: example.org
Date: Fri, 15 Jul 2022 14:24:55 GMT
Accept: */*
Accept: application/json

`, false},
	} {
		m, _ := readMessage(t, c.message)
		m.Header.Set("Signature-Input", signed.input)
		m.Header.Set("Signature", signed.signature)
		_, err := httpsig.Verify(t.Context(), m, accepts(t, signed.algorithm))
		if fits := err == nil; fits != c.fits || !fits && !errors.Is(err, httpsig.ErrWrong) {
			t.Errorf("%s: Verify: %v", c.name, err)
		}
	}
}

// TestRFC9421Bodies: the digests of the messages of appendix B.2.
func TestRFC9421Bodies(t *testing.T) {
	for _, text := range []string{testRequest, testResponse} {
		m, body := readMessage(t, text)
		if err := httpsig.CheckDigest(m.Header, body); err != nil {
			t.Errorf("CheckDigest of %s: %v", body, err)
		}
		if err := httpsig.CheckDigest(m.Header, bytes.ToUpper(body)); err == nil {
			t.Errorf("CheckDigest of another body than %s is accepted", body)
		}
	}
}
