package vaulttest

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"encoding/pem"
	"fmt"
	"maps"

	"github.com/hashicorp/vault/api"
)

// EnableTransit mounts a transit engine.
func (s *Server) EnableTransit(mount string) {
	s.tb.Helper()
	if err := s.Client().Sys().MountWithContext(s.ctx(), mount, &api.MountInput{Type: "transit"}); err != nil {
		s.tb.Fatalf("vaulttest: mounting %s: %v", mount, err)
	}
}

// TransitKey makes a key of the type, such as "ed25519", in a transit engine. It
// can be exported.
func (s *Server) TransitKey(mount, name, keyType string) {
	s.tb.Helper()
	settings := map[string]any{"type": keyType, "exportable": true}
	if keyType == "hmac" {
		settings["key_size"] = 32
	}
	s.Write(mount+"/keys/"+name, settings)
}

// ImportTransitKey puts a key into a transit engine: the bytes of an HMAC key, or
// a private key in PKCS #8.
func (s *Server) ImportTransitKey(mount, name, keyType string, key []byte) {
	s.tb.Helper()
	text, _ := s.Read(mount + "/wrapping_key")["public_key"].(string)
	wrapped, err := wrap(text, key)
	if err != nil {
		s.tb.Fatalf("vaulttest: wrapping a key: %v", err)
	}
	s.Write(mount+"/keys/"+name+"/import", map[string]any{
		"type": keyType, "hash_function": "SHA256", "ciphertext": base64.StdEncoding.EncodeToString(wrapped),
	})
}

// Read returns the data at a path.
func (s *Server) Read(path string) map[string]any {
	s.tb.Helper()
	secret, err := s.Client().Logical().ReadWithContext(s.ctx(), path)
	if err != nil || secret == nil {
		s.tb.Fatalf("vaulttest: reading %s: %v", path, err)
	}
	return maps.Clone(secret.Data)
}

// Write writes data to a path.
func (s *Server) Write(path string, data map[string]any) {
	s.tb.Helper()
	if _, err := s.Client().Logical().WriteWithContext(s.ctx(), path, data); err != nil {
		s.tb.Fatalf("vaulttest: writing %s: %v", path, err)
	}
}

// wrap encrypts a key as the engine takes it: with an AES key of one use, which
// is encrypted with the engine's RSA key.
func wrap(publicKey string, key []byte) ([]byte, error) {
	block, _ := pem.Decode([]byte(publicKey))
	if block == nil {
		return nil, fmt.Errorf("no PEM in %q", publicKey)
	}
	public, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return nil, err
	}
	once := make([]byte, 32)
	if _, err := rand.Read(once); err != nil {
		return nil, err
	}
	wrapped, err := rsa.EncryptOAEP(sha256.New(), rand.Reader, public.(*rsa.PublicKey), once, nil)
	if err != nil {
		return nil, err
	}
	cipher, err := aes.NewCipher(once)
	if err != nil {
		return nil, err
	}
	return append(wrapped, wrapPadded(cipher, key)...), nil
}

// wrapPadded is AES key wrap with padding, RFC 5649, for keys of more than 8 bytes.
func wrapPadded(c cipher.Block, key []byte) []byte {
	out := binary.BigEndian.AppendUint32([]byte{0xa6, 0x59, 0x59, 0xa6}, uint32(len(key)))
	out = append(out, key...)
	out = append(out, make([]byte, (8-len(key)%8)%8)...)
	block := make([]byte, 16)
	for round := range 6 {
		for i := 8; i < len(out); i += 8 {
			copy(block, out[:8])
			copy(block[8:], out[i:])
			c.Encrypt(block, block)
			count := uint64(round*(len(out)/8-1) + i/8)
			binary.BigEndian.PutUint64(out, binary.BigEndian.Uint64(block)^count)
			copy(out[i:], block[8:])
		}
	}
	return out
}
