# Both images; IMAGE chooses, moq-relay or moq-operator:
#
#   docker build --build-arg IMAGE=moq-relay --build-arg VERSION=v0.1.0 -t ghcr.io/moqrelay/moq-relay:v0.1.0 .
#
# A static binary, the trust anchors of the system, no shell, not root.
ARG IMAGE=moq-relay

FROM --platform=$BUILDPLATFORM golang:1.26 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG IMAGE TARGETOS TARGETARCH VERSION=devel
RUN CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH go build -trimpath \
    -ldflags "-s -w -X github.com/moqrelay/moqrelay/relay.Version=$VERSION" -o /out/ "./cmd/$IMAGE"

FROM scratch AS base
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY LICENSE /LICENSE
USER 65532:65532

FROM base AS moq-relay
COPY --from=build /out/moq-relay /moq-relay
EXPOSE 443/udp 443/tcp
ENTRYPOINT ["/moq-relay"]

FROM base AS moq-operator
COPY --from=build /out/moq-operator /moq-operator
ENTRYPOINT ["/moq-operator"]

FROM ${IMAGE}
