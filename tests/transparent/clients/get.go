// get URL... fetches each and prints the SHA-256 of its body, for images that have no other program.
//
// `-ca FILE` before them trusts the authorities of that file alone.
package main

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"os"
)

func main() {
	urls := os.Args[1:]
	if len(urls) > 2 && urls[0] == "-ca" {
		pem, err := os.ReadFile(urls[1])
		if err != nil {
			fmt.Println(err)
			os.Exit(2)
		}
		pool := x509.NewCertPool()
		pool.AppendCertsFromPEM(pem)
		transport := http.DefaultTransport.(*http.Transport).Clone()
		transport.TLSClientConfig = &tls.Config{RootCAs: pool}
		http.DefaultClient.Transport = transport
		urls = urls[2:]
	}
	failed := false
	for _, url := range urls {
		answer, err := http.Get(url)
		if err != nil {
			fmt.Println(err)
			failed = true
			continue
		}
		sum := sha256.New()
		_, err = io.Copy(sum, answer.Body)
		answer.Body.Close()
		if err != nil || answer.StatusCode != 200 {
			fmt.Println(url, answer.Status, err)
			failed = true
			continue
		}
		fmt.Printf("SHA %x\n", sum.Sum(nil))
	}
	if failed {
		os.Exit(1)
	}
}
