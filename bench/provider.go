package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/nowpay-gateway/nowpay-gateway/signer/httpsig"
)

// provide is a provider that says success at once, to spare the machine for the
// gateway. It prints its address, and ends with its standard input.
func provide() error {
	listener, err := net.Listen("tcp", providerIP+":0")
	if err != nil {
		return fmt.Errorf("listening: %w", err)
	}
	fmt.Println(listener.Addr())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		_ = listener.Close()
	}()
	for {
		conn, err := listener.Accept()
		if err != nil {
			return nil //nolint:nilerr // it was closed
		}
		go answerAll(conn)
	}
}

// answerAll answers the requests of a connection until it is closed.
func answerAll(conn net.Conn) {
	defer conn.Close()
	in := bufio.NewReader(conn)
	var out bytes.Buffer
	for {
		request, err := http.ReadRequest(in)
		if err != nil {
			return
		}
		body, err := io.ReadAll(request.Body)
		if err != nil {
			return
		}
		_, rest, _ := bytes.Cut(body, []byte(`"yourrequestid":"`))
		id, _, _ := bytes.Cut(rest, []byte(`"`))
		answer := fmt.Appendf(nil, `{"success":"1","message":"Done","ourrequestid":"N%s","yourrequestid":"%s","rrn":"429910000001"}`, id, id)
		out.Reset()
		fmt.Fprintf(&out, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n", len(answer))
		// It signs also what nobody asks to have signed: the provider takes as much of
		// the machine for one variant as for the other.
		headers := io.Writer(&out)
		if len(request.Header["Signature"]) == 0 {
			headers = io.Discard
		}
		if err := sign(headers, request, answer); err != nil {
			return
		}
		fmt.Fprintf(&out, "\r\n%s", answer)
		if _, err := conn.Write(out.Bytes()); err != nil {
			return
		}
	}
}

// components are what the provider signs.
var components = func() (list []httpsig.Component) {
	for _, text := range []string{"@status", "content-digest", `"signature";req;key="sig1"`} {
		component, err := httpsig.ParseComponent(text)
		if err != nil {
			panic(err)
		}
		list = append(list, component)
	}
	return list
}()

// sign writes the headers of a signed answer.
func sign(out io.Writer, request *http.Request, answer []byte) error {
	header := http.Header{"Content-Digest": {httpsig.Digest(answer)}}
	if len(request.Header["Signature"]) == 0 {
		request.Header["Signature"] = []string{"sig1=:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=:"}
	}
	params := httpsig.Params{Label: "sig1", Components: components, Created: time.Now(), KeyID: "2000"}
	message := &httpsig.Message{Status: http.StatusOK, Header: header, Request: &httpsig.Message{Header: request.Header}}
	input, signature, err := httpsig.Sign(context.Background(), message, params, httpsig.HMAC(key))
	if err != nil {
		return fmt.Errorf("signing: %w", err)
	}
	fmt.Fprintf(out, "Content-Digest: %s\r\nSignature-Input: %s\r\nSignature: %s\r\n", header.Get("Content-Digest"), input, signature)
	return nil
}
