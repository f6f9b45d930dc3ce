# What GitLab Runner asks of the engine for one job, under `gitlab-runner.toml`.
. "$E2E_LIB/gate.sh"
d save -o helper.tar busybox
gate g << X
[[listener]]
name = "runner"
url = "unix://$E2E_TMP/runner.sock"
policies = ["gitlab-runner"]
[policy.gitlab-runner]
kind = "conservative"
rules = "$E2E_LIB/../../../policies/gitlab-runner.toml"
X
E2E_SOCK=$E2E_TMP/runner.sock works - "$E2E_PYTHON" "$E2E_LIB/gitlab_runner.py" helper.tar
works '' d ps -aq
works '' d volume ls -q
works '' d network ls -q --filter type=custom
