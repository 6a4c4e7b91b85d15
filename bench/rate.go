package main

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"time"

	"github.com/nowpay-gateway/nowpay-gateway/bench/internal/provider"
)

// runVegeta has merchants call at a constant rate, however long the answers take.
func (s *stand) runVegeta(ctx context.Context, v runner, l load) (loaded, error) {
	targets, err := targetsOf(v.url+v.path, l)
	if err != nil {
		return loaded{}, err
	}
	connections := strconv.Itoa(l.connections)
	attack, err := s.vegetaSays(ctx, targets, "attack", "-format=json", "-lazy",
		"-rate="+strconv.Itoa(l.rate), "-duration="+l.time.String(), "-timeout=30s",
		"-connections="+connections, "-max-connections="+connections, "-workers="+connections)
	if err != nil {
		return loaded{}, err
	}
	lines, err := s.vegetaSays(ctx, attack, "encode", "-to=csv") // later, to leave the machine to what is measured
	if err != nil {
		return loaded{}, err
	}
	return parseVegeta(lines)
}

func (s *stand) vegetaSays(ctx context.Context, in *bytes.Buffer, args ...string) (*bytes.Buffer, error) {
	var out bytes.Buffer
	cmd := exec.CommandContext(ctx, s.vegeta, args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = in, &out, os.Stderr
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("running vegeta %s: %w", args[0], err)
	}
	return &out, nil
}

// targetsOf are vegeta's requests, one more than it will send.
func targetsOf(url string, l load) (*bytes.Buffer, error) {
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	prefix := newPrefix()
	for i := range int(l.time.Seconds()*float64(l.rate)) + 1 {
		err := encoder.Encode(struct {
			Method string      `json:"method"`
			URL    string      `json:"url"`
			Body   []byte      `json:"body"`
			Header http.Header `json:"header"`
		}{http.MethodPost, url, []byte(newRequest(prefix, i)), http.Header{
			"Authorization": {"Bearer " + token}, "Content-Type": {"application/json"},
		}})
		if err != nil {
			return nil, fmt.Errorf("making requests: %w", err)
		}
	}
	return &out, nil
}

// Columns of what vegeta encodes.
const (
	columnTime    = 0 // of sending, in nanoseconds
	columnCode    = 1
	columnLatency = 2 // in nanoseconds
	columnLength  = 4 // of the body
	columnsRead   = 5 // of more
)

// answerLength is that of the body of each answer.
var answerLength = strconv.Itoa(len(provider.AppendAnswer(nil, make([]byte, idLength))))

// parseVegeta reads the lines that vegeta encodes.
func parseVegeta(in io.Reader) (loaded, error) {
	var latencies []time.Duration
	first, last := int64(math.MaxInt64), int64(0)
	lines := csv.NewReader(in)
	for {
		line, err := lines.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return loaded{}, fmt.Errorf("reading what vegeta says: %w", err)
		}
		if len(line) < columnsRead || line[columnCode] != "200" || line[columnLength] != answerLength {
			return loaded{}, fmt.Errorf("reading what vegeta says: an answer is not what it has to be: %q", line)
		}
		sent, errSent := strconv.ParseInt(line[columnTime], 10, 64)
		latency, err := strconv.ParseInt(line[columnLatency], 10, 64)
		if err := errors.Join(errSent, err); err != nil {
			return loaded{}, fmt.Errorf("reading what vegeta says: %w", err)
		}
		first, last = min(first, sent), max(last, sent+latency)
		latencies = append(latencies, time.Duration(latency))
	}
	if len(latencies) == 0 {
		return loaded{}, errors.New("reading what vegeta says: nothing was answered")
	}
	slices.Sort(latencies)
	return loaded{
		answers: len(latencies), perSecond: float64(len(latencies)) / time.Duration(last-first).Seconds(),
		p50: percentile(latencies, 50), p99: percentile(latencies, 99), p999: percentile(latencies, 99.9),
	}, nil
}

// percentile is the smallest of sorted durations that so many percent do not exceed.
func percentile(sorted []time.Duration, percent float64) time.Duration {
	return sorted[max(int(math.Ceil(percent*float64(len(sorted))/100)), 1)-1]
}
