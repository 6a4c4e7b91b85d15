#!/bin/sh
# Builds Caddy with this repository as `xcaddy build --with` does, and looks at
# the result: our modules are in it, the simulator and the test servers are not.
#
# What xcaddy does is a main.go with blank imports and a go.mod with a replace;
# doing the same here needs no further tool.
set -eu

root=$(cd "$(dirname "$0")/../.." && pwd)
module=github.com/nowpay-gateway/nowpay-gateway
caddy=github.com/caddyserver/caddy/v2
version=$(cd "$root" && go list -m -f '{{.Version}}' $caddy)

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"

cat >main.go <<EOF
package main

import (
	caddycmd "$caddy/cmd"

	_ "$caddy/modules/standard"
	_ "$module"
)

func main() { caddycmd.Main() }
EOF
go mod init caddy 2>/dev/null
go mod edit -require "$caddy@$version" -require "$module@v0.0.0" -replace "$module=$root"
cp "$root/go.sum" .
go build -mod=mod -o caddy .

./caddy version
./caddy list-modules >modules
for name in nowpay nowpay.secrets.file nowpay.secrets.env nowpay.secrets.systemd \
	nowpay.secrets.vault nowpay.secrets.vault_agent nowpay.secrets.openbao nowpay.signers.credentials \
	nowpay.journals.sqlite nowpay.journals.postgres http.handlers.nowpay_gateway http.handlers.nowpay_callback \
	admin.api.nowpay; do
	grep -qx "$name" modules || {
		echo "list-modules does not show $name" >&2
		exit 1
	}
done
./caddy nowpay --help >/dev/null

go list -mod=mod -deps . >packages
if grep -E "^$module/(simulator|internal)|^github.com/hashicorp/vault/(vault|sdk)" packages; then
	echo "these packages must not be in a build of the product" >&2
	exit 1
fi
