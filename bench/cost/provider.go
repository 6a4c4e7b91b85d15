package main

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"hash"
	"net"
	"strconv"
	"time"
)

const (
	username = "2000"
	key      = "0123456789abcdef0123456789"

	// Zeros in what follows are written over for each answer. Nothing else changes, so
	// that the provider allocates nothing.
	zeroID     = "000000000000"
	zeroSum    = "00000000000000000000000000000000000000000000" // SHA-256 in base64
	zeroTime   = "0000000000"
	parameters = `("@status" "content-digest" "signature";req;key="sig1");created=` + zeroTime + `;keyid="` + username + `"`

	answerBody = `{"success":"1","message":"Transaction Successful","ourrequestid":"20261122pm171950385284","yourrequestid":"` + zeroID +
		`","rrn":"931761246231","amount":"1.50","beneficiaryName":"Asha Rao","date":"2026-11-22 05:19:50 pm","bank":"A Bank of Somewhere Limited",` +
		`"remarks":"Salary of November, paid by the shop of the corner","charge":"5.90","gst":"1.06"}`
	plainHead  = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n"
	signedHead = plainHead + "Content-Digest: sha-256=:" + zeroSum + ":\r\nSignature-Input: sig1=" + parameters + "\r\nSignature: sig1=:" + zeroSum + ":\r\n"
	signedBase = `"@status": 200` + "\n" + `"content-digest": sha-256=:` + zeroSum + ":\n" + `"signature";req;key="sig1": :` + zeroSum + ":\n" +
		`"@signature-params": ` + parameters
)

// listen starts a provider that says success at once, until it is closed. It
// expects each request in one piece.
func listen(signs bool) (net.Listener, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listening: %w", err)
	}
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return // it was closed
			}
			go serve(conn, newAnswer(signs))
		}
	}()
	return listener, nil
}

// serve answers the requests of a connection until it is closed.
func serve(conn net.Conn, a *answer) {
	defer conn.Close()
	request := make([]byte, 8192)
	for {
		n, err := conn.Read(request)
		if err != nil {
			return
		}
		if _, err := conn.Write(a.to(request[:n])); err != nil {
			return
		}
	}
}

// answer is what is answered, and where in it the parts are that change.
type answer struct {
	text, body, id []byte
	signature      *signature // nil: there is none
}

// signature is that of an answer by hmac-sha256 over the signature base of RFC 9421.
type signature struct {
	base                                 []byte
	baseDigest, baseRequest, baseCreated []byte // in base
	digest, created, value               []byte // in the answer
	hmac                                 hash.Hash
	sum                                  [sha256.Size]byte
}

func newAnswer(signs bool) *answer {
	head := plainHead
	if signs {
		head = signedHead
	}
	text := fmt.Appendf(nil, head+"\r\n"+answerBody, len(answerBody))
	a := &answer{text: text, body: text[len(text)-len(answerBody):], id: after(text, `"yourrequestid":"`, len(zeroID))}
	if signs {
		base := []byte(signedBase)
		a.signature = &signature{
			base:       base,
			baseDigest: after(base, "sha-256=:", len(zeroSum)), baseRequest: after(base, `key="sig1": :`, len(zeroSum)),
			baseCreated: after(base, "created=", len(zeroTime)),
			digest:      after(text, "sha-256=:", len(zeroSum)), created: after(text, "created=", len(zeroTime)),
			value: after(text, "Signature: sig1=:", len(zeroSum)),
			hmac:  hmac.New(sha256.New, []byte(key)),
		}
	}
	return a
}

// after is the part of a text that follows a mark; empty if the mark is missing.
func after(text []byte, mark string, length int) []byte {
	if at := bytes.Index(text, []byte(mark)); at >= 0 && len(text) >= at+len(mark)+length {
		return text[at+len(mark):][:length]
	}
	return nil
}

// to is the answer to a request. It is good until the next.
func (a *answer) to(request []byte) []byte {
	copy(a.id, after(request, `"yourrequestid":"`, len(zeroID)))
	if s := a.signature; s != nil {
		s.sign(a.body, after(request, "\r\nSignature: sig1=:", len(zeroSum)))
	}
	return a.text
}

func (s *signature) sign(body, request []byte) {
	s.sum = sha256.Sum256(body)
	base64.StdEncoding.Encode(s.digest, s.sum[:])
	strconv.AppendInt(s.created[:0], time.Now().Unix(), 10)
	copy(s.baseDigest, s.digest)
	copy(s.baseRequest, request)
	copy(s.baseCreated, s.created)
	s.hmac.Reset()
	s.hmac.Write(s.base)
	base64.StdEncoding.Encode(s.value, s.hmac.Sum(s.sum[:0]))
}
