# Who has no good certificate: an alert for the client, one line for the operator, and nobody else is disturbed.
. "$E2E_LIB/gate.sh"
. "$E2E_LIB/authority.sh"
works - "$E2E_DOCKGATE" certs certs
works - "$E2E_DOCKGATE" certs others
authority "$E2E_TMP/certs"
sign certs good '-1 hour' '+1 day'
sign certs expired '-2 days' '-1 minute'
sign certs early '+1 hour' '+1 day'
sign certs revoked '-1 hour' '+1 day'
sign certs server '-1 hour' '+1 day' server
revoke certs revoked
list_revoked certs crl.pem
# their own certificate, our server believed
mkdir foreign bare
cp others/cert.pem others/key.pem foreign/
cp certs/ca.pem foreign/
cp certs/ca.pem bare/
gate g < <(tls_listener tls "$PORT"; echo 'crl = "crl.pem"')

ping() { over_tls "$PORT" "$1" d version --format '{{.Server.Os}}'; }
# one connection: TLS 1.3 tells the client only when it reads
once() { curl -sS -m 120 --cacert certs/ca.pem --cert "$1/cert.pem" --key "$1/key.pem" "https://127.0.0.1:$PORT/_ping"; }
without() { curl -sS -m 120 --cacert certs/ca.pem "https://127.0.0.1:$PORT/_ping"; }
lines_of() { wc -l < "$1"; }
longer() { [ "$(wc -l < g.err)" -gt "$1" ]; }
# denied ALERT LOG COMMAND...: the client reads the alert, the gate says why in one line
denied() {
    local alert=$1 log=$2 before
    shift 2
    before=$(wc -l < g.err)
    fails "$alert" "$@"
    eventually longer "$before"
    sleep 0.2
    works "$((before + 1))" lines_of g.err
    works - grep -qE "$log" <(tail -n 1 g.err)
}
works linux ping good
works linux ping certs
denied 'certificate expired' 'has expired' once expired
denied 'alert' 'not valid yet' once early
denied 'certificate revoked' 'revoked' once revoked
denied '[Uu]nknown (ca|CA)' 'authority that is not ours' once foreign
denied 'alert' 'not for clients' once server
denied 'certificate required' 'shows no certificate' without
# what the CLI makes of it
fails 'tls: .*expired' ping expired
fails 'tls: ' ping early
fails 'tls: .*revoked' ping revoked
# (Go shows none when the server names other authorities)
fails 'tls: .*(unknown certificate authority|certificate required)' ping foreign
# and the other way round: a client does not believe a server of another authority
cp certs/cert.pem certs/key.pem others/
fails 'x509|unknown authority' ping others
eventually grep -q 'refuses our certificate' g.err
# plain HTTP to the TLS port is told so
fails 'HTTP|http|EOF|malformed|TLS' env DOCKER_HOST=tcp://127.0.0.1:"$PORT" "$DOCKER" version
works linux ping good
works - kill -0 "$gate"
