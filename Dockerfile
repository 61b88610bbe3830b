# The hub as a container, from the same package as on a Debian machine.
#
#   docker build -t spate .
#   docker run -p 8080:8080 -e AUTH_TOKEN=secret spate
#
# Options go behind the image's name, or into variables: -e SPATE_HISTORY_SECONDS=10m. Where the
# container's profile forbids io_uring, as Docker's own does, the hub takes epoll by itself. The build needs
# Debian's archive and npm's registry; without the latter, and without the pages: --build-arg PAGES=OFF.
FROM debian:bookworm-slim AS build
ARG PAGES=REQUIRED
WORKDIR /src
COPY tools/dependencies tools/
RUN tools/dependencies package
COPY . .
RUN cmake --preset package -DSPATE_PAGES=$PAGES && cmake --build --preset package && \
    cd build/package && cpack

FROM debian:bookworm-slim
COPY --from=build /src/build/package/spate_*.deb /tmp/
RUN apt-get update && \
    apt-get install -y --no-install-recommends /tmp/spate_*.deb && \
    rm -rf /tmp/spate_*.deb /var/lib/apt/lists/*
USER 65532:65532
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=5s --start-period=5s CMD ["spatectl", "health"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["spate"]
CMD ["--listen", "0.0.0.0:8080"]
