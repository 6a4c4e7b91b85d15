package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"runtime"
	"strconv"

	"github.com/nowpay-gateway/nowpay-gateway/bench/internal/machine"
)

// serveProxy is Go's reverse proxy with nothing around it, which keeps so many
// connections that idle; 0: Go's default, which is 2. It prints its address, and
// ends with its standard input.
func serveProxy(upstream, kept string) (err error) {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	if transport.MaxIdleConnsPerHost, err = strconv.Atoi(kept); err != nil {
		return fmt.Errorf("reading how many connections to keep: %w", err)
	}
	transport.MaxIdleConns = 0 // as many
	target := &url.URL{Scheme: "http", Host: upstream}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("listening: %w", err)
	}
	fmt.Println(listener.Addr())
	server := &http.Server{Handler: &httputil.ReverseProxy{
		Rewrite:   func(r *httputil.ProxyRequest) { r.SetURL(target) },
		Transport: transport,
	}}
	go func() { _ = server.Serve(listener) }()
	machine.AnswerLines(func() string {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return fmt.Sprint(m.Mallocs, m.TotalAlloc)
	})
	return nil
}

func startProxy(kept string) func(context.Context, *stand, variant) (*subject, error) {
	return func(_ context.Context, s *stand, _ variant) (*subject, error) {
		c, err := s.startChild(asProxy, s.upstream.Address, kept)
		if err != nil {
			return nil, err
		}
		return &subject{
			url: "http://" + c.Address, process: c.Process,
			counters: func(context.Context) (counted counts, err error) {
				counted = unknown
				err = c.Ask(&counted.mallocs, &counted.bytes)
				return counted, err
			},
		}, nil
	}
}
