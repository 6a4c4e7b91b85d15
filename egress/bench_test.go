package egress_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/nowpay-gateway/nowpay-gateway/egress"
)

// BenchmarkDo compares a whole exchange with that of an http.Transport, over
// kept connections to the same server on loopback.
//
//	go test -run='^$' -bench=Do -benchmem -count=6 ./egress
func BenchmarkDo(b *testing.B) {
	for _, scheme := range []struct {
		name   string
		config *tls.Config
	}{{"http", nil}, {"tls", testCertificates().server}} {
		p := benchServer(b, scheme.config)
		clients := map[string]func() error{"egress": egressExchange(b, p), "transport": transportExchange(b, p)}
		for _, name := range []string{"egress", "transport"} {
			exchange := clients[name]
			b.Run(scheme.name+"/"+name, func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if err := exchange(); err != nil {
						b.Fatal(err)
					}
				}
			})
			b.Run(scheme.name+"/parallel/"+name, func(b *testing.B) {
				b.ReportAllocs()
				b.SetParallelism(16)
				b.RunParallel(func(pb *testing.PB) {
					for pb.Next() {
						if err := exchange(); err != nil {
							b.Error(err)
							return
						}
					}
				})
			})
		}
	}
}

// benchServer spends as little as possible of its own.
func benchServer(b *testing.B, config *tls.Config) *provider {
	b.Helper()
	text := []byte(answer(`{"success":"1","message":"Transaction Successful","ourrequestid":"1234567890","yourrequestid":"1001","amount":"1.50","rrn":"123456789012"}`))
	return serve(b, "127.0.0.1:0", config, func(c *peer) {
		buf := make([]byte, 8192)
		n := 0
		for {
			read, err := c.Read(buf[n:])
			if err != nil {
				return
			}
			if n += read; !bytes.HasSuffix(buf[:n], []byte("}")) { // the end of each request here
				continue
			}
			n = 0
			if _, err := c.Write(text); err != nil {
				return
			}
		}
	})
}

func benchBody() []byte {
	return append(append([]byte(`{"username":"2000","key":"`), bytes.Repeat([]byte("k"), 350)...), `"}`...)
}

func egressExchange(b *testing.B, p *provider) func() error {
	b.Helper()
	c := client(b, p)
	r := request()
	r.Body = benchBody()
	return func() error {
		_, err := c.Do(context.Background(), r)
		return err
	}
}

// transportExchange does the same as well as it can be done with net/http: no
// proxy, no compression, no replay, bounded.
func transportExchange(b *testing.B, p *provider) func() error {
	b.Helper()
	transport := &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: egress.MaxIdle, MaxResponseHeaderBytes: egress.MaxHeader}
	if p.tls != nil {
		transport.TLSClientConfig = &tls.Config{RootCAs: testCertificates().roots, MinVersion: tls.VersionTLS12}
	}
	b.Cleanup(transport.CloseIdleConnections)
	url, body := p.URL("").String()+request().Target, benchBody()
	return func() error {
		ctx, cancel := context.WithTimeout(context.Background(), 90*time.Second)
		defer cancel()
		r, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
		if err != nil {
			return err
		}
		r.GetBody = nil
		r.Header = http.Header{"Content-Type": {"application/json"}, "Accept": {"application/json"}, "Accept-Encoding": {"identity"}}
		resp, err := transport.RoundTrip(r)
		if err != nil {
			return err
		}
		defer func() { _ = resp.Body.Close() }()
		_, err = io.ReadAll(io.LimitReader(resp.Body, 1<<20))
		return err
	}
}
