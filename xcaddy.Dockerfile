# An image of Caddy with the Nowpay gateway.
#
# From this repository (with the simulator, so that `caddy nowpay demo` works):
#
#	docker build -f xcaddy.Dockerfile -t nowpay-gateway .
#
# With xcaddy, for a Caddy that has further modules (without the simulator):
#
#	docker build -f xcaddy.Dockerfile -t nowpay-gateway \
#		--build-arg BUILD=with-xcaddy \
#		--build-arg MODULES="--with github.com/example/module@v1.2.3" .
#
# Run it with a Caddyfile of your own. The address that Nowpay has whitelisted
# must be in the container: use the host's network, or an address of a macvlan.
#
#	docker run --network host --read-only --cap-drop ALL \
#		-v ./Caddyfile:/etc/caddy/Caddyfile:ro -v nowpay-data:/data -v nowpay-config:/config \
#		nowpay-gateway
#
# The volume of /data holds the journal of all payments, unless the Caddyfile names
# another place: a container without it has forgotten them and may pay again.

# Which of the stages below builds the binary: from-source or with-xcaddy.
ARG BUILD=from-source

FROM golang:1.26 AS from-source
WORKDIR /src
# The modules first: this layer stays as long as they do.
COPY go.mod go.sum ./
RUN go mod download
COPY . .
RUN internal/tools/release.sh go build -o /out/root/usr/bin/caddy ./cmd/caddy

FROM golang:1.26 AS with-xcaddy
ARG XCADDY_VERSION=v0.4.5
RUN go install github.com/caddyserver/xcaddy/cmd/xcaddy@${XCADDY_VERSION}
# The gateway as it lies here. For a published version, say GATEWAY=@v1.2.3.
ARG GATEWAY="=/src"
ARG MODULES=""
WORKDIR /src
COPY . .
# Caddy in the version that this repository is tested with.
RUN xcaddy build "$(go list -m -f '{{.Version}}' github.com/caddyserver/caddy/v2)" \
	--output /out/root/usr/bin/caddy \
	--with "github.com/nowpay-gateway/nowpay-gateway${GATEWAY}" ${MODULES}

FROM ${BUILD} AS build
# Caddy's state and its last configuration. Volumes take over the owner.
RUN mkdir -p -m 700 /out/state/data /out/state/config \
	&& install -D -m 644 Caddyfile.example /out/root/etc/caddy/Caddyfile.example \
	&& install -D -m 644 LICENSE /out/root/usr/share/doc/nowpay-gateway/LICENSE
# The image below has no C library: stop if the binary needs one.
RUN ! ldd /out/root/usr/bin/caddy

# No shell, no package manager, no C library: certificates, time zones, and the
# user nonroot (65532).
FROM gcr.io/distroless/static-debian12:nonroot
ARG REVISION=unknown
LABEL org.opencontainers.image.title="nowpay-gateway" \
	org.opencontainers.image.description="A payment gateway to Nowpay for Caddy" \
	org.opencontainers.image.licenses="Apache-2.0" \
	org.opencontainers.image.revision="${REVISION}"

# The user owns nothing but the state, and so cannot replace the binary.
COPY --from=build /out/root/ /
COPY --from=build --chown=65532:65532 /out/state/data /data
COPY --from=build --chown=65532:65532 /out/state/config /config

ENV XDG_DATA_HOME=/data \
	XDG_CONFIG_HOME=/config
VOLUME ["/data", "/config"]
USER 65532:65532

# Whatever the Caddyfile listens on: these are HTTPS, HTTP/3, and the ports of
# Caddyfile.example for merchants and for metrics. In a network of its own, Docker
# lets every user have ports below 1024; on the host's network, listen above, or
# lower the host's net.ipv4.ip_unprivileged_port_start.
EXPOSE 443/tcp 443/udp 8480/tcp 8488/tcp

# Red as soon as payments cannot be made: no credential, no egress address, or no
# journal that can be written.
# The image has no shell and no curl, so the binary asks itself. A Caddyfile
# that listens elsewhere needs another --url (docker run --health-cmd).
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
	CMD ["/usr/bin/caddy", "nowpay", "health", "--url", "http://127.0.0.1:8480/health/ready"]

ENTRYPOINT ["/usr/bin/caddy"]
CMD ["run", "--config", "/etc/caddy/Caddyfile"]
