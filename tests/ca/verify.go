// Which chains Go's crypto/x509 takes: a line for each case of the folder. `verify.py` runs it.
package main

import (
	"bufio"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
)

func main() {
	folder := os.Args[1]
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(read(folder, "bundle.pem")) {
		panic("no root")
	}
	scanner := bufio.NewScanner(strings.NewReader(string(read(folder, "cases"))))
	for scanner.Scan() {
		words := strings.Fields(scanner.Text())
		name, host := words[0], words[1]
		if net.ParseIP(host) != nil {
			host = "[" + host + "]"
		}
		chain := certificates(read(folder, name+".chain.pem"))
		between := x509.NewCertPool()
		for _, certificate := range chain[1:] {
			between.AddCert(certificate)
		}
		_, err := chain[0].Verify(x509.VerifyOptions{
			DNSName:       host,
			Roots:         roots,
			Intermediates: between,
			KeyUsages:     []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		})
		if err != nil {
			fmt.Println(name, "reject", err)
		} else {
			fmt.Println(name, "accept")
		}
	}
}

func read(folder, name string) []byte {
	bytes, err := os.ReadFile(filepath.Join(folder, name))
	if err != nil {
		panic(err)
	}
	return bytes
}

func certificates(bytes []byte) (all []*x509.Certificate) {
	for block, rest := pem.Decode(bytes); block != nil; block, rest = pem.Decode(rest) {
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			panic(err)
		}
		all = append(all, certificate)
	}
	return all
}
