#!/bin/sh
# The public HTTP caching conformance suite against dockgate (or nginx, squid) as a reverse proxy that this starts.
#
#   conformance.sh [SUITE_DIR] [--subject dockgate|nginx|squid]... [--id TEST] [--results FILE]
#
# SUITE_DIR is a checkout of http-tests/cache-tests with its dependencies (`npm install --omit=dev` in it); without one
# it is the older package of npm that setup.sh installs. Prints each test that fails and the figures by kind; fails if
# dockgate, in the configuration that one has without saying anything, comes to less than `conformance.thresholds`.
unset http_proxy https_proxy all_proxy HTTP_PROXY HTTPS_PROXY ALL_PROXY
exec python3 "$(dirname "$0")/conformance.py" "$@"
