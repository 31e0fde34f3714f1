# The container image: Node, the few Debian libraries that it is linked to, and Sallyport. No shell, no package manager.
# The last stage is empty but for what k8s/image/assemble.sh puts together; k8s/IMAGE.md tells how to build, pin, run
# and check it. It knows no configuration: mount one at /etc/sallyport/gateway.yaml.

# Whoever builds a release names it by digest: --build-arg BUILDER=docker.io/library/debian@sha256:...
ARG BUILDER=docker.io/library/debian:bookworm-slim

FROM ${BUILDER} AS builder
# `newest`: Debian's packages as they are now. `snapshot`: as they were when the builder's own image was made.
ARG DEBIAN=newest
COPY k8s/image/use-snapshot.sh /tmp/
RUN if [ "$DEBIAN" = snapshot ]; then sh /tmp/use-snapshot.sh; fi \
 && apt-get update --error-on=any \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
      binutils ca-certificates libatomic1 libgcc-s1 libstdc++6 npm

# Packages by package-lock.json, which holds the hash of each; none of their scripts runs. Both secrets are optional
# and never in a layer: an .npmrc, and the certificates of authorities that only the place of the build trusts.
WORKDIR /opt/sallyport
COPY package.json package-lock.json ./
RUN --mount=type=secret,id=npmrc,target=/root/.npmrc \
    --mount=type=secret,id=authorities,target=/run/secrets/authorities \
    if [ -s /run/secrets/authorities ]; then export NODE_EXTRA_CA_CERTS=/run/secrets/authorities; fi \
 && npm ci --omit=dev --ignore-scripts --no-audit --no-fund --loglevel=error

COPY . .
RUN sh k8s/image/assemble.sh /opt/sallyport /image \
 && chroot --userspec=65532:65532 /image /usr/bin/sallyport --version

FROM scratch
COPY --from=builder /image /
LABEL org.opencontainers.image.title="Sallyport" \
      org.opencontainers.image.description="Egress gateway for Kubernetes pods" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.licenses="Apache-2.0"
# As the launcher of a checkout: a small young generation, and two threads that help V8.
ENV PATH=/usr/bin NODE_OPTIONS="--max-semi-space-size=4 --v8-pool-size=2"
USER 65532:65532
# Proxy (HTTP and SOCKS5), SOCKS5 alone, admin: what the configuration listens on by custom.
EXPOSE 3128 1080 9128
STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/bin/sallyport"]
CMD ["serve", "--config", "/etc/sallyport/gateway.yaml"]
