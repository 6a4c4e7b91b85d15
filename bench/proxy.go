package main

import (
	"context"
	"fmt"
	"math"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"runtime"
)

// serveProxy is Go's reverse proxy with nothing around it. It prints its address,
// and ends with its standard input.
func serveProxy(upstream string) error {
	target := &url.URL{Scheme: "http", Host: upstream}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("listening: %w", err)
	}
	fmt.Println(listener.Addr())
	server := &http.Server{Handler: &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) },
	}}
	go func() { _ = server.Serve(listener) }()
	answerLines(func() string {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return fmt.Sprint(m.Mallocs, m.TotalAlloc)
	})
	return nil
}

func startProxy(_ context.Context, s *stand, _ variant) (*subject, error) {
	c, err := s.startChild(asProxy, s.upstream.address)
	if err != nil {
		return nil, err
	}
	return &subject{
		url: "http://" + c.address, process: c.process,
		counters: func(context.Context) (counts, error) {
			counted := counts{commits: math.NaN(), successes: math.NaN()}
			return counted, c.ask(&counted.mallocs, &counted.bytes)
		},
	}, nil
}
