// Package caddy starts the Caddy that is measured, with a Caddyfile and a secret in a
// folder of its own, and reads its metrics.
package caddy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/nowpay-gateway/nowpay-gateway/bench/internal/machine"
	"github.com/nowpay-gateway/nowpay-gateway/bench/internal/provider"
)

// Build builds it as for a release.
func Build(ctx context.Context, program string) error {
	build := exec.CommandContext(ctx, "internal/tools/release.sh", "go", "build", "-o", program, "./cmd/caddy")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("building ./cmd/caddy (from the top of the repository?): %w\n%s", err, out)
	}
	return nil
}

// Version is that of the Caddy in a program.
func Version(program string) string {
	return machine.Dependency(program, "github.com/caddyserver/caddy/v2")
}

// Config is what a Caddy is started with.
type Config struct {
	Program string
	Folder  string                                   // may exist
	Text    func(admin, site string) (string, error) // makes the Caddyfile, for these addresses
	Gateway bool                                     // it is ready when the gateway is, and not when it listens
}

// Server is a Caddy that runs.
type Server struct {
	*machine.Process
	Site  string // the address
	admin string
}

// Start starts a Caddy and waits until it is ready. The Caddyfile says that it logs to
// log.json in its folder; the secret is in secret.json.
func Start(ctx context.Context, c Config) (s *Server, err error) {
	s = &Server{}
	for _, address := range []*string{&s.admin, &s.Site} {
		if *address, err = machine.FreeAddress(); err != nil {
			return nil, err
		}
	}
	if err := c.write(s); err != nil {
		return nil, err
	}
	cmd := exec.Command(c.Program, "run", "--adapter", "caddyfile", "--config", filepath.Join(c.Folder, "Caddyfile"))
	cmd.Env = append(os.Environ(), "HOME="+c.Folder, "XDG_DATA_HOME="+c.Folder, "XDG_CONFIG_HOME="+c.Folder)
	if s.Process, err = machine.Start(cmd); err != nil {
		return nil, err
	}
	ready := machine.Listening(s.Site)
	if c.Gateway {
		ready = func(ctx context.Context) error {
			_, err := get(ctx, "http://"+s.Site+"/health/ready")
			return err
		}
	}
	if err := s.Await(ctx, ready); err != nil {
		log, _ := os.ReadFile(filepath.Join(c.Folder, "log.json")) // it says why, if it was written
		return nil, errors.Join(fmt.Errorf("%w%s", err, log), s.Stop())
	}
	return s, nil
}

// write writes the Caddyfile and the secret into the folder.
func (c Config) write(s *Server) error {
	text, err := c.Text(s.admin, s.Site)
	if err != nil {
		return fmt.Errorf("making a Caddyfile: %w", err)
	}
	if err := os.MkdirAll(c.Folder, 0o700); err != nil {
		return fmt.Errorf("making a folder: %w", err)
	}
	for name, text := range map[string]string{
		"Caddyfile":   text,
		"secret.json": fmt.Sprintf(`{"username":%q,"key":%q}`, provider.Username, provider.Key),
	} {
		if err := os.WriteFile(filepath.Join(c.Folder, name), []byte(text), 0o600); err != nil {
			return fmt.Errorf("writing the configuration: %w", err)
		}
	}
	return nil
}

// Metric is one of those that it tells Prometheus.
type Metric struct {
	Name   string
	Labels string // as they are written
	Value  float64
}

// Metrics asks for them.
func (s *Server) Metrics(ctx context.Context) ([]Metric, error) {
	text, err := get(ctx, "http://"+s.admin+"/metrics")
	return parse(text), err
}

// parse reads what Prometheus would.
func parse(text string) (all []Metric) {
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		space := strings.LastIndexByte(line, ' ')
		value, err := strconv.ParseFloat(line[space+1:], 64)
		if space < 0 || err != nil || line[0] == '#' {
			continue
		}
		name, labels, _ := strings.Cut(line[:space], "{")
		all = append(all, Metric{name, strings.TrimSuffix(labels, "}"), value})
	}
	return all
}

func get(ctx context.Context, url string) (string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", fmt.Errorf("asking %s: %w", url, err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return "", fmt.Errorf("asking: %w", err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("HTTP %d: %s", response.StatusCode, body)
	}
	if err != nil {
		return "", fmt.Errorf("asking %s: %w", url, err)
	}
	return string(body), nil
}
