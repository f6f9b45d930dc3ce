# shellcheck shell=bash
# Certificates that `dockgate certs` does not make, signed by its authority: expired, not yet valid, revoked.
# `openssl ca` and not `openssl x509`: Debian's cannot choose when a certificate begins.

authority() { # DIR with ca.pem and ca-key.pem
    mkdir -p "$1/db"
    : > "$1/db/index.txt"
    echo 1000 > "$1/db/serial"
    echo 1000 > "$1/db/crlnumber"
    cat > "$1/db/ca.cnf" << X
[ca]
default_ca = d
[d]
database = $1/db/index.txt
serial = $1/db/serial
crlnumber = $1/db/crlnumber
new_certs_dir = $1/db
certificate = $1/ca.pem
private_key = $1/ca-key.pem
default_md = sha256
default_crl_days = 2
policy = p
x509_extensions = client
unique_subject = no
[p]
commonName = supplied
organizationalUnitName = optional
[client]
keyUsage = critical,digitalSignature
extendedKeyUsage = clientAuth
[server]
keyUsage = critical,digitalSignature
extendedKeyUsage = serverAuth
X
}

when() { date -u -d "$1" +%Y%m%d%H%M%SZ; }

# sign AUTHORITY NAME FROM TO [EXTENSIONS]: a folder NAME as DOCKER_CERT_PATH wants it
sign() {
    mkdir -p "$2"
    openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$2" -keyout "$2/key.pem" -out "$2/csr" 2> /dev/null
    openssl ca -batch -config "$1/db/ca.cnf" -in "$2/csr" -out "$2/cert.pem" -notext -startdate "$(when "$3")" -enddate "$(when "$4")" \
        -extensions "${5:-client}" 2> /dev/null || bad "openssl ca: $2"
    cp "$1/ca.pem" "$2/ca.pem"
}

revoke() { openssl ca -config "$1/db/ca.cnf" -revoke "$2/cert.pem" 2> /dev/null; } # AUTHORITY NAME
list_revoked() { openssl ca -config "$1/db/ca.cnf" -gencrl -out "$2" 2> /dev/null; } # AUTHORITY FILE
