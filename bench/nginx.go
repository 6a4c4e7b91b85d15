package main

import (
	"bytes"
	"context"
	_ "embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"text/template"

	"github.com/nowpay-gateway/nowpay-gateway/bench/internal/machine"
	"github.com/nowpay-gateway/nowpay-gateway/bench/internal/provider"
)

//go:embed nginx.tmpl
var nginxText string

var nginxTemplate = template.Must(template.New("nginx").Parse(nginxText))

// Where Debian installs nginx's modules, and Lua's.
const (
	nginxModules = "/usr/share/nginx/modules"
	luaModule    = "ngx_http_lua_module.so"
	luaPath      = "/usr/share/lua/5.1"
	luaCore      = luaPath + "/resty/core.lua"
)

// nginxPackages are Debian's.
const nginxPackages = "apt-get install nginx-core libnginx-mod-http-lua lua-resty-core"

// startNginx starts nginx as a proxy; with the Lua module also with an HMAC over
// each body, which is the least of what the gateway does.
func startNginx(module string) func(context.Context, *stand, variant) (*subject, error) {
	return func(ctx context.Context, s *stand, v variant) (*subject, error) {
		program, err := findNginx()
		if err != nil {
			return nil, fmt.Errorf("nginx %w: %s", machine.ErrMissing, nginxPackages)
		}
		for _, file := range []string{filepath.Join(nginxModules, module), luaCore} {
			if _, err := os.Stat(file); module != "" && err != nil {
				return nil, fmt.Errorf("nginx's %s %w: %s", filepath.Base(file), machine.ErrMissing, nginxPackages)
			}
		}
		address, err := machine.FreeAddress()
		if err != nil {
			return nil, err
		}
		folder := filepath.Join(s.folder, v.name)
		if err := os.Mkdir(folder, 0o700); err != nil {
			return nil, fmt.Errorf("making a folder: %w", err)
		}
		var text bytes.Buffer
		err = nginxTemplate.Execute(&text, map[string]any{
			"Folder": folder, "Site": address, "Upstream": s.upstream.Address,
			"Lua": module != "", "Modules": nginxModules, "LuaPath": luaPath, "Key": provider.Key,
		})
		if err != nil {
			return nil, fmt.Errorf("making nginx.conf: %w", err)
		}
		config := filepath.Join(folder, "nginx.conf")
		if err := os.WriteFile(config, text.Bytes(), 0o600); err != nil {
			return nil, fmt.Errorf("writing the configuration: %w", err)
		}
		p, err := machine.Start(exec.Command(program, "-p", folder, "-c", config, "-e", "stderr"))
		if err != nil {
			return nil, err
		}
		s.ends(p.Stop)
		return &subject{url: "http://" + address, process: p, proves: module != ""}, p.Await(ctx, machine.Listening(address))
	}
}

// findNginx looks on the PATH, and where Debian installs it, which may not be on it.
func findNginx() (string, error) {
	if path, err := exec.LookPath("nginx"); err == nil {
		return path, nil
	}
	return exec.LookPath("/usr/sbin/nginx")
}
