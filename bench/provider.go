package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
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
		fmt.Fprintf(&out, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(answer), answer)
		if _, err := conn.Write(out.Bytes()); err != nil {
			return
		}
	}
}
