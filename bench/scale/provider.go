package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"time"
)

// provide is a provider that says success after some time, and takes as little of
// the machine as it can. It prints its address, and ends with its standard input.
func provide(latency string) error {
	delay, err := time.ParseDuration(latency)
	if err != nil {
		return fmt.Errorf("reading the latency: %w", err)
	}
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
		go func() {
			defer conn.Close()
			_ = answerAll(conn, delay)
		}()
	}
}

// answerAll answers the requests of a connection until it is closed.
func answerAll(conn net.Conn, delay time.Duration) error {
	in := bufio.NewReader(conn)
	var body, out []byte
	for {
		length, err := readHead(in)
		if err != nil {
			return err
		}
		if cap(body) < length {
			body = make([]byte, length)
		}
		body = body[:length]
		if _, err := io.ReadFull(in, body); err != nil {
			return err
		}
		if delay > 0 {
			time.Sleep(delay)
		}
		_, rest, _ := bytes.Cut(body, []byte(`"yourrequestid":"`))
		id, _, _ := bytes.Cut(rest, []byte(`"`))
		const answer = `{"success":"1","message":"Done","ourrequestid":"N%s","yourrequestid":"%s","rrn":"429910000001"}`
		out = fmt.Appendf(out[:0], "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"+answer, len(answer)-4+2*len(id), id, id)
		if _, err := conn.Write(out); err != nil {
			return err
		}
	}
}

// readHead reads the head of a request and tells how long its body is.
func readHead(in *bufio.Reader) (length int, err error) {
	length = -1
	for {
		line, err := in.ReadSlice('\n')
		if err != nil {
			return 0, err
		}
		name, value, _ := bytes.Cut(bytes.TrimSpace(line), []byte(": "))
		switch {
		case len(name) == 0 && length < 0:
			return 0, errors.New("a request without a length")
		case len(name) == 0:
			return length, nil
		case bytes.EqualFold(name, []byte("Content-Length")):
			if length, err = strconv.Atoi(string(value)); err != nil {
				return 0, fmt.Errorf("reading a length: %w", err)
			}
		}
	}
}
