# dockgate in a container:
#
#   docker build -t dockgate .
#   docker run -d --name dockgate -v /var/run/docker.sock:/var/run/docker.sock -v /run/dockgate:/run/dockgate dockgate
#
# Not built by the project's CI: no registry with the base images can be reached from there. If it fails for you, that is
# a bug we do not see; please tell us.

FROM rust:1-bookworm AS build
WORKDIR /src
COPY . .
RUN cargo build --release --locked

FROM debian:bookworm-slim
COPY --from=build /src/target/release/dockgate /usr/local/bin/dockgate
# As root, because the engine's socket belongs to root; it needs no capability beyond that and no network.
ENTRYPOINT ["/usr/local/bin/dockgate"]
CMD ["serve", "--listen", "unix:///run/dockgate/docker.sock"]
