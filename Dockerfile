# vrampool's daemon, command line and client library.
#
#   docker build -t vrampool .
#   docker run --rm -v /run/vrampool:/run/vrampool vrampool
#
# Clients outside the container reach the daemon through /run/vrampool; the
# container needs the host's pid namespace (--pid=host) to know who they are.
# BASE may be any Debian 12 or Ubuntu 24.04 image; both stages start from it.
ARG BASE=nvidia/cuda:13.0.1-base-ubuntu24.04

FROM ${BASE} AS build
WORKDIR /src
COPY deploy/install_packages.sh deploy/
RUN deploy/install_packages.sh --build
COPY . .
RUN deploy/build.sh release -DVRAMPOOL_BUILD_TESTS=OFF \
      -DCMAKE_INSTALL_PREFIX=/usr && \
    DESTDIR=/stage cmake --install build/release --strip

FROM ${BASE}
COPY deploy/install_packages.sh /tmp/
RUN /tmp/install_packages.sh --runtime && \
    rm -rf /tmp/install_packages.sh /var/lib/apt/lists/* /var/cache/apt/*.bin
COPY --from=build /stage/usr /usr
RUN ldconfig && \
    useradd --system --home-dir / --no-create-home --shell /usr/sbin/nologin \
      vrampool && \
    install -d -o vrampool -g vrampool -m 0755 /run/vrampool && \
    install -D -m 0644 /usr/share/doc/vrampool/examples/host.textproto \
      /etc/vrampool/vrampoold.textproto
ENV VRAMPOOL_DIR=/run/vrampool
USER vrampool
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
  CMD ["vrampool", "health"]
ENTRYPOINT ["vrampoold"]
CMD ["--config", "/etc/vrampool/vrampoold.textproto"]
