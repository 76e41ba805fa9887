# The images that we publish, one target each: moq-relay, moq-operator, moq.
#
#   docker build --target moq-relay --build-arg VERSION=v0.1.0 -t ghcr.io/moqrelay/moq-relay:v0.1.0 .
#
# A static binary with its bill of materials, not root, no shell. `make images`
# writes the same as archives, without an engine; a test in hack/e2e/image keeps
# the two alike.
FROM --platform=$BUILDPLATFORM node:22 AS page
WORKDIR /src/hack/page
COPY hack/page/package.json hack/page/package-lock.json ./
RUN npm ci --ignore-scripts --no-audit --no-fund
COPY hack/page ./
RUN npm run build

FROM --platform=$BUILDPLATFORM golang:1.26 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
COPY --from=page /src/cmd/moq/internal/demo/dist/ cmd/moq/internal/demo/dist/
ARG TARGETOS TARGETARCH VERSION=devel
RUN CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH go build -trimpath -buildvcs=false \
    -ldflags "-s -w -X github.com/moqrelay/moqrelay/relay.Version=$VERSION" \
    -o /out/ ./cmd/moq-relay ./cmd/moq-operator ./cmd/moq
RUN cp LICENSE /out/ && install -D -m 0644 -t /out/etc/ssl/certs /etc/ssl/certs/ca-certificates.crt
ARG SOURCE_DATE_EPOCH=0
RUN for image in moq-relay moq-operator moq; do \
      go run -C hack/e2e ./image/mkimage -bill $image -root /out -source ../.. -version $VERSION -created $SOURCE_DATE_EPOCH || exit 1; \
    done

FROM scratch AS base
COPY --from=build /out/LICENSE /LICENSE
USER 65532:65532
WORKDIR /
ARG VERSION=devel REVISION=
LABEL org.opencontainers.image.source="https://github.com/moqrelay/moqrelay" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION"

FROM base AS moq
COPY --from=build /out/etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /out/usr/share/sbom/moq.spdx.json /usr/share/sbom/moq.spdx.json
COPY --from=build /out/moq /moq
LABEL org.opencontainers.image.title="moq" \
      org.opencontainers.image.description="Publishes and plays live media through Media-over-QUIC relays."
ENTRYPOINT ["/moq"]

FROM base AS moq-operator
COPY --from=build /out/usr/share/sbom/moq-operator.spdx.json /usr/share/sbom/moq-operator.spdx.json
COPY --from=build /out/moq-operator /moq-operator
LABEL org.opencontainers.image.title="moq-operator" \
      org.opencontainers.image.description="Runs Media-over-QUIC relay networks on Kubernetes."
ENTRYPOINT ["/moq-operator"]

FROM base AS moq-relay
COPY --from=build /out/etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /out/usr/share/sbom/moq-relay.spdx.json /usr/share/sbom/moq-relay.spdx.json
COPY --from=build /out/moq-relay /moq-relay
LABEL org.opencontainers.image.title="moq-relay" \
      org.opencontainers.image.description="A relay for live media over QUIC: alone, or a node of a cluster."
EXPOSE 443/tcp 443/udp
ENTRYPOINT ["/moq-relay"]
