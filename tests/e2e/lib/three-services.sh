# shellcheck shell=bash
# Sourced by both composes' cases, which define `c` and `name SERVICE` (its container): a project of three services comes
# up under `conservative`, its parts find each other, a second `up` changes nothing, and `down` removes it all.
works - c up -d
works served c exec -T worker sh -c 'until [ -s /tmp/got ]; do sleep 0.2; done; cat /tmp/got'
works row c exec -T db cat /data/row
works - c exec -T web ping -c 1 -W 5 database
works - c exec -T worker grep host.docker.internal /etc/hosts
works - c port web 80
works 'healthy' d inspect -f '{{.State.Health.Status}}' "$(name db)"
# one that is tried for ever gets a number
works 'on-failure 100' d inspect -f '{{.HostConfig.RestartPolicy.Name}} {{.HostConfig.RestartPolicy.MaximumRetryCount}}' "$(name web)"
works 'on-failure 3' d inspect -f '{{.HostConfig.RestartPolicy.Name}} {{.HostConfig.RestartPolicy.MaximumRetryCount}}' "$(name db)"
before=$(d ps -q --no-trunc | sort)
works - c up -d
works "$before" sh -c "'$DOCKER' ps -q --no-trunc | sort"
works - c restart -t 1 worker
works - c logs
works - c down -v -t 1
works '' d ps -aq
works '' d volume ls -q
